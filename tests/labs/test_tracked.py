"""Lab 07: trackers' own files read back, an outage, a key that leaks, and what the exercises say."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from labkit.checks import NotYet
from labkit.tracked import (
    READERS,
    check_best_run,
    check_leaks,
    curves_figure,
    disagreements,
    files_with,
    from_metrics,
    from_mlflow,
    from_wandb,
    mlflow_client,
    mlflow_run,
    side_by_side,
    size_of,
    store_bytes,
)
from labkit.tracker_lessons import ENVIRONMENT, JOB_DESCRIPTION, copied_run, follow, pass_as_knob
from labkit.wandb_file import BLOCK, HEADER, HEADER_BYTES, RECORD_HEADER, WandbRun, payloads
from scripts.errors import InputError
from scripts.tracker_mlflow import MLflow
from scripts.tracker_tensorboard import TensorBoard
from scripts.tracker_wandb import WandB

pytest.importorskip("mlflow", reason='the extra "track" is not installed')
pytest.importorskip("wandb", reason='the extra "track" is not installed')

DICE = {"first": (0.25, 0.75), "second": (0.125, 0.5)}
KEY = "feedbeef" * 5
LEAKED = {"MLflow's database": True, "W&B's run file": True, JOB_DESCRIPTION: True, ENVIRONMENT: False}


def write_run(folder: Path, dice: tuple[float, ...]) -> Path:
    """A run folder of as many epochs, the last of them with a validation."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"_desc_": {"epochs": ""}, "epochs": len(dice)}))
    records = [{"epoch": at, "train_loss": 1 / at, "val_mean_dice": value} for at, value in enumerate(dice, start=1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: both in MLflow, the first in all trackers."""
    output_dir = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name, dice in DICE.items():
            assert follow(write_run(output_dir / name, dice), MLflow(str(output_dir))) == []
        for tracker in (TensorBoard(), WandB()):
            assert follow(output_dir / "first", tracker) == []
    return output_dir


def test_all_trackers_agree_with_the_original(runs: Path) -> None:
    wanted = from_metrics(runs / "first")
    assert wanted == {"train_loss": {1: 1.0, 2: 0.5}, "val_mean_dice": {1: 0.25, 2: 0.75}}
    found = {name: read(runs / "first") for name, read in READERS.items()}
    assert found == dict.fromkeys(("TensorBoard", "MLflow", "W&B"), wanted)
    assert disagreements(wanted, found) == []
    assert side_by_side(wanted, found, ["train_loss"])[1] == ["train_loss", 2, *["0.500000"] * 4]
    figure = curves_figure(found, "train_loss")
    assert [list(axis.lines[0].get_ydata()) for axis in figure.axes] == [[1.0, 0.5]] * 3
    plt.close(figure)


def test_what_differs_or_lacks_is_named() -> None:
    wanted = {"train_loss": {1: 1.0, 2: 0.1}}
    # A third as float32 rounds it is no difference.
    found = {"A": {"train_loss": {1: 1.00000001, 2: 0.2}}, "B": {"train_loss": {1: 1.0}}, "C": {}}
    assert disagreements(wanted, found) == [
        ("A", "train_loss", 2), ("B", "train_loss", 2), ("C", "train_loss", 1), ("C", "train_loss", 2),
    ]  # fmt: skip


def test_every_store_has_its_size(runs: Path) -> None:
    held = store_bytes(runs / "first")
    assert held["metrics.jsonl"] == (runs / "first" / "metrics.jsonl").stat().st_size
    assert min(held.values()) > 0 and held["MLflow"] >= size_of(runs / "mlflow.db")


def test_runs_that_are_absent_are_named(runs: Path) -> None:
    with pytest.raises(InputError, match="has no run 'third'"):
        mlflow_run(mlflow_client(runs), "third")
    with pytest.raises(InputError, match=r"configs/track/wandb\.json"):
        from_wandb(runs / "second")


def test_what_a_server_missed_is_sent_later(runs: Path, tmp_path: Path) -> None:
    lonely = copied_run(runs / "first", tmp_path / "lonely")
    in_the_way = tmp_path / "away"
    in_the_way.write_text("a file where a folder is wanted")
    (warning,) = follow(lonely, MLflow(str(tmp_path), f"sqlite:///{(in_the_way / 'mlflow.db').as_posix()}"))[:1]
    assert warning.startswith("MLflow cannot be reached or written to") and "the training goes on" in warning
    assert follow(lonely, MLflow(str(tmp_path))) == []
    assert from_mlflow(lonely) == from_metrics(runs / "first")


def test_best_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_best_run("first", runs)
    assert "0.750" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "hint"),
    [(..., "no answer"), (0.75, "a run's name"), ("third", "no run called"), ("second", "which end of the order")],
)
def test_best_run_is_answered_by_hints(answer: Any, hint: str, runs: Path) -> None:
    with pytest.raises(NotYet, match=hint):
        check_best_run(answer, runs)


def test_a_key_among_the_hyper_parameters_is_in_both_trackers(tmp_path: Path) -> None:
    leaked = pass_as_knob(KEY, tmp_path / "published")
    assert leaked == LEAKED
    assert {path.suffix for path in files_with(KEY, tmp_path)} >= {".db", ".wandb"}
    assert files_with(KEY[::-1], tmp_path) == []
    (file,) = tmp_path.rglob("run-*.wandb")
    assert WandbRun(file).exit_code == 0, "the key was looked for before W&B had written its file whole"
    # A learner whose first answer is wrong runs the cell once more.
    assert pass_as_knob(KEY, tmp_path / "published") == LEAKED


def test_places_of_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    check_leaks({place for place, leaks in LEAKED.items() if leaks}, LEAKED)
    assert "Right." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (..., "no answer"),
        (["W&B's run file"], "write a set"),
        ({"nowhere"}, "write a set"),
        (set(), "3 of 4"),
        (set(LEAKED), "1 of 4"),
    ],
)
def test_places_are_answered_by_hints(answer: Any, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_leaks(answer, LEAKED)


def logged(*records: bytes) -> bytes:
    """A log of these records, written as leveldb/doc/log_format.md says, without checksums."""
    content = HEADER + bytes(HEADER_BYTES - len(HEADER))
    for record in records:
        first = True
        while True:
            left = BLOCK - len(content) % BLOCK
            if left < RECORD_HEADER:
                content += bytes(left)
                continue
            part, record = record[: left - RECORD_HEADER], record[left - RECORD_HEADER :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not record]
            content += struct.pack("<IHB", 0, len(part), kind) + part
            first = False
            if not record:
                break
    return content


def test_records_over_several_blocks() -> None:
    # The first leaves 3 bytes of its block, too few for a header.
    records = [b"a" * (BLOCK - HEADER_BYTES - RECORD_HEADER - 3), b"b" * (2 * BLOCK + 5), b"", b"c"]
    assert list(payloads(logged(*records))) == records


@pytest.mark.parametrize("cut", [1, 6, 12])
def test_a_record_that_was_cut_off_is_left_out(cut: int) -> None:
    assert list(payloads(logged(b"whole", b"broken")[:-cut])) == [b"whole"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "run.wandb"
    other.write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="give an offline run file"):
        WandbRun(other)
