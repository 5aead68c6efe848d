"""train.json, its overrides and inference.json, run in this process on a tiny set."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import run_forked
from PIL import Image
from skin_lesions.checkpoints import from_recipe, load_weights
from skin_lesions.classes import CLASSES, PLAIN_NAMES
from skin_lesions.errors import InputError
from skin_lesions.splits import PARTS
from skin_workflow import BUNDLE, SMALL, TINY, job, refusal_of, run
from tiny_ham10000 import write_tiny_ham10000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_ham10000(tmp_path_factory.mktemp("data") / "set", lesions=4, images=2)


@pytest.fixture(scope="module")
def work(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training whose last epoch is not validated, so that its best is another."""
    folder = tmp_path_factory.mktemp("work")
    run(job(folder, "train.json", dataset_dir=str(data), run_name="run", **(TINY | {"epochs": 5, "val_interval": 2})))
    return folder


def about(work: Path) -> dict[str, Any]:
    return json.loads((work / "models" / "model.json").read_text())


def answers(folder: Path) -> dict[str, Any]:
    return {file.stem: json.loads(file.read_text()) for file in folder.iterdir()}


def epochs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "runs" / "run" / "metrics.jsonl").read_text().splitlines()]


def state(file: Path) -> dict[str, torch.Tensor]:
    return torch.load(file, weights_only=True)


def test_the_best_epoch_is_kept_and_the_last_beside_it(work: Path) -> None:
    rows, kept = epochs(work), about(work)
    assert [(row["epoch"], "val_auc" in row) for row in rows] == [(n, n in (2, 4)) for n in range(1, 6)]
    best = max((row for row in rows if "val_auc" in row), key=lambda row: row["val_auc"])
    assert (kept["epoch"], kept["metrics"]) == (best["epoch"], {"val_auc": best["val_auc"]})
    models = work / "models"
    assert kept["sha256"] == hashlib.sha256((models / "model.pt").read_bytes()).hexdigest()
    weights, last = state(models / "model.pt"), state(models / "model_last.pt")
    assert weights.keys() == last.keys() and any(not torch.equal(weights[key], last[key]) for key in last)
    network = from_recipe(str(models), str(BUNDLE), "network_def")
    load_weights(network, str(models))
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())


def test_model_json_tells_all_that_inference_needs(work: Path) -> None:
    kept = about(work)
    assert kept["classes"] == list(CLASSES) and kept["image_size"] == 32
    assert kept["recipe"]["network_def"] == SMALL and kept["recipe"]["deterministic_transforms"]
    assert {part: len(kept["datalist"][part]) for part in PARTS} == {"training": 28, "validation": 14, "test": 14}
    assert json.loads((work / "runs" / "run" / "datalist.json").read_text()) == kept["datalist"]
    assert json.loads((work / "runs" / "run" / "config.json").read_text()) == kept["recipe"]


def test_inference_writes_one_answer_a_picture(work: Path, data: Path, tmp_path: Path) -> None:
    made = run(job(work, "inference.json", kind="infer", dataset_dir=str(data), output_dir=str(tmp_path), batch_size=5))
    found = answers(tmp_path)
    pictures = {file.stem: file for file in data.rglob("*.jpg")}
    assert found.keys() == pictures.keys()
    network = made.content("network")
    temperature = about(work)["temperature"]
    for name in sorted(found)[::11]:
        logits = network.eval()(made.content("preprocessing")({"image": str(pictures[name])})["image"][None])[
            0
        ].double()
        answer, best = found[name], int(logits.argmax())
        assert answer["class"] == CLASSES[best] and answer["name"] == PLAIN_NAMES[CLASSES[best]]
        assert list(answer["probabilities"].values()) == pytest.approx(logits.softmax(0).tolist(), abs=1e-5)
        assert list(answer["probabilities"]) == list(CLASSES)
        assert answer["probability"] == max(answer["probabilities"].values())
        assert answer["confidence"] == pytest.approx(float((logits / temperature).softmax(0)[best]), abs=1e-5)


def test_preprocessing_of_the_training_is_followed(work: Path) -> None:
    made = job(work, "inference.json", kind="infer")
    assert [type(step).__name__ for step in made.content("preprocessing").transforms] == [
        "ReadPictured", "ScaleIntensityRanged", "Resized", "EnsureTyped",
    ]  # fmt: skip
    assert made.content("preprocessing").transforms[2].resizer.spatial_size == [32, 32]


