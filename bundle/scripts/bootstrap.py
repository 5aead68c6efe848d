"""How far a mean over cases can be trusted: percentile bootstrap intervals, and those of paired differences.

    python -m scripts.bootstrap A/cases.json B/cases.json

Cases are drawn with replacement as often as there are cases, and the mean is taken of each such sample; the interval
holds the middle 95 % of the means (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13). It tells
how the mean would vary with other cases of the same kind, not with another training, and is too narrow for a few cases.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.errors import InputError, one_sentence
from scripts.naming import listed
from scripts.score_rows import read_rows
from scripts.scores import SCORES

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0
MEAN = "mean"
# Weights of that many resamples are held at a time: 10 MB for 1251 cases, the size of BraTS 2021.
_CHUNK = 1000


@dataclass(frozen=True)
class Difference:
    """Mean difference of paired values, first less second, and the bounds of its interval."""

    mean: float
    low: float
    high: float


def interval(
    values: ArrayLike, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = SEED
) -> NDArray[np.float64]:
    """Bounds of the bootstrap interval of the mean over cases.

    Args:
        values: (N,), or (N, M) for M quantities of the same N cases, which are resampled together.
        resamples: number of bootstrap samples.
        level: share of their means that the interval holds.
        seed: the same seed draws the same cases, whatever the values are.

    Returns:
        Lower and upper bound, (2,) or (2, M).

    Raises:
        ValueError: fewer than two cases, whose mean nothing can be said about.
    """
    table = np.asarray(values, dtype=np.float64)
    if len(table) < 2:
        raise ValueError(f"{len(table)} case(s) given, but an interval needs two at least.")
    means = np.concatenate([weights @ table for weights in _weights(len(table), resamples, seed)])
    tail = 100 * (1 - level) / 2
    return np.percentile(means, [tail, 100 - tail], axis=0)


def paired_difference(
    first: ArrayLike, second: ArrayLike, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = SEED
) -> Difference:
    """Mean of ``first - second`` over cases and its interval: each case is drawn with both of its values.

    Args:
        first: a value a case, (N,).
        second: the same cases in the same order, (N,).
        resamples: see :func:`interval`.
        level: see :func:`interval`.
        seed: see :func:`interval`.
    """
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    low, high = interval(differences, resamples, level, seed)
    return Difference(float(differences.mean()), float(low), float(high))


def compare_tables(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], measure: str = "dice"
) -> dict[str, Difference]:
    """Two evaluations of the same cases, paired by case: region, and ``mean`` of regions, to their difference.

    Args:
        first: rows of one cases.json.
        second: rows of the other.
        measure: one of ``scripts.scores.SCORES``.

    Raises:
        InputError: they are not of the same cases or regions, of one case only, or one lacks the measure.
    """
    tables = [{row["case"]: row.get(measure) for row in rows} for rows in (first, second)]
    if alone := sorted(set(tables[0]) ^ set(tables[1])):
        raise InputError(
            f"only one of the two evaluations has {listed(alone)}; evaluate both on the same cases to compare them."
        )
    if len(tables[0]) < 2:
        raise InputError(
            f"both evaluations are of {len(tables[0])} case, but an interval needs two at least; evaluate both on more."
        )
    regions = {tuple(values or ()) for table in tables for values in table.values()}
    if len(regions) != 1 or not (names := regions.pop()):
        raise InputError(
            f"the two evaluations do not both have {measure} of the same regions in every case; evaluate both anew."
        )
    cases = list(tables[0])
    values = [np.array([[table[case][name] for name in names] for case in cases]) for table in tables]
    columns = [np.column_stack([table, table.mean(axis=1)]) for table in values]
    return {
        name: paired_difference(columns[0][:, index], columns[1][:, index]) for index, name in enumerate((*names, MEAN))
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the paired differences of two evaluations."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bootstrap", description="Compare two evaluations of the same cases, paired by case."
    )
    parser.add_argument("first", type=Path, help="cases.json of one evaluation")
    parser.add_argument("second", type=Path, help="cases.json of the other")
    parser.add_argument("--measure", choices=SCORES, default="dice", help="what is compared (%(default)s)")
    options = parser.parse_args(argv)
    return one_sentence(lambda: _compare(options.first, options.second, options.measure))


def _compare(first: Path, second: Path, measure: str) -> int:
    tables = [read_rows(file, (measure,)) for file in (first, second)]
    found = compare_tables(*tables, measure)
    print(f"{measure} of {first} less that of {second}, {len(tables[0])} cases: mean and 95 % interval")
    for name, difference in found.items():
        print(f"{name:>6} {difference.mean:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})")
    return 0


def _weights(cases: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each case is drawn in each resample, as shares, in arrays (resamples, cases) of at most a chunk."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        drawn = rng.multinomial(cases, np.full(cases, 1 / cases), size=min(_CHUNK, resamples - start))
        yield drawn / cases


if __name__ == "__main__":
    sys.exit(main())
