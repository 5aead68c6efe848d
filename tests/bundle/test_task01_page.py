"""docs/task01.md: its trainings are too long for a test, so what its commands name is checked, and the rest is run."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import pytest
from documents import commands
from monai.bundle import ConfigParser
from scripts.cases import main as cases
from scripts.download import FOLDER
from scripts.evaluate import main as evaluate
from scripts.store import recipe_of
from tiny import write_decathlon
from workflow import BUNDLE

COMMANDS = [shlex.split(command) for command in commands("bundle/docs/task01.md")]


def options(words: list[str]) -> dict[str, str]:
    """``--name value`` pairs."""
    return {name[2:]: value for name, value in zip(words, words[1:], strict=False) if name.startswith("--")}


def of(module: str) -> list[list[str]]:
    """Arguments of the page's commands of one module."""
    found = [words[3:] for words in COMMANDS if words[2] == module]
    assert found
    return found


def test_configs_and_knobs_of_the_trainings_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BUNDLE)
    train, test = (options(words) for words in of("monai.bundle"))
    for named in (train, test):
        parser = ConfigParser()
        parser.read_config(ast.literal_eval(named.pop("config_file")))
        assert set(named) <= set(parser.get())
    parser = ConfigParser()
    parser.read_config(ast.literal_eval(options(of("monai.bundle")[0])["config_file"]))
    assert (parser["patch_size"], parser["batch_size"], parser["epochs"]) == ([128, 128, 128], 2, 300)
    network = parser.get_parsed_content("network_def")
    assert sum(weights.numel() for weights in network.parameters()) == 31_193_388
    transforms, modalities = recipe_of([options(of("scripts.store")[0])["config_file"]], {})
    assert isinstance(transforms, list) and len(modalities) == 4


def test_folds_and_scores_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_decathlon(tmp_path / "DIR" / FOLDER, cases=10)
    monkeypatch.chdir(tmp_path)
    (arguments,) = of("scripts.cases")
    assert cases(arguments) == 0 and (tmp_path / "folds/0.json").is_file()
    (data / "labelsTr").rename(tmp_path / "labels")
    (data / "labelsTr").mkdir()
    for file in (tmp_path / "labels").iterdir():
        (data / "labelsTr" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "labels").rename(tmp_path / "PREDICTIONS")
    for words in of("scripts.evaluate"):
        assert evaluate([*words, "--jobs", "1"]) == 0
    assert (tmp_path / "by_label/cases.csv").read_text("utf-8").startswith("case,dice_1,dice_2,dice_3")
