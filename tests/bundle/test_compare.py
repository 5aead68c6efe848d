"""The comparison of runs: best first, the knobs that differ, and folders that are not whole."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from matplotlib.image import imread
from scripts.compare import main


def make_run(folder: Path, dice: list[float | None], test: float | None = None, **knobs: object) -> Path:
    """A run folder of one epoch a value; None is an epoch without validation."""
    folder.mkdir(parents=True)
    config = {"_desc_": {name: "" for name in ("epochs", "run_name", *knobs)}, "epochs": 3, "run_name": folder.name}
    (folder / "config.json").write_text(json.dumps(config | knobs))
    with (folder / "metrics.jsonl").open("w") as lines:
        for epoch, value in enumerate(dice, start=1):
            record = {"epoch": epoch, "train_loss": 2 / epoch, "learning_rate": 0.1, "seconds": 30.0}
            record |= {} if value is None else {"val_mean_dice": value, "val_dice_TC": value / 2}
            lines.write(json.dumps(record) + "\n")
    if test is not None:
        (folder / "test").mkdir()
        (folder / "test" / "summary.json").write_text(json.dumps({"dice": {"TC": test, "mean": test}}))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    make_run(tmp_path / "runs" / "a", [0.2, 0.6, 0.5], test=0.55, learning_rate=0.1, seed=42)
    make_run(tmp_path / "runs" / "b", [None, 0.7], learning_rate=0.2, seed=42)
    make_run(tmp_path / "runs" / "c", [None, None, None], learning_rate=0.2, seed=42)
    # What else lies in output_dir is no run.
    (tmp_path / "runs" / "mlflow_artifacts").mkdir()
    return tmp_path / "runs"


def rows(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_best_run_first_at_its_best_epoch(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output_dir", str(runs)]) == 0
    head, *lines = rows(capsys)
    assert head == [
        "run", "epochs", "best_epoch", "train_loss", "val_mean_dice", "val_dice_TC", "test_mean_dice", "minutes",
        "learning_rate",
    ]  # fmt: skip
    assert lines == [
        ["b", "2/3", "2", "1.0000", "0.7000", "0.3500", "-", "1.0000", "0.2"],
        ["a", "3/3", "2", "1.0000", "0.6000", "0.3000", "0.5500", "1.5000", "0.1"],
        ["c", "3/3", "3", "0.6667", "-", "-", "-", "1.5000", "0.2"],
    ]


@pytest.mark.parametrize(
    ("sort", "order"), [("train_loss", "acb"), ("test_mean_dice", "abc"), ("minutes", "bac"), ("val_dice_TC", "bac")]
)
def test_other_orders(sort: str, order: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Less is better of losses and times; a run that has no value comes last; equals keep their order."""
    assert main(["--output_dir", str(runs), "--sort", sort]) == 0
    assert [line[0] for line in rows(capsys)[1:]] == list(order)


def test_a_killed_runs_last_line_is_passed_over(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (runs / "b" / "metrics.jsonl").open("a") as lines:
        lines.write('{"epoch": 3, "train_lo')
    assert main([str(runs / "b"), str(runs / "a")]) == 0
    assert rows(capsys)[1][:3] == ["b", "2/3", "2"]


def test_a_run_without_an_epoch_is_left_out_of_a_folder(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(runs / "new", [])
    (runs / "half").mkdir()
    (runs / "half" / "metrics.jsonl").write_text('{"epoch"')
    assert main(["--output_dir", str(runs)]) == 0
    assert [line[0] for line in rows(capsys)[1:]] == ["b", "a", "c"]


def test_a_value_that_is_no_number_is_never_the_best(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (runs / "c" / "metrics.jsonl").open("a") as lines:
        lines.write('{"epoch": 4, "train_loss": NaN, "val_mean_dice": NaN, "seconds": 1.0}\n')
    assert main(["--output_dir", str(runs)]) == 0
    assert [line[0] for line in rows(capsys)[1:]] == ["b", "a", "c"]


def test_csv_and_figure_hold_every_run(runs: Path, tmp_path: Path) -> None:
    table, figure = tmp_path / "runs.csv", tmp_path / "runs.png"
    assert main(["--output_dir", str(runs), "--csv", str(table), "--figure", str(figure)]) == 0
    with table.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [Path(row["run"]).name for row in found] == ["b", "a", "c"]
    assert [row["test_mean_dice"] for row in found] == ["", "0.55", ""]
    assert len(imread(figure)) > 300


def test_a_training_that_was_to_be_longer_says_how_far_it_came(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(runs / "long", [0.9], epochs=40, wandb_mode="offline")
    assert main(["--output_dir", str(runs)]) == 0
    head, best, *_ = rows(capsys)
    assert best[:2] == ["long", "1/40"] and "wandb_mode" not in head


def test_networks_that_differ_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, target in (("one", "UNet"), ("two", "monai.networks.nets.SegResNet")):
        make_run(tmp_path / name, [0.5], network_def={"_target_": target})
    assert main([str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    head, *lines = rows(capsys)
    assert head[-1] == "network_def" and [line[-1] for line in lines] == ["UNet", "SegResNet"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: is no run's folder, it has no metrics.jsonl"),
        (["--output_dir", "nowhere"], "nowhere: holds no run that has finished an epoch"),
        (["empty"], "has no whole epoch yet"),
        (["spoilt"], "config.json: the config is not valid JSON"),
        (["good", "--sort", "dice"], "--sort dice: no run has that metric; choose one of train_loss, val_mean_dice"),
        (["good", "--sort", "run"], "--sort run: no run has that metric"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "good", [0.5])
    make_run(tmp_path / "empty", [])
    (make_run(tmp_path / "spoilt", [0.5]) / "config.json").write_text("{")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
