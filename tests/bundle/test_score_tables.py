"""The tables of an evaluation."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts.bootstrap import interval
from scripts.score_tables import flatten, summarise, table, write_tables
from scripts.scores import COUNTS, SCORES

REGIONS = ("TC", "WT", "ET")


def row(case: str, tc: float) -> dict[str, Any]:
    return {"case": case} | {measure: {"TC": tc, "WT": 1.0, "ET": 0.0} for measure in (*SCORES, *COUNTS)}


def test_summary_is_the_mean_of_cases_then_regions() -> None:
    summary = summarise([row("a", 0.5), row("b", 1.0)], REGIONS)
    assert summary["n_cases"] == 2
    for measure in SCORES:
        assert summary[measure] == {"TC": 0.75, "WT": 1.0, "ET": 0.0, "mean": pytest.approx(1.75 / 3)}
    assert "Dice                               0.7500" in table(summary)


def test_summary_has_medians_intervals_and_totals() -> None:
    values = [0.1, 0.9, 0.8, 0.7]
    summary = summarise([row(str(index), value) for index, value in enumerate(values)], REGIONS)
    assert summary["median"]["hd95_mm"]["TC"] == 0.75
    assert summary["median"]["hd95_mm"]["mean"] == pytest.approx(np.median([(value + 1) / 3 for value in values]))
    assert summary["interval"]["dice"]["TC"] == pytest.approx(interval(values).tolist())
    assert summary["interval"]["dice"]["WT"] == [1.0, 1.0]
    assert summary["bootstrap"] == {"level": 0.95, "resamples": 10_000, "seed": 0}
    assert summary["totals"]["lesions_missed"] == {"TC": 2, "WT": 4, "ET": 0}
    assert " to " in table(summary)


def test_one_case_has_no_interval() -> None:
    summary = summarise([row("a", 0.5)], REGIONS)
    assert "interval" not in summary and "bootstrap" not in summary
    assert table(summary).startswith("1 case,") and " to " not in table(summary)


def test_csv_row_has_a_column_for_each_measure_and_region() -> None:
    flat = flatten(row("a", 0.5))
    assert list(flat)[:4] == ["case", "dice_TC", "dice_WT", "dice_ET"]
    assert flat["hd95_mm_TC"] == 0.5
    assert len(flat) == 1 + len(REGIONS) * len((*SCORES, *COUNTS))


def test_files_hold_the_same_and_are_strict_json(tmp_path: Path) -> None:
    rows = [row("b", 1.0), row("a", 1 / 3)]
    summary = write_tables(tmp_path / "new", rows, REGIONS, {"label_scheme": "msd"})

    def no_constants(name: str) -> None:
        raise AssertionError(name)

    kept, cases = (
        json.loads((tmp_path / "new" / name).read_text("utf-8"), parse_constant=no_constants)
        for name in ("summary.json", "cases.json")
    )
    assert kept == summary and kept["label_scheme"] == "msd"
    assert [case["case"] for case in cases] == ["a", "b"]
    lines = list(csv.DictReader((tmp_path / "new" / "cases.csv").open(encoding="utf-8")))
    assert [float(line["lesion_dice_TC"]) for line in lines] == [1 / 3, 1.0]
