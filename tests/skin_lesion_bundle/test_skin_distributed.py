"""Two real processes over gloo: the gradient of both batches, every validation image once, one set of files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from skin_lesions import distributed
from skin_lesions.compare import read_run
from skin_lesions.errors import InputError
from skin_workflow import BUNDLE, SMALL, TINY, job, run
from tiny_ham10000 import write_tiny_ham10000

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))
from processes import together  # noqa: E402

PATHS = {"PYTHONPATH": os.pathsep.join((str(BUNDLE), str(Path(__file__).parent)))}
# Group norm, not batch norm, so that a batch in two halves is the same as a whole one.
NETWORK = SMALL | {"block_config": [2], "norm": ["group", {"num_groups": 4}]}

# Its steps are proportional to the gradient, which Adam's are not.
DESCENT = {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 0.1}
CONSTANT = {"_target_": "torch.optim.lr_scheduler.ConstantLR", "optimizer": "@optimizer", "factor": 1.0}


def train(folder: Path, data: Path, configs: tuple[str, ...], overrides: dict[str, Any]) -> None:
    """Two steps of whole-batch descent, without augmentation; in rank 1 nothing may be written."""
    job = ConfigWorkflow(
        config_file=[str(BUNDLE / "configs" / config) for config in configs],
        logging_file=False,
        bundle_root=str(BUNDLE),
        dataset_dir=str(data),
        output_dir=str(folder / "runs"),
        ckpt_dir=str(folder / "models"),
        run_name="run",
        network_def=NETWORK,
        image_size=32,
        epochs=2,
        random_transforms=[],
        optimizer=DESCENT,
        lr_scheduler=CONSTANT,
        **overrides,
    )
    job.initialize()
    job.run()
    if distributed.world_size() > 1:
        own = len(job.parser.get_parsed_content("validate::dataloader").sampler)
        (folder / f"validated-{distributed.rank()}").write_text(str(own))
    job.finalize()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "models" / "model_last.pt", weights_only=True)


def epochs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "runs" / "run" / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 training images, a lesion each, 7 of validation and 7 of test."""
    return write_tiny_ham10000(tmp_path_factory.mktemp("data") / "set", lesions=6, images=1)


def test_two_processes_equal_one_with_twice_the_batch(data: Path, tmp_path: Path) -> None:
    alone, two = tmp_path / "alone", tmp_path / "two"
    train(alone, data, ("train.json",), {"batch_size": 28})
    two.mkdir()
    together(train, 2, two, data, ("train.json", "multi_gpu_train.json"), {"batch_size": 14}, env=PATHS)
    assert weights(alone).keys() == weights(two).keys(), "no prefix of the wrapper"
    for one, other in zip(weights(alone).values(), weights(two).values(), strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-4)
    assert sorted(int((two / f"validated-{rank}").read_text()) for rank in (0, 1)) == [3, 4]
    found, wanted = epochs(two), epochs(alone)
    assert [row["epoch"] for row in found] == [1, 2]
    assert [row["val_auc"] for row in found] == pytest.approx([row["val_auc"] for row in wanted])
    losses = [row["train_loss"] for row in wanted]
    assert losses[0] - losses[1] > 0.01, "the weights have moved"


def test_processes_without_the_override_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="2 processes were started, .* add configs/multi_gpu_train.json"):
        distributed.start("none")


def test_the_override_without_a_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(InputError, match="no launcher started this one; start it with torchrun"):
        distributed.start("auto")


def train_with_batch_norm(folder: Path, data: Path) -> None:
    """A training by drawn items, then its evaluation; each process notes the statistics that it validates with."""
    places = {"output_dir": str(folder / "runs"), "ckpt_dir": str(folder / "models")}
    names = ("train.json", "multi_gpu_train.json", "imbalance/weighted_sampler.json")
    training = job(folder, *names, dataset_dir=str(data), run_name="run", **places, **TINY)
    training.initialize()
    used: list[torch.Tensor] = []
    network = training.content("placed_network")

    def note(engine: Engine) -> None:
        used.append(torch.cat([buffer.flatten().double() for buffer in network.buffers()]))

    training.content("validate::evaluator").add_event_handler(Events.STARTED, note)
    training.run()
    drawn = list(training.content("train::dataloader").sampler)
    torch.save({"statistics": torch.stack(used), "drawn": drawn}, folder / f"{distributed.rank()}.pt")
    evaluation = job(folder, "train.json", "multi_gpu_train.json", "evaluate.json", **places)
    evaluation.initialize()
    evaluation.run()
    evaluation.finalize()


def test_processes_share_statistics_drawn_items_temperature_and_evaluation(data: Path, tmp_path: Path) -> None:
    together(train_with_batch_norm, 2, tmp_path, data, env=PATHS)
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(one["statistics"]) == 2 and torch.equal(one["statistics"], other["statistics"])
    assert len(one["drawn"]) == len(other["drawn"]) == 14 and one["drawn"] != other["drawn"]
    about = json.loads((tmp_path / "models" / "model.json").read_text())
    assert about["temperature"] != 1, "fitted on the answers of both"
    by_two = read_run(tmp_path / "runs" / "run")
    run(job(tmp_path, "train.json", "evaluate.json", run_name="alone"))
    alone = read_run(tmp_path / "runs" / "alone")
    assert by_two.images == alone.images and len(alone.images) == 7, "each image once"
    np.testing.assert_allclose(by_two.probabilities, alone.probabilities, atol=1e-6)
