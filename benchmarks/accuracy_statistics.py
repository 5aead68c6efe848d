"""What the tables of benchmarks/accuracy.py and of the judges of its weights are made of: columns, means, intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import timing  # noqa: F401  puts bundle/ on the path
from scripts import bootstrap
from scripts.labels import REGIONS

MEAN, PRESENT = "mean", "mean of present"
COLUMNS = (*REGIONS, MEAN, PRESENT)
# Percentile intervals of fewer values hold the truth too rarely to be printed.
LEAST_VALUES = 5
# The coverage is simulated in tests/benchmarks/test_accuracy.py.
INTERVALS = (
    "In brackets 95 % percentile bootstrap intervals over patients, none for fewer than five. Of so few they are too "
    "narrow: of normal values, those of 6 hold the true mean in 86 % of samples, those of 10 in 91 %. One training a "
    "fold, of one seed: how far trainings of other seeds lie apart is in no interval. What judges kept weights takes "
    "each case for a patient."
)
EMPTY = (
    f'By BraTS\'s rule a region that the truth has not is worth 1 where nothing is found, else 0; "{PRESENT}" leaves '
    "such regions out."
)
NOTES = f"{EMPTY}\n\n{INTERVALS}"


def row(dice: Mapping[str, float], empty: Sequence[str] = ()) -> list[float]:
    """A case's values in the order of ``COLUMNS``.

    Args:
        dice: of every region.
        empty: regions of which the truth has no voxel.

    Returns:
        Dice of each region, their mean, and the mean of those that are not empty (NaN if all are).
    """
    values = [dice[region] for region in REGIONS]
    present = [dice[region] for region in REGIONS if region not in empty]
    return [*values, float(np.mean(values)), float(np.mean(present)) if present else math.nan]


def column(rows: Iterable[Sequence[float]], name: str) -> np.ndarray:
    """One of ``COLUMNS`` of many rows, (n,), without the NaN."""
    values = np.array([values[COLUMNS.index(name)] for values in rows], dtype=np.float64)
    return values[~np.isnan(values)]


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of values (n,) with its 95 % percentile bootstrap interval; NaN for what there are too few values of."""
    if not len(values):
        return math.nan, math.nan, math.nan
    if len(values) < LEAST_VALUES:
        return float(values.mean()), math.nan, math.nan
    low, high = bootstrap.interval(values)
    return float(values.mean()), float(low), float(high)


def span(values: tuple[float, float, float], sign: str = "") -> str:
    """``0.812 (0.790 to 0.834)``, or what of it there is."""
    middle, low, high = (f"{value:{sign}.3f}" for value in values)
    return middle if math.isnan(values[1]) else f"{middle} ({low} to {high})"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    return [f"| {' | '.join(cells)} |".replace("|  ", "| ") for cells in (head, ["---"] * len(head), *rows)]
