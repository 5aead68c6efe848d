"""A tiny network trained, calibrated and evaluated by the configs, in this process."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import gather_answers
import numpy as np
import pytest
import torch
from forked import run_together
from monai.data import DataLoader, Dataset
from monai.transforms import Compose
from skin_lesions.calibration import calibrated, fit_temperature
from skin_lesions.checkpoints import from_recipe, load_weights
from skin_lesions.classes import CLASSES
from skin_lesions.errors import InputError, find_input_error
from skin_lesions.held_out import SYNTHETIC, datalist, run_dir
from skin_lesions.splits import items
from skin_workflow import BUNDLE, SMALL, job, refusal_of, run
from tiny_ham10000 import write_tiny_ham10000

EVALUATE = ("train.json", "evaluate.json")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained and evaluated model; data/, models/, runs/run/ and runs/run/test/ below it."""
    folder = tmp_path_factory.mktemp("work")
    data = write_tiny_ham10000(folder / "data")
    # A step too large for calm: the best epoch is then not the last one.
    training = {"network_def": SMALL, "image_size": 32, "epochs": 5, "batch_size": 8, "learning_rate": 0.02}
    run(job(folder, "train.json", dataset_dir=str(data), run_name="run", **training))
    run(job(folder, *EVALUATE))
    return folder


