"""Several real processes over gloo do what one does: same losses, same scores, every case once, one set of files."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from forked import LEAN, run_forked
from ignite.engine import Events
from processes import meet_anew, start, together, wait
from scripts import distributed, fsdp
from scripts.cases import prepare_datalist
from scripts.checkpoints import load_weights
from scripts.files import read_json, write_json
from tiny import TINY, write_decathlon
from workflow import BUNDLE, Job, run, workflow

DDP = ("train.json", "multi_gpu_train.json")
FSDP = (*DDP, "fsdp_train.json")
STORE = ("train.json", "data/store.json", "multi_gpu_train.json")
STANDIN = Path(__file__).with_name("smddp_standin")
# One patch in the middle of each case, in the order of the list.
PLAIN = TINY | {
    "crops_per_case": 1,
    "random_transforms": [{"_target_": "ResizeWithPadOrCropd", "keys": ["image", "label"], "spatial_size": [32] * 3}],
}

# A trainer handler that fails in the second step of the second process.
BROKEN = """import os

from ignite.engine import Events


class Handler:
    def attach(self, engine):
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), self)

    def __call__(self, engine):
        if os.environ["RANK"] == "1":
            raise ArithmeticError("rank one")
"""


def datalist(folder: Path, training: int) -> Path:
    """A split of ``training``, five and three of the cases."""
    listed = prepare_datalist(folder, label_scheme="msd", ratios=(0.7, 0.15, 0.15), seed=0)
    entries = sorted((e for part in ("training", "validation", "test") for e in listed[part]), key=lambda e: e["case"])
    parts = {"training": entries[8 - training : 8], "validation": entries[8:13], "test": entries[13:16]}
    file = folder.parent / f"of_{training}.json"
    write_json(file, listed | parts)
    return file


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen cases, with lists of 8 and of 7 training cases beside them."""
    folder = write_decathlon(tmp_path_factory.mktemp("data") / "Task01_Tiny", cases=16)
    os.environ["BRATS_CACHE_DIR"] = str(tmp_path_factory.getbasetemp() / "cache")
    for training in (8, 7):
        datalist(folder, training)
    return folder


def train(folder: Path, configs: tuple[str, ...], overrides: dict[str, Any], name: str = "") -> None:
    """What a process of a job does: train, and note what it saw and drew, and which files there are of it."""
    job = workflow(folder, *configs, **overrides)
    job.initialize()
    trainer = job.content("train::trainer")
    seen: list[list[str]] = []
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: seen.append([]))
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen[-1].extend(item["case"] for item in engine.state.batch)
    )
    job.run()
    evaluator = job.content("validate::evaluator")
    cases = job.content("validate::cases")
    note = {
        "seen": seen,
        "drawn": [float(patch.sum()) for patch in patches_of_first_case(job, configs)],
        "best": [evaluator.state.best_metric, evaluator.state.best_metric_epoch],
        "scored": [cases[index]["case"] for index in evaluator.data_loader.sampler],
        "backend": dist.get_backend(),
        "calls": dict(getattr(sys.modules.get("smdistributed.dataparallel.torch.torch_smddp"), "calls", {})),
    }
    write_json(folder / f"{name}{distributed.rank()}.json", note)
    job.finalize()


def patches_of_first_case(job: Job, configs: tuple[str, ...]) -> Sequence[torch.Tensor]:
    """The same case in every process: only the augmentation may differ."""
    if configs != STORE:
        drawn = job.content("train::dataset")[0]
        return [item["image"] for item in (drawn if isinstance(drawn, list) else [drawn])]
    loader = job.content("train::dataloader")
    loader.sampler = [0]
    return list(next(iter(loader))["image"])


def notes(folder: Path, processes: int) -> list[dict[str, Any]]:
    return [read_json(folder / f"{rank}.json", "note") for rank in range(processes)]


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "runs" / "run" / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [record["train_loss"] for record in metrics(folder)]


def tensors(value: Any, path: str = "") -> dict[str, torch.Tensor]:
    """All tensors of a nested state by their path."""
    if isinstance(value, torch.Tensor):
        return {path: value}
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {name: t for key, entry in entries for name, t in tensors(entry, f"{path}/{key}").items()}


