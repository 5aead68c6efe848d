"""The small model that labs share: its files, its command, and that one training serves all."""

from __future__ import annotations

import json
import shlex
import threading
from pathlib import Path

import pytest
from labkit import model, project
from labkit.commands import Done, run
from labkit.model import KNOBS, Training, bundle_command, dataset_word, prepare, trained, typed
from labkit.project import BUNDLE
from scripts import phantom
from scripts.errors import InputError
from tiny import TINY, write_decathlon

SMALLEST = {**KNOBS, **TINY, "size_multiple": 4}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work folder of this test's own, in which the training takes one epoch of a tiny network."""
    monkeypatch.setattr(project, "WORK", tmp_path / "work")
    monkeypatch.setattr(model, "KNOBS", SMALLEST)
    monkeypatch.setattr(model, "STEPS", 1)
    return tmp_path


def test_the_split_and_the_epochs_follow_from_the_cases(tmp_path: Path, tiny_decathlon: Path) -> None:
    training = prepare(tiny_decathlon, tmp_path, steps=20)
    assert training.counts() == {"training": 6, "validation": 1, "test": 1}
    knobs = json.loads(training.knobs_file.read_text())
    # Six steps an epoch: four epochs are the first that hold 20.
    assert training.steps == 24
    assert knobs["epochs"] == 4 and knobs["val_interval"] == 1
    assert {name: knobs[name] for name in KNOBS} == KNOBS


def test_many_cases_are_not_all_used(tmp_path: Path) -> None:
    data = write_decathlon(tmp_path / "data", cases=26)
    assert prepare(data, tmp_path / "made").counts() == {"training": 16, "validation": 4, "test": 4}


def test_too_few_cases_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="usable patients"):
        prepare(write_decathlon(tmp_path / "data", cases=2), tmp_path)


def test_every_knob_is_one_of_the_recipe() -> None:
    recipe = json.loads((BUNDLE / model.TRAIN).read_text())
    assert all(name.split("::")[0] in recipe for name in KNOBS)


def test_the_command_can_be_typed() -> None:
    command = bundle_command(["a.json", "b.json"], run_name="two words", dataset_dir="phantom")
    assert shlex.split(command) == [
        "python", "-m", "monai.bundle", "run", "--config_file", "['a.json','b.json']", "--run_name", "two words",
        "--dataset_dir", "phantom",
    ]  # fmt: skip
    assert "--config_file a.json" in bundle_command(["a.json"])
    assert shlex.split(bundle_command(["my work/a.json"]))[-1] == "my work/a.json"


def test_overrides_and_knobs_are_added(tmp_path: Path) -> None:
    training = Training(tmp_path / "data", tmp_path, steps=1)
    words = shlex.split(training.command("configs/track/mlflow.json", run_name="second", learning_rate="0.1"))
    assert "configs/track/mlflow.json" in words[words.index("--config_file") + 1]
    assert words[words.index("--run_name") + 1] == "second" and words[words.index("--learning_rate") + 1] == "0.1"


def test_paths_are_relative_inside_the_project_only(tmp_path: Path) -> None:
    assert typed(BUNDLE.parent / "labs" / "work" / "02") == "../labs/work/02"
    assert typed(tmp_path) == tmp_path.resolve().as_posix()


def test_the_embedded_data_go_by_their_word(tmp_path: Path) -> None:
    assert dataset_word(phantom.default_dir()) == "phantom"
    assert dataset_word(tmp_path) == typed(tmp_path)


def test_labs_at_once_share_one_training(place: Path, tiny_decathlon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[str] = []
    found: list[Path] = []

    def counted(command: str) -> Done:
        commands.append(command)
        return run(command)

    monkeypatch.setattr(model, "run", counted)
    # A training that was killed has left its folder.
    (place / "work" / "model" / f".part-{model._key(tiny_decathlon)}").mkdir(parents=True)
    threads = [threading.Thread(target=lambda: found.append(trained(tiny_decathlon))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(commands) == 1 and len(found) == 2
    (folder,) = set(found)
    assert folder.parent == place / "work" / "model" and not list(folder.parent.glob(".part-*"))
    assert {"model.pt", "model.json", "datalist.json", "small.json"} <= {path.name for path in folder.iterdir()}
    assert (folder / "runs" / "small" / "metrics.jsonl").is_file()


def test_other_data_are_another_model(place: Path, tmp_path: Path) -> None:
    assert model._key(tmp_path / "a") != model._key(tmp_path / "b")
