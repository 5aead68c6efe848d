"""Bootstrap intervals: against scipy's, in their coverage, and paired by case."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scripts.bootstrap import compare_tables, interval, main, paired_difference
from scripts.errors import InputError


def test_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).beta(8, 2, 40)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=2).confidence_interval
    assert interval(values) == pytest.approx([theirs.low, theirs.high], abs=2e-3)


def test_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    bounds = interval(rng.normal(5, 2, (60, 400)), resamples=1000)
    assert np.mean((bounds[0] < 5) & (bounds[1] > 5)) == pytest.approx(0.95, abs=0.035)


def test_the_seed_and_the_number_of_resamples_decide() -> None:
    values = np.random.default_rng(4).normal(size=(30, 2))
    assert np.array_equal(interval(values), interval(values))
    assert not np.array_equal(interval(values), interval(values, seed=1))
    # Columns are of the same cases: alone they are drawn alike.
    assert interval(values[:, 1]) == pytest.approx(interval(values)[:, 1])
    # One more than fits into memory at a time.
    assert interval(values, resamples=1001).shape == (2, 2)


def test_extremes() -> None:
    assert interval([0.5, 0.5, 0.5]).tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="needs two"):
        interval([0.5])


def test_pairing_removes_what_cases_have_in_common() -> None:
    rng = np.random.default_rng(5)
    cases = rng.normal(0.7, 0.2, 50)
    second = cases + rng.normal(0, 0.01, 50)
    found = paired_difference(second + 0.02, second)
    assert (found.mean, found.low, found.high) == pytest.approx((0.02, 0.02, 0.02))
    apart = np.diff(interval(second))
    paired = paired_difference(cases, second)
    assert paired.high - paired.low < apart / 5


def rows(**dice: tuple[float, float]) -> list[dict]:
    return [{"case": case, "dice": dict(zip(("TC", "WT"), both, strict=True))} for case, both in dice.items()]


def test_two_tables_are_paired_by_case() -> None:
    first = rows(a=(0.5, 0.9), b=(0.7, 0.8), c=(0.1, 0.3))
    second = rows(c=(0.0, 0.3), b=(0.7, 0.6), a=(0.5, 0.9))
    found = compare_tables(first, second)
    assert list(found) == ["TC", "WT", "mean"]
    assert found["TC"].mean == pytest.approx(0.1 / 3)
    assert found["WT"].mean == pytest.approx(0.2 / 3)
    assert found["mean"].mean == pytest.approx(0.3 / 6)
    assert found["mean"].low <= found["mean"].mean <= found["mean"].high


def test_tables_of_other_cases_or_measures_are_refused() -> None:
    with pytest.raises(InputError, match="only one of the two evaluations has c"):
        compare_tables(rows(a=(1, 1), b=(1, 1)), rows(a=(1, 1), b=(1, 1), c=(1, 1)))
    with pytest.raises(InputError, match="do not both have lesion_dice"):
        compare_tables(rows(a=(1, 1), b=(1, 1)), rows(a=(1, 1), b=(1, 1)), "lesion_dice")
    of_one_region = [{"case": case, "dice": {"WT": 1.0}} for case in "ab"]
    with pytest.raises(InputError, match="same regions"):
        compare_tables(rows(a=(1, 1), b=(1, 1)), of_one_region)


def test_command_compares_two_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / name / "cases.json" for name in "AB"]
    for file, tc in zip(files, (0.8, 0.5), strict=True):
        file.parent.mkdir()
        file.write_text(json.dumps(rows(a=(tc, 0.9), b=(tc, 0.7))), encoding="utf-8")
    assert main(list(map(str, files))) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert f"dice of {files[0]} less that of {files[1]}, 2 cases" in head
    assert [line.split() for line in lines] == [
        ["TC", "+0.3000", "(+0.3000", "to", "+0.3000)"],
        ["WT", "+0.0000", "(+0.0000", "to", "+0.0000)"],
        ["mean", "+0.1500", "(+0.1500", "to", "+0.1500)"],
    ]
    assert main([*map(str, files), "--measure", "hd95_mm"]) == 1
    assert "do not both have hd95_mm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (rows(a=(1, 1)), "are of 1 case, but an interval needs two"),
        ({}, "is no table of cases"),
        ([{"case": "a", "dice": 0.5}], "dice of case a is 0.5, but a number for each region is wanted; evaluate anew"),
        (rows(a=(1, 1), b=(None, 1)), "dice of case b is null in TC, but a finite number is wanted; evaluate anew"),
        (rows(a=(1, "x")), 'dice of case a is "x" in WT, but a finite number is wanted'),
        (rows(a=(1, True)), "dice of case a is true in WT, but a finite number is wanted"),
        (rows(a=(1, float("nan"))), "dice of case a is NaN in WT, but a finite number is wanted"),
        (rows(a=(1, -float("inf"))), "dice of case a is -Infinity in WT, but a finite number is wanted"),
        (rows(a=(1, 10**400)), "but a finite number is wanted"),
        ([{"case": ["a"], "dice": {"TC": 1}}], 'has ["a"] for a case, but text is wanted'),
        ([{"case": 1, "dice": {"TC": 1}}], "has 1 for a case, but text is wanted"),
        (2 * rows(a=(1, 1), b=(1, 1)), "has two rows of case a, but one is wanted"),
        (2 * [{"case": "a"}], "has two rows of case a, but one is wanted"),
        ([{"case": "a", "dice": None}, {"case": "b", "dice": {}}], "do not both have dice of the same regions"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    content: object, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    assert main([str(file), str(file)]) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert str(file) in error or "both" in error