def plain(data: Path, batch_size: int, **more: Any) -> dict[str, Any]:
    """Overrides of a training without anything random, two epochs of 8 cases."""
    paths = {"dataset_dir": str(data), "datalist_file": str(data.parent / "of_8.json")}
    return PLAIN | paths | {"batch_size": batch_size, "epochs": 2} | more


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process with batches of four."""
    folder = tmp_path_factory.mktemp("alone")
    run(folder, "train.json", **plain(data, 4, **{"train::dataloader::shuffle": False}))
    return folder


@pytest.fixture(scope="module")
def two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes with batches of two."""
    folder = tmp_path_factory.mktemp("two")
    together(train, 2, folder, DDP, plain(data, 2, **{"train::sampler::shuffle": False}))
    return folder


def check_same_training(folder: Path, alone: Path) -> None:
    for ours, theirs in zip(metrics(folder), metrics(alone), strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-4)
        assert ours["val_mean_dice"] == pytest.approx(theirs["val_mean_dice"], abs=1e-3)
    for file in ("model.pt", "model_last.pt"):
        ours, theirs = (torch.load(f / "models" / file, weights_only=True) for f in (folder, alone))
        assert list(tensors(ours)) == list(tensors(theirs)) and not any("/module." in name for name in tensors(ours))


def test_two_processes_equal_one_with_twice_the_batch(two: Path, alone: Path) -> None:
    check_same_training(two, alone)


def test_four_processes_equal_one_with_four_times_the_batch(data: Path, alone: Path, tmp_path: Path) -> None:
    together(train, 4, tmp_path, DDP, plain(data, 1, **{"train::sampler::shuffle": False}))
    check_same_training(tmp_path, alone)
    assert Counter(case for note in notes(tmp_path, 4) for case in note["scored"]) == Counter(validation(data))


def validation(data: Path) -> list[str]:
    return [entry["case"] for entry in read_json(data.parent / "of_8.json", "list")["validation"]]


def test_validation_is_shared_out_and_chooses_by_all_cases(two: Path, data: Path, tmp_path: Path) -> None:
    first, second = notes(two, 2)
    # Five cases: three and two, none of them twice.
    assert Counter(first["scored"] + second["scored"]) == Counter(validation(data))
    assert first["best"] == second["best"] and len(first["scored"]) == 3
    assert first["best"][0] == max(record["val_mean_dice"] for record in metrics(two))
    # One process that scores the kept weights on all cases finds the same.
    job = workflow(tmp_path, "train.json", **plain(data, 1))
    job.initialize()
    load_weights(job.content("scored_network"), two / "models" / "model.pt")
    evaluator = job.content("validate::evaluator")
    evaluator.run()
    kept = read_json(two / "models" / "model.json", "description")["metrics"]
    assert {name: float(value) for name, value in evaluator.state.metrics.items()} == pytest.approx(kept, abs=1e-6)


def gather(folder: Path) -> None:
    """What a process of a job does: join, give its own rows, note those of all."""
    distributed.start("gloo")
    own = [{"case": f"{distributed.rank()}{index}"} for index in range(2 - distributed.rank())]
    write_json(folder / f"{distributed.rank()}.json", distributed.gathered(own))
    distributed.stop()


def test_every_process_has_the_rows_of_all(tmp_path: Path) -> None:
    together(gather, 2, tmp_path)
    assert notes(tmp_path, 2) == [[{"case": "00"}, {"case": "01"}, {"case": "10"}]] * 2
    assert distributed.gathered([1, 2]) == [1, 2]


