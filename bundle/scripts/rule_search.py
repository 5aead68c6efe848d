"""The search for rules of postprocessing: one value at a time, and only what raises the mean Dice beyond its error.

Greedy, as nnU-Net chooses its postprocessing (Isensee et al. 2021, 10.1038/s41592-020-01008-z: only what improves the
cross-validation is applied). A grid of everything at once would fit the few patients there are, and so does whatever
raises their mean by a hair: a value is eligible if its gain is more than the gain's standard error over patients (after
the rule of one standard error of Breiman et al. 1984, Classification and Regression Trees), and the best of those is
taken. That is a mild guard, not a test: of eight values tried, one often passes by chance. benchmarks/tuned_rules.py
measures what is left of the gain in patients that chose nothing.
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
# Of a cross-validation of the search.
LEAST_PATIENTS = 3

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
        patient: whose scan it is; the cases of a patient count as one.
    """

    name: str
    probabilities: torch.Tensor
    truth: torch.Tensor
    voxel_mm3: float
    patient: str


@dataclass(frozen=True)
class Trial:
    """One rule that was tried.

    Attributes:
        rule: its name, such as ``thresholds.WT``.
        values: its candidates.
        mean_dice: that of each over patients, with the rules taken before.
        gain: on those rules, of the one that is taken, else of the best.
        standard_error: of that gain over patients; None of a single one.
        taken: the best of those whose gain is enough, or None.
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

    @property
    def patients(self) -> list[str]:
        """Whose cases they are, none twice."""
        return list(dict.fromkeys(case.patient for case in self.cases))

    def table(self, rules: Rules) -> np.ndarray:
        """What :func:`dice_table` tells of all cases, (cases, regions)."""
        # Rules hold tables, which cannot be hashed.
        key = repr(rules)
        if key not in self._tables:
            self._tables[key] = dice_table(self.cases, self.regions, rules)
        return self._tables[key]

    def means(self, rules: Rules, without: str | None = None) -> np.ndarray:
        """Mean Dice over regions of each patient but ``without``, (patients,)."""
        of_cases = self.table(rules).mean(axis=1)
        owners = np.array([case.patient for case in self.cases])
        return np.array([of_cases[owners == patient].mean() for patient in self.patients if patient != without])

    def best(self, without: str | None = None, errors: float = LEAST_ERRORS) -> tuple[Rules, list[Trial]]:
        """The rules that raise the mean Dice over patients and regions, and all that was tried.

        Args:
            without: a patient who is not looked at; None looks at all.
            errors: standard errors that the gain of a rule must be more than; with 0 any gain is taken.

        Returns:
            The rules, which for a single patient are none unless ``errors`` is 0, and every trial.
        """
        rules, trials = Rules(), []
        for name, candidates in _stages(self.regions):
            values, found = zip(*candidates(rules), strict=True)
            before, after = self.means(rules, without), [self.means(one, without) for one in found]
            gains = [mean_and_error(means - before) for means in after]
            enough = [index for index, gain in enumerate(gains) if is_enough(*gain, errors)]
            top = max(enough or range(len(gains)), key=lambda index: gains[index][0])
            taken = values[top] if enough else None
            if enough:
                rules = found[top]
            trials.append(Trial(name, list(values), [float(means.mean()) for means in after], *gains[top], taken))
        return rules, trials

    def left_out(self) -> np.ndarray | None:
        """Dice of each case by the rules that the other patients choose, (cases, regions); None of fewer than three.

        Leave-one-out cross-validation (Stone 1974, 10.1111/j.2517-6161.1974.tb00994.x): what the search gains on the
        patients that it chose by is too high an estimate of what it gains on new ones. Of two, the one that is left
        has no standard error to choose by.
        """
        if len(self.patients) < LEAST_PATIENTS:
            return None
        rules = {patient: self.best(without=patient)[0] for patient in self.patients}
        return np.stack([self.table(rules[case.patient])[index] for index, case in enumerate(self.cases)])


def is_enough(gain: float, error: float | None, errors: float) -> bool:
    """Whether a gain is more than so many of its standard errors; one without an error is so only if none is asked."""
    if error is None:
        return errors == 0 and gain > 0
    return gain > errors * error and not math.isclose(gain, errors * error)


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