OVERRIDES = [
    "imbalance/weighted_sampler.json",
    "imbalance/weighted_loss.json",
    "imbalance/oversample.json",
    "recipe/published.json",
]


@pytest.mark.parametrize("override", OVERRIDES)
def test_each_override_trains_a_model_that_inference_takes(override: str, data: Path, tmp_path: Path) -> None:
    run(job(tmp_path, "train.json", override, dataset_dir=str(data), run_name="run", **(TINY | {"epochs": 1})))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    first = min(data.rglob("*.jpg"))
    (pictures / "a.jpg").write_bytes(first.read_bytes())
    made = job(tmp_path, "inference.json", kind="infer", dataset_dir=str(pictures), output_dir=str(tmp_path / "out"))
    run(made)
    assert answers(tmp_path / "out")["a"]["class"] in CLASSES


def test_bad_input_reaches_the_user_as_a_sentence(work: Path, data: Path, tmp_path: Path) -> None:
    def infer(folder: Path, **overrides: Any) -> str:
        made = job(work, "inference.json", kind="infer", **({"dataset_dir": str(folder)} | overrides))
        return refusal_of(made)

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no picture" in infer(empty)
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(empty / "dot.png")
    assert "dot.png: has 1 x 1 pixels" in infer(empty)
    assert "dot.png: has 1 x 1 pixels" in infer(empty, num_workers=1), "read in another process"
    assert "there is no trained model; run configs/train.json" in infer(data, ckpt_dir=str(tmp_path))
    assert "override 'epoch' is read by nothing in this config; did you mean 'epochs'?" in refusal_of(
        job(tmp_path, "train.json", dataset_dir=str(data), epoch=3)
    )
    assert "already holds a training; choose another run_name" in refusal_of(
        job(work, "train.json", dataset_dir=str(data), run_name="run", **TINY)
    )


def test_the_folder_alone_is_enough_and_bad_input_ends_in_one_sentence(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(BUNDLE, copy, ignore=shutil.ignore_patterns("models", "runs", "predictions", "__pycache__"))
    tiny = [f"--{name}={json.dumps(value)}" for name, value in (TINY | {"epochs": 1}).items()]
    command = ["run", "--config_file", "configs/train.json", "--dataset_dir", str(data), "--run_name", "a", *tiny]
    trained = run_forked("monai.bundle", command, copy, {})
    assert trained.returncode == 0, trained.stderr
    assert (copy / "models" / "model.pt").is_file() and (copy / "runs" / "a" / "metrics.jsonl").is_file()
    refused = run_forked("monai.bundle", command, copy, {})
    assert refused.returncode == 1
    lines = [line for line in refused.stderr.splitlines() if "Warning" not in line and not line.startswith("  ")]
    assert lines[-1].startswith(f"error: {copy / 'runs' / 'a'}: already holds a training;"), refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_model_that_does_not_fit_is_refused(work: Path, data: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for name in ("model.pt", "model.json"):
        (models / name).write_bytes((work / "models" / name).read_bytes())

    def infer(**overrides: Any) -> str:
        return refusal_of(
            job(tmp_path, "inference.json", kind="infer", dataset_dir=str(data), output_dir=str(tmp_path), **overrides)
        )

    assert "holds the weights of another network" in infer(network_def=SMALL | {"growth_rate": 6})
    with (models / "model.pt").open("ab") as weights:
        weights.write(b"0")
    assert "is not the file that model.json beside it describes" in infer()
    (models / "model.json").write_text("{")
    assert "is not valid JSON" in infer()


def test_the_excepthook_shows_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from skin_lesions.errors import install_excepthook

    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    install_excepthook()
    try:
        try:
            raise InputError("x.jpg: is grey.")
        except InputError as inner:
            raise RuntimeError("applying transform") from inner
    except RuntimeError:
        sys.excepthook(*sys.exc_info())
    assert capsys.readouterr().err == "error: x.jpg: is grey.\n"
    sys.excepthook(ValueError, ValueError("a fault"), None)
    assert "ValueError: a fault" in capsys.readouterr().err