def cases(run_folder: Path) -> list[dict[str, str]]:
    """The rows of an evaluation."""
    with (run_folder / "test" / "cases.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def about(work: Path) -> dict[str, Any]:
    return json.loads((work / "models" / "model.json").read_text())


def logits_of_part(work: Path, part: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, logits and truth of a part, by the saved weights and the recorded preprocessing."""
    models = str(work / "models")
    network = from_recipe(models, str(BUNDLE), "network_def")
    load_weights(network, models)
    transforms = Compose(from_recipe(models, str(BUNDLE), "deterministic_transforms"))
    found = items(about(work)["datalist"], part)
    (batch,) = DataLoader(Dataset(found, transforms), batch_size=len(found))
    with torch.no_grad():
        logits = network.eval()(batch["image"])
    return batch["name"], logits.double().numpy(), batch["label"].numpy()


def test_the_temperature_is_that_of_the_kept_model(work: Path) -> None:
    names, logits, truth = logits_of_part(work, "validation")
    assert len(names) == 14
    expected = fit_temperature(logits, truth)
    assert about(work)["temperature"] == pytest.approx(expected, rel=1e-3)
    assert expected != 1, "or nothing was fitted"


def test_the_test_part_is_scored_by_the_kept_model(work: Path) -> None:
    names, logits, truth = logits_of_part(work, "test")
    rows = {row["image"]: row for row in cases(work / "runs" / "run")}
    parts = about(work)["datalist"]
    assert list(rows) == sorted(names) == sorted(entry["name"] for entry in parts["test"])
    seen = {entry["lesion"] for part in ("training", "validation") for entry in parts[part]}
    confidence = calibrated(logits, about(work)["temperature"]).max(axis=1)
    for name, row_logits, label, sure in zip(names, logits, truth, confidence, strict=True):
        row = rows[name]
        assert row["lesion"] not in seen
        assert row["truth"] == CLASSES[label]
        assert row["predicted"] == CLASSES[row_logits.argmax()]
        assert [float(row[f"p_{code}"]) for code in CLASSES] == pytest.approx(calibrated(row_logits, 1), abs=1e-5)
        assert float(row["confidence"]) == pytest.approx(sure, abs=1e-5)


def test_summary_and_report_lie_beside(work: Path) -> None:
    folder = work / "runs" / "run" / "test"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["n_images"] == 14 and summary["n_lesions"] == 7
    assert summary["temperature"] == about(work)["temperature"]
    assert summary["classes"] == list(CLASSES) and summary["absent_classes"] == []
    assert summary["macro_auc"] > 0.8, "seven colours are told apart"
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "Evaluation of run on its test part" in html
    assert SYNTHETIC not in html
    assert str(work) not in html


def test_an_evaluation_can_be_repeated_with_moved_data_under_another_name(work: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(work / "data", tmp_path / "moved")
    shutil.copytree(work / "models", tmp_path / "models")
    made = run(job(tmp_path, *EVALUATE, dataset_dir=str(moved), run_name="again"))
    first, again = (folder / "test" / "cases.csv" for folder in (work / "runs" / "run", tmp_path / "runs" / "again"))
    assert first.read_text() == again.read_text()
    assert not made.check_properties(), "MONAI's own check of a bundle's config"
    assert about(tmp_path) == about(work), "the test part fits and keeps nothing"


def test_inference_is_as_confident_as_the_evaluation_says(work: Path, tmp_path: Path) -> None:
    run(job(work, "inference.json", kind="infer", dataset_dir=str(work / "data"), output_dir=str(tmp_path)))
    for row in cases(work / "runs" / "run"):
        found = json.loads((tmp_path / f"{row['image']}.json").read_text())
        assert found["class"] == row["predicted"]
        assert found["confidence"] == pytest.approx(float(row["confidence"]), abs=1e-5)


def test_processes_put_their_answers_together(tmp_path: Path) -> None:
    """Three and two images: each name with its own logits and truth, in every process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    envs = [address | {"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    for process in run_together(gather_answers.__file__, [str(tmp_path)], tmp_path, envs):
        assert process.returncode == 0, process.stderr
    expected = [[item["name"], item["image"].tolist(), item["label"]] for item in gather_answers.ITEMS]
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == sorted(expected)


def test_a_run_folder_of_another_machine_is_only_a_name(work: Path, tmp_path: Path) -> None:
    models = shutil.copytree(work / "models", tmp_path / "models")
    assert run_dir(str(models), str(tmp_path), None) == str(work / "runs" / "run")
    description = about(work) | {"run_dir": "/opt/ml/runs/elsewhere"}
    (models / "model.json").write_text(json.dumps(description))
    assert run_dir(str(models), str(tmp_path), None) == str(tmp_path / "elsewhere")
    assert run_dir(str(models), str(tmp_path), "mine") == str(tmp_path / "mine")


def test_the_synthetic_set_is_found_by_its_word_and_named(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache is of one machine; the report says that such figures mean nothing."""
    made = {"synthetic": work / "data"}
    monkeypatch.setattr("skin_lesions.synthetic.resolve", lambda name: made.get(str(name), Path(name)))
    shutil.copytree(work / "models", tmp_path / "models")
    description = about(work)
    description["recipe"]["dataset_dir"] = "synthetic"
    description["datalist"]["dataset_dir"] = "/home/other/.cache/synthetic"
    (tmp_path / "models" / "model.json").write_text(json.dumps(description))
    run(job(tmp_path, *EVALUATE, run_name="run"))
    assert cases(tmp_path / "runs" / "run") == cases(work / "runs" / "run")
    assert SYNTHETIC in (tmp_path / "runs" / "run" / "test" / "report.html").read_text(encoding="utf-8")
    assert datalist(str(tmp_path / "models"), str(tmp_path))["dataset_dir"] == str(tmp_path)


def test_no_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Exception) as caught:
        run(job(tmp_path, *EVALUATE))
    cause = find_input_error(caught.value)
    assert isinstance(cause, InputError)
    assert f"{tmp_path / 'models' / 'model.json'}: there is no trained model; run configs/train.json first" in str(
        cause
    )


def test_data_that_were_moved_are_one_sentence(work: Path) -> None:
    with pytest.raises(InputError, match="elsewhere: there is no such folder .* set dataset_dir to where they are"):
        datalist(str(work / "models"), str(work / "elsewhere"))


def test_a_missing_picture_is_one_sentence(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "models", tmp_path / "models")
    data = shutil.copytree(work / "data", tmp_path / "data")
    gone = Path(items(about(work)["datalist"] | {"dataset_dir": str(data)}, "test")[0]["image"])
    gone.unlink()
    made = job(tmp_path, *EVALUATE, dataset_dir=str(data), run_name="run")
    assert f"{gone}: there is no such picture" in refusal_of(made)


def test_a_diverged_model_is_one_sentence(work: Path, tmp_path: Path) -> None:
    models = shutil.copytree(work / "models", tmp_path / "models")
    weights = torch.load(models / "model.pt", weights_only=True)
    torch.save({name: tensor * float("nan") for name, tensor in weights.items()}, models / "model.pt")
    digest = hashlib.sha256((models / "model.pt").read_bytes()).hexdigest()
    (models / "model.json").write_text(json.dumps(about(work) | {"sha256": digest}))
    assert "answers to 14 of 14 images are no finite numbers" in refusal_of(job(tmp_path, *EVALUATE, run_name="run"))
    answers = tmp_path / "answers"
    infer = job(tmp_path, "inference.json", kind="infer", dataset_dir=str(work / "data"), output_dir=str(answers))
    assert "images are no finite numbers" in refusal_of(infer)
    assert not answers.exists(), "no answer that is none"
