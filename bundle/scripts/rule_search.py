"""The search for rules of postprocessing: one value at a time, and only what clearly raises the mean Dice is taken.

Greedy, as nnU-Net chooses its postprocessing (Isensee et al. 2021, 10.1038/s41592-020-01008-z: only what improves the
cross-validation is applied). A grid of everything at once would fit the few cases there are, and so does whatever
raises their mean by a hair: a rule is taken if its gain is more than the gain's standard error over cases (the rule of
one standard error, Breiman et al. 1984, Classification and Regression Trees). benchmarks/tuned_rules.py measures what
is left of the gain in patients that chose nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scripts.metrics import region_dice
from scripts.postprocessing import OUTSIDE_IN, region_masks
from scripts.rules import Rules

# Standard errors that a gain must be more than.
LEAST_ERRORS = 1.0

Candidates = Callable[[Rules], Iterator[tuple[Any, Rules]]]

# Candidates, the mildest first: of equals the first is taken.
THRESHOLDS = (0.45, 0.55, 0.4, 0.6, 0.35, 0.65, 0.3, 0.7)
COMPONENT_MM3 = (8.0, 16.0, 32.0, 64.0, 125.0, 250.0, 500.0, 1000.0)
ENHANCING_MM3 = (16.0, 32.0, 73.0, 125.0, 250.0, 500.0, 1000.0)
# Exempting sure enhancing tumour is the milder rule (Futrega et al. 2021, arXiv 2110.03352).
SURE = (0.9, None)


@dataclass(frozen=True)
class TunedCase:
    """A validation case, cut to the box of all that any rule may call tumour and of the truth.

    Attributes:
        name: of the case.
        probabilities: float32 (R, h, w, d), on the native grid.
        truth: uint8 masks of the same shape.
        voxel_mm3: volume of a voxel.
    """

    name: str
    probabilities: torch.Tensor
    truth: torch.Tensor
    voxel_mm3: float


@dataclass(frozen=True)
class Trial:
    """One rule that was tried.

    Attributes:
        rule: its name, such as ``thresholds.WT``.
        values: its candidates.
        mean_dice: that of each, with the rules taken before.
        gain: of the best of them on those rules.
        standard_error: of that gain; None of a single case.
        taken: the best, or None where its gain is too little.
    """

    rule: str
    values: list[Any]
    mean_dice: list[float]
    gain: float
    standard_error: float | None
    taken: Any


def dice_table(cases: Sequence[TunedCase], regions: Sequence[str], rules: Rules) -> np.ndarray:
    """Dice under the BraTS rules for empty regions, float64 (cases, regions)."""
    rows = []
    for case in cases:
        masks = region_masks(case.probabilities, regions, rules, case.voxel_mm3)
        rows.append(region_dice(masks[None], case.truth[None])[0].double().numpy())
    return np.stack(rows)


class Search:
    """A search over some cases, which remembers the scores of all rules that it has tried.

    Args:
        cases: of validation, at least one.
        regions: channel order.
    """

    def __init__(self, cases: Sequence[TunedCase], regions: Sequence[str]) -> None:
        self.cases = cases
        self.regions = tuple(regions)
        self._tables: dict[str, np.ndarray] = {}

    def table(self, rules: Rules) -> np.ndarray:
        """What :func:`dice_table` tells of all cases, (cases, regions)."""
        # Rules hold tables, which cannot be hashed.
        key = repr(rules)
        if key not in self._tables:
            self._tables[key] = dice_table(self.cases, self.regions, rules)
        return self._tables[key]

    def best(self, without: int | None = None, errors: float = LEAST_ERRORS) -> tuple[Rules, list[Trial]]:
        """The rules that clearly raise the mean Dice over cases and regions, and all that was tried.

        Args:
            without: index of a case that is not looked at; None looks at all.
            errors: standard errors that the gain of a rule must be more than; with 0 any gain is taken.

        Returns:
            The rules, which for a single case are none, and every trial.
        """
        kept = np.arange(len(self.cases)) != (-1 if without is None else without)
        rules, trials = Rules(), []
        for name, candidates in _stages(self.regions):
            values, found = zip(*candidates(rules), strict=True)
            means = [float(self.table(candidate)[kept].mean()) for candidate in found]
            top = int(np.argmax(means))
            gain, error = mean_and_error((self.table(found[top]) - self.table(rules))[kept].mean(axis=1))
            least = math.inf if error is None else errors * error
            improves = gain > max(least, 0.0) and not math.isclose(gain, least)
            if improves:
                rules = found[top]
            trials.append(Trial(name, list(values), means, gain, error, values[top] if improves else None))
        return rules, trials

    def left_out(self) -> np.ndarray | None:
        """Dice of each case by the rules that the others alone choose, (cases, regions); None for a single case.

        Leave-one-out cross-validation (Stone 1974, 10.1111/j.2517-6161.1974.tb00994.x): what the search gains on the
        cases that it chose by is too high an estimate of what it gains on new ones.
        """
        if len(self.cases) < 2:
            return None
        return np.stack([self.table(self.best(without=index)[0])[index] for index in range(len(self.cases))])


def mean_and_error(values: np.ndarray) -> tuple[float, float | None]:
    """Mean of values (n,) and its standard error, which a single value has not."""
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return float(values.mean()), error


def _stages(regions: Sequence[str]) -> list[tuple[str, Candidates]]:
    """Each rule's name and its candidates, thresholds first, as volumes depend on them; the outer region first."""
    present = [region for region in OUTSIDE_IN if region in regions]
    stages = [(f"thresholds.{region}", _entries("thresholds", region, THRESHOLDS)) for region in present]
    if "ET" in present:
        stages.append(("min_enhancing_mm3, sure_enhancing", _enhancing))
    return stages + [
        (f"min_component_mm3.{region}", _entries("min_component_mm3", region, COMPONENT_MM3)) for region in present
    ]


def _entries(table: str, region: str, values: Sequence[float]) -> Candidates:
    """Candidates for one region's entry of a table of rules."""

    def candidates(rules: Rules) -> Iterator[tuple[Any, Rules]]:
        for value in values:
            yield value, dataclasses.replace(rules, **{table: {**getattr(rules, table), region: value}})

    return candidates


def _enhancing(rules: Rules) -> Iterator[tuple[Any, Rules]]:
    """Candidates for small enhancing tumour to core."""
    for total, sure in itertools.product(ENHANCING_MM3, SURE):
        yield [total, sure], dataclasses.replace(rules, min_enhancing_mm3=total, sure_enhancing=sure)
