"""The benchmarks' common parts: fair turns, ratios that are those of the times, and a table that is up to date."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from forked import run_forked

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
sys.path.append(str(BENCHMARKS))
CLAIMS = sorted(file for file in BENCHMARKS.glob("*.py") if file.read_text("utf-8").startswith('"""Claim: '))


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


timing, readme, accuracy_table = load("timing"), load("readme"), load("accuracy_table")


def test_sides_take_turns_and_the_first_round_is_dropped() -> None:
    called = []
    timings = timing.interleave({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, rounds=3)
    assert called == ["a", "b"] * 4
    assert [len(side.cpu_s) for side in timings.values()] == [3, 3]


def test_times_of_repeated_calls_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that a call puts forward by two seconds."""
    now = [0.0]
    for clock in ("process_time", "perf_counter"):
        monkeypatch.setattr(timing.time, clock, lambda: now[0])

    def spend() -> None:
        now[0] += 2

    timings = timing.interleave({"once": spend, "often": spend}, rounds=3, repeats={"often": 8})
    assert [side.cpu_s for side in timings.values()] == [[2, 2, 2], [2, 2, 2]]


def test_a_ratio_is_of_medians_and_knows_its_rounds() -> None:
    ratio = timing.Ratio([10.0, 30.0, 20.0], [1.0, 2.0, 4.0])
    assert ratio == 10 and (ratio.low, ratio.high) == (5, 15)


def test_the_ratio_is_printed_last_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = {"slow": timing.Timing([0.4, 0.2], [1, 1]), "fast": timing.Timing([0.1, 0.1], [1, 1])}
    ratios = {"slow/fast": timing.ratio(*sides.values())}
    timing.finish(ratios, sides, {"difference": 0}, tmp_path / "new" / "x.json")
    assert capsys.readouterr().out.splitlines()[-1] == "RATIO slow/fast 3.00 (rounds 2.00 to 4.00)"
    kept = json.loads((tmp_path / "new" / "x.json").read_text())
    assert kept["ratios"] == {"slow/fast": {"median": pytest.approx(3), "min": 2, "max": 4}}
    assert "| slow/fast | **3** (2 to 4) |" in readme.section("x", kept)


def test_the_table_is_that_of_the_kept_results() -> None:
    done = subprocess.run([sys.executable, BENCHMARKS / "readme.py", "--check"], check=False)
    assert done.returncode == 0, "python benchmarks/readme.py renews it"
    kept = {file.stem for file in (BENCHMARKS / "results").glob("*.json")}
    assert kept == {file.stem for file in CLAIMS}, "a claim without a result, or a result without its benchmark"


def test_the_front_page_tells_the_kept_results_of_the_same_patients() -> None:
    groups = {(group.name, group.minutes): group for group in accuracy_table.load(BENCHMARKS / "results" / "accuracy")}
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    head = next(index for index, line in enumerate(lines) if line.startswith("| | 10 minutes | 40 minutes"))
    rows = [[cell.strip() for cell in line.split("|")[2:4]] for line in lines[head + 2 : head + 5]]
    for column, (minutes, ours) in enumerate([(10, "ours"), (40, "augment")]):
        compared = zip((ours, "nnunet", "published"), (row[column] for row in rows), strict=True)
        told = {groups[name, minutes].name: cell for name, cell in compared if cell}
        shared = set.intersection(*(set(groups[name, minutes].patients) for name in told))
        assert len(shared) == 10 and len(told) > 1
        for name, cell in told.items():
            dice = [groups[name, minutes].patients[patient] for patient in shared]
            assert cell == f"{accuracy_table.column(dice, accuracy_table.MEAN).mean():.3f}"


def test_pages_and_the_lab_tell_the_kept_search() -> None:
    rows = json.loads((BENCHMARKS / "results" / "search_parallelism.json").read_text("utf-8"))["rows"]
    alone, shared = rows["experiment parallel"], rows["data parallel"]
    columns = ("wall_s", "training_core_s", "start_and_end_core_s")
    (wall, train, start), (wall_2, train_2, start_2) = (
        [round(row[name]) for name in columns] for row in (alone, shared)
    )
    page = (ROOT / "bundle" / "docs" / "search.md").read_text("utf-8")
    assert f"| {wall} s | {train} | {start} |" in page and f"| {wall_2} s | {train_2} | {start_2} |" in page
    lab = (ROOT / "labs" / "08_search.py").read_text("utf-8")
    for told in (
        f"start_s={start} / 8, train_s={train} / 8", f"start_s={start_2} / 16, train_s={train} / 8",
        f"efficiency={train} / {train_2}", f'"{wall} s"]', f'"{wall_2} s"]', f"{wall_2} / {wall}",
    ):  # fmt: skip
        assert told in lab


@pytest.mark.parametrize("file", CLAIMS, ids=lambda file: file.stem)
def test_every_claim_says_how_it_is_measured(file: Path) -> None:
    done = run_forked(str(file), ["--help"], ROOT, {})
    assert done.returncode == 0, done.stderr
    assert f"python benchmarks/{file.name}" in file.read_text("utf-8") and "--json" in done.stdout
