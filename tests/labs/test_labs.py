"""All labs, run as a learner who has solved them; and as one who has not, up to the first question."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from labkit.execution import Outcome, execute
from labkit.notebooks import sources
from labkit.project import WORK_VARIABLE
from labkit.run_labs import run_labs
from patients import patients

LABS = sources()
every_lab = pytest.mark.parametrize("file", LABS, ids=lambda file: file.stem)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def outcomes(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """All labs, run once."""
    return {one.number: one for one in run_labs(LABS, {}, site, tmp_path_factory.mktemp("work"))}


@every_lab
def test_lab_runs_and_shows_what_it_must(file: Path, outcomes: dict[str, Outcome], site: Path) -> None:
    outcome = outcomes[file.name[:2]]
    assert outcome.ok, "\n".join([*outcome.problems, outcome.failure])
    page = (site / f"{file.stem}.html").read_text(encoding="utf-8")
    assert page.count("Right.") >= 2 and page.count("You said") >= 3


@every_lab
def test_unanswered_exercise_stops_with_a_hint(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORK_VARIABLE, str(tmp_path / "work"))
    target = tmp_path / "out.ipynb"
    outcome = execute(file.name[:2], file.with_suffix(".ipynb"), target, {})
    last = outcome.failure.splitlines()[-1]
    assert last.startswith("Not yet: ") and "..." in str(nbformat.read(target, as_version=4))
    # The frames of labkit would bury the hint.
    assert "Traceback" not in outcome.failure


def test_labs_run_on_real_patients(tmp_path: Path) -> None:
    """Those that say most of the data and the scores; the others are run on them by hand, for the minutes it takes."""
    files = [file for file in LABS if file.name[:2] in ("00", "02")]
    folder = patients("Task01_BrainTumour_2mm")
    for outcome in run_labs(files, {"DATA": str(folder)}, tmp_path / "site", tmp_path / "work"):
        assert outcome.ok, "\n".join([outcome.number, *outcome.problems, outcome.failure])
