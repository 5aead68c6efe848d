"""Lab 02: configs that are read, overrides that are refused, and what the exercises say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from labkit import project
from labkit.checks import NotYet
from labkit.configs import check_best_epoch, check_overrides, knob_rows, refusal
from labkit.model import TRAIN, Training
from labkit.recipe import recipe

RIGHT = {
    "spacing": [3.0, 3.0, 3.0],
    "patch_size": [32, 32, 32],
    "network_def::channels": [8, 16, 32, 64],
    "network_def::strides": [2, 2, 2],
}


def test_expressions_are_evaluated_late() -> None:
    parser = recipe({"bundle_root": "/project"})
    assert parser["ckpt_dir"].startswith("$") and parser.get_parsed_content("ckpt_dir") == "/project/models"


def test_knobs_come_with_their_descriptions() -> None:
    ((name, value, about),) = knob_rows(recipe({"epochs": 7}), ["epochs"])
    assert (name, value) == ("epochs", "7") and "passes" in about


def test_a_misspelt_knob_is_refused(
    tmp_path: Path, tiny_decathlon: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(project, "WORK", tmp_path)
    sentence = refusal([TRAIN], {"learning_rat": 0.1, "dataset_dir": str(tiny_decathlon)})
    assert "'learning_rat'" in sentence and "did you mean 'learning_rate'" in sentence
    assert not list(tmp_path.rglob("metrics.jsonl")) and not caplog.records


def test_a_sound_config_is_not_refused(tmp_path: Path, tiny_decathlon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "WORK", tmp_path)
    with pytest.raises(AssertionError, match="was not refused"):
        refusal([TRAIN], {"dataset_dir": str(tiny_decathlon)})


@pytest.mark.parametrize("answer", [RIGHT, RIGHT | {"patch_size": (32, 32, 32)}], ids=["list", "tuple"])
def test_override_that_makes_the_recipe_small(answer: dict, capsys: pytest.CaptureFixture[str]) -> None:
    check_overrides(answer)
    assert "4 scans in, 3 regions out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (..., "has no answer yet"),
        ([], "a dict"),
        (RIGHT | {"network_de::channels": [8]}, "names nothing"),
        (RIGHT | {"spacing": 3.0}, "one number an axis"),
        (RIGHT | {"patch_size": [32, 32]}, "each of three axes"),
        (RIGHT | {"patch_size": 32}, "each of three axes"),
        (RIGHT | {"network_def::channels": [16, 32, 64, 128]}, "the first of 8 channels"),
        (RIGHT | {"network_def::channels": 8}, "the first of 8 channels"),
        (RIGHT | {"network_def::strides": [2, 2, 2, 2]}, "mind the strides"),
        (RIGHT | {"network_def::strides": 2}, "mind the strides"),
    ],
)
def test_overrides_are_answered_by_hints(answer: Any, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_overrides(answer)


@pytest.fixture
def training(tmp_path: Path) -> Training:
    """Four epochs, of which the second and fourth were validated."""
    training = Training(tmp_path, tmp_path, steps=4)
    training.run_dir.mkdir(parents=True)
    dice = {2: 0.7, 4: 0.6}
    lines = [
        {"epoch": epoch, "train_loss": 0.1} | ({"val_mean_dice": dice[epoch]} if epoch in dice else {})
        for epoch in range(1, 5)
    ]
    (training.run_dir / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return training


def test_best_epoch(training: Training, capsys: pytest.CaptureFixture[str]) -> None:
    check_best_epoch(2, training)
    assert "epoch 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "hint"),
    [(..., "no answer"), ({"epoch": 2}, "the number of the epoch"), (3, "was not validated"), (4, "scored more than")],
)
def test_best_epoch_is_answered_by_hints(answer: Any, hint: str, training: Training) -> None:
    with pytest.raises(NotYet, match=hint):
        check_best_epoch(answer, training)