def test_rank_zero_alone_writes(two: Path) -> None:
    files = sorted(str(file.relative_to(two)) for file in two.rglob("*") if file.is_file())
    wanted = ["command.txt", "config.json", "curves.png", "datalist.json", "log.txt", "metrics.jsonl", "report.html",
              "tracking.json", "versions.json", "images/epoch_0002.png"]  # fmt: skip
    events = [file for file in files if "tfevents" in file]
    assert len(events) == 1
    models = [f"models/{name}" for name in ("model.json", "model.pt", "model_last.pt", "model_previous.pt")]
    assert sorted({*files} - {*events}) == sorted(["0.json", "1.json", *models, *(f"runs/run/{n}" for n in wanted)])
    log = (two / "runs" / "run" / "log.txt").read_text()
    assert log.count("epoch 1/2") == 1 and log.count("measured: ") == 1
    assert (
        "2 processes (gloo), cpu; batch 2 x 1 patches a process, global batch 4 cases = 4 patches; 2 epochs of 2 "
        in log
    )
    assert all(record["samples_per_s"] > 0 for record in metrics(two))


@pytest.mark.parametrize("configs", [DDP, STORE], ids=["dataset", "store"])
def test_uneven_cases_and_streams_of_their_own(configs: tuple[str, ...], data: Path, tmp_path: Path) -> None:
    overrides = TINY | {"epochs": 3, "dataset_dir": str(data), "datalist_file": str(data.parent / "of_7.json")}
    if configs is STORE:
        overrides["store_dir"] = str(tmp_path / "store")
    together(train, 2, tmp_path, configs, overrides)
    cases = {entry["case"] for entry in read_json(data.parent / "of_7.json", "list")["training"]}
    first, second = notes(tmp_path, 2)
    for epoch in range(3):
        # Two crops a case. The eighth place is taken by a case for the second time.
        counts = Counter(first["seen"][epoch] + second["seen"][epoch])
        assert set(counts) == cases and sorted(counts.values()) == [2] * 6 + [4]
    assert len({tuple(first["seen"][epoch]) for epoch in range(3)}) == 3
    assert not set(first["drawn"]) & set(second["drawn"]) and len(first["drawn"]) == 2


def test_sharded_training_equals_ddp(two: Path, data: Path, tmp_path: Path) -> None:
    together(train, 2, tmp_path, FSDP, plain(data, 2, **{"train::sampler::shuffle": False}))
    assert losses(tmp_path) == pytest.approx(losses(two), abs=1e-5)
    for file in ("model.pt", "model_last.pt"):
        ours, theirs = (tensors(torch.load(f / "models" / file, weights_only=True)) for f in (tmp_path, two))
        assert {name: (t.shape, t.dtype) for name, t in ours.items()} == {
            name: (t.shape, t.dtype) for name, t in theirs.items()
        }
    assert "average" not in torch.load(tmp_path / "models" / "model_last.pt", weights_only=True)
    run(tmp_path, "inference.json", kind="infer", dataset_dir=str(data), output_dir=str(tmp_path / "out"))
    assert len(list((tmp_path / "out").rglob("*_seg.nii.gz"))) == 16


def every_option(folder: Path, data: Path) -> None:
    """In each process: average, clipping and accumulation, with whole and with sharded weights; and states kept."""
    options = {"ema_decay": 0.5, "clip_grad_norm": 0.5, "accumulation_steps": 2, "scale_learning_rate": "sqrt"}
    overrides = plain(data, 1, **options, **{"train::sampler::shuffle": False})
    train(folder / "whole", DDP, overrides)
    meet_anew()
    train(folder / "sharded", FSDP, overrides)
    meet_anew()
    distributed.start("gloo")
    state = torch.load(folder / "sharded" / "models" / "model_last.pt", weights_only=True)
    job = workflow(folder, *FSDP, **overrides)
    network, optimizer = (job.content(part) for part in ("network", "optimizer"))
    fsdp.load_full_state(network, state["model"])
    fsdp.load_full_state(optimizer, state["optimizer"])
    kept = tensors(state["model"]) | tensors(state["optimizer"])
    again = tensors(fsdp.full_state(network)) | tensors(fsdp.full_state(optimizer))
    assert distributed.rank() == 1 or all(torch.equal(value, again[name]) for name, value in kept.items())
    sizes = [parameter.to_local().numel() for parameter in network.parameters()]
    assert sum(sizes) < 0.7 * sum(parameter.numel() for parameter in network.parameters())
    distributed.stop()


