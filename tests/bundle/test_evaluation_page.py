"""The page on evaluation: its commands are run, and give the numbers and the columns that it says."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, arguments, bundle_beside_data, commands, find_what_is_named
from forked import run_forked
from scripts.checkpoints import sha256
from scripts.evaluate import main
from scripts.rules import Rules
from scripts.scores import COUNTS, SCORES
from tiny import TINY
from workflow import run

PAGE = "bundle/docs/evaluation.md"


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle in which the page's commands were run, with the labels of its data as another tool's predictions."""
    bundle = bundle_beside_data(tmp_path_factory.mktemp("page"))
    run(bundle, "train.json", dataset_dir=str(bundle / "DIR"), **TINY)
    (bundle / "PREDICTIONS").mkdir()
    for file in (bundle / "DIR" / "labelsTr").iterdir():
        (bundle / "PREDICTIONS" / file.name).write_bytes(file.read_bytes())
    shown = commands(PAGE)
    assert len(shown) == 3
    for command in shown:
        module, *rest = arguments(command)
        # A process of this kind cannot start others by this folder's modules.
        rest += ["--jobs", "1"] if module == "scripts.evaluate" else []
        done = run_forked(module, rest, bundle, {"OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
        if module == "scripts.evaluate":
            for other in "AB":
                shutil.copytree(bundle / "evaluation", bundle / other)
    # A table less itself.
    assert len(re.findall(r"\+0\.0000 \(\+0\.0000 to \+0\.0000\)", done.stdout)) == 4
    return bundle


def test_every_column_is_told(bundle: Path) -> None:
    with (bundle / "evaluation" / "cases.csv").open(encoding="utf-8") as lines:
        columns = {name.rsplit("_", 1)[0] for name in next(csv.reader(lines)) if name != "case"}
    assert columns == {*SCORES, *COUNTS}
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert not {name for name in columns if f"`{name}`" not in text}
    assert read(bundle / "evaluation" / "summary.json")["dice"]["mean"] == 1


def test_both_ways_lead_to_the_same_numbers(bundle: Path, tmp_path: Path) -> None:
    """evaluate.json scores what is in memory, the command what is in the files that were written."""
    test = bundle / "runs" / "run" / "test"
    folders = ["--prediction_dir", str(test / "labels"), "--reference_dir", str(bundle / "DIR")]
    options = ["--output_dir", str(tmp_path), "--label_scheme", "msd", "--predicted_only", "--jobs", "1"]
    assert main([*folders, *options]) == 0
    both = [
        [{name: row[name] for name in ("case", *SCORES, *COUNTS)} for row in read(folder / "cases.json")]
        for folder in (test, tmp_path)
    ]
    assert len(both[0]) == 2 and both[0] == both[1]
    of_files = read(tmp_path / "summary.json")
    assert (of_files.pop("reference_scheme"), of_files.pop("by_label")) == ("msd", False)
    assert len(of_files.pop("cases_left_out")) == len(list((bundle / "DIR" / "labelsTr").iterdir())) - 2
    of_model = read(test / "summary.json")
    # Which part, by which rules and weights, is known of a model and not of files.
    known = {name: of_model.pop(name) for name in ("evaluate_on", "rules", "sha256")}
    weights = sha256(bundle / "models" / "model.pt")
    assert known == {"evaluate_on": "test", "rules": dataclasses.asdict(Rules()), "sha256": [weights]}
    assert of_model == of_files


def test_files_and_modules_that_are_named_exist() -> None:
    find_what_is_named(PAGE)