def test_sharded_weights_average_clip_and_accumulate_as_whole_ones(data: Path, tmp_path: Path) -> None:
    together(every_option, 2, tmp_path, data)
    assert losses(tmp_path / "sharded") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)
    whole, sharded = (tmp_path / name / "models" / "model_last.pt" for name in ("whole", "sharded"))
    ours, theirs = (tensors(torch.load(file, weights_only=True)["average"]) for file in (sharded, whole))
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        # A bias before a normalisation has no gradient but rounding, which Adam makes a step of.
        torch.testing.assert_close(value, theirs[name], atol=1e-2 if name.endswith("conv.bias") else 1e-4, rtol=0)
    # 0.002 for one process; two of them, two batches a step.
    assert metrics(tmp_path / "whole")[-1]["learning_rate"] <= 0.004
    assert "peak learning rate 0.004" in (tmp_path / "whole" / "runs" / "run" / "log.txt").read_text()


def train_and_evaluate(folder: Path, overrides: dict[str, Any]) -> None:
    """In each process: both, one after the other."""
    train(folder, DDP, overrides)
    meet_anew()
    run(folder, *DDP, "evaluate.json")


def test_smddp_by_mpirun(two: Path, data: Path, tmp_path: Path) -> None:
    """Through a stand-in for AWS's module, which refuses what SMDDP does; the instance type lets ``auto`` take it."""
    env = {"SM_CURRENT_INSTANCE_TYPE": "ml.p4d.24xlarge", "PYTHONPATH": str(STANDIN)}
    overrides = plain(data, 2, **{"train::sampler::shuffle": False})
    together(train_and_evaluate, 2, tmp_path, overrides, env=env, launcher="mpirun")
    for note in notes(tmp_path, 2):
        assert note["backend"] == "smddp" and min(note["calls"][name] for name in ("allreduce", "allgather")) > 0
    assert losses(tmp_path) == pytest.approx(losses(two), abs=1e-6)
    assert "2 processes (smddp)" in (tmp_path / "runs" / "run" / "log.txt").read_text()
    assert (tmp_path / "runs" / "run" / "command.txt").read_text().startswith("mpirun -n 2 python")
    assert len(read_json(tmp_path / "runs" / "run" / "test" / "cases.json", "scores")) == 3


def die(folder: Path, overrides: dict[str, Any]) -> None:
    """In each process: train; the second one is killed in its second step."""
    job = workflow(folder, *DDP, **overrides)
    job.initialize()
    if distributed.rank() == 1:
        job.content("train::trainer").add_event_handler(
            Events.ITERATION_COMPLETED(once=2), lambda engine: os.kill(os.getpid(), signal.SIGKILL)
        )
    job.run()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_ends_the_others_even_without_a_launcher_that_looks(data: Path, tmp_path: Path) -> None:
    codes = wait(start(die, 2, tmp_path, plain(data, 1), launcher="mpirun"), seconds=60)
    assert codes == [1, -signal.SIGKILL]


def test_an_error_in_one_process_ends_a_torchrun_with_its_traceback(data: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "more.json", {"+train::handlers": [{"_target_": "broken.Handler"}]})
    (tmp_path / "broken.py").write_text(BROKEN)
    configs = [str(BUNDLE / "configs" / name) for name in DDP] + [str(tmp_path / "more.json")]
    arguments = [
        "--standalone", "--nproc_per_node=2", "-m", "monai.bundle", "run", "--config_file", str(configs),
        "--bundle_root", str(BUNDLE), "--dataset_dir", str(data), "--output_dir", str(tmp_path / "runs"),
        "--ckpt_dir", str(tmp_path / "models"),
        *(word for knob, value in (TINY | {"epochs": 3}).items() for word in (f"--{knob}", str(value))),
    ]  # fmt: skip
    path = os.pathsep.join([str(tmp_path), LEAN["PYTHONPATH"]])
    done = run_forked("torch.distributed.run", arguments, tmp_path, {"OMP_NUM_THREADS": "1", "PYTHONPATH": path})
    assert done.returncode == 1
    assert "ArithmeticError: rank one" in done.stderr and "broken.py" in done.stderr
    assert not (tmp_path / "models" / "model.pt").exists()
