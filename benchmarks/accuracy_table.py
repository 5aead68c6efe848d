"""What the kept results of benchmarks/accuracy.py come to: means, intervals, paired differences and curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_clock import SNAPSHOTS
from accuracy_device import CPU
from accuracy_identity import require_alike
from accuracy_scores import EMPTY_REGIONS
from accuracy_sides import OURS, PUBLISHED, recipe_name
from accuracy_statistics import COLUMNS, MEAN, PRESENT, column, interval, markdown, row, span
from scripts.files import read_json
from scripts.labels import REGIONS

SHARES = (*SNAPSHOTS, 1.0)


@dataclass
class Group:
    """All folds of one recipe at one budget.

    Attributes:
        side: whose recipe it is.
        name: of the side, or of the variant.
        minutes: of training in each fold.
        dealt: how many parts the patients were dealt into.
        folds: those there are.
        patients: values of each patient, in the order of ``COLUMNS``; of several cases of a patient the mean.
        empty: of each region, how many of the cases have none of it.
        curves: of each fold, points of minutes used and means over cases, in the order of ``COLUMNS``.
        used: minutes that each fold really used.
        steps: of the optimiser that each fold made.
    """

    side: str
    name: str
    minutes: float
    dealt: int
    folds: list[int] = field(default_factory=list)
    patients: dict[str, np.ndarray] = field(default_factory=dict)
    empty: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REGIONS, 0))
    curves: dict[int, list[tuple[float, np.ndarray]]] = field(default_factory=dict)
    used: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    @property
    def budget(self) -> tuple[float, int]:
        """What groups have in common that may be compared: minutes, and on how many patients they are spent."""
        return self.minutes, self.dealt

    def add(self, result: Mapping[str, Any]) -> None:
        """Add a fold's result."""
        self.folds.append(result["fold"])
        by_patient = defaultdict(list)
        for case, dice in result["dice"].items():
            by_patient[result["patients"][case]].append(row(dice, result[EMPTY_REGIONS][case]))
            for region in result[EMPTY_REGIONS][case]:
                self.empty[region] += 1
        self.patients |= {patient: np.mean(rows, axis=0) for patient, rows in by_patient.items()}
        self.curves[result["fold"]] = [
            (point["minutes"], means([row(dice, result[EMPTY_REGIONS][case]) for case, dice in point["dice"].items()]))
            for point in result["curve"]
        ]
        self.used.append(result["minutes_used"])
        self.steps.append(result["steps_done"])

    def points(self, folds: Iterable[int], name: str = MEAN) -> list[tuple[float, float]]:
        """Minutes and one of ``COLUMNS``, plain inference, over some folds, a point for each of ``SHARES``.

        The minutes are those that the snapshots themselves were taken at, of the fold that took its own last.
        """
        index = COLUMNS.index(name)
        reached = [[at(self.curves[fold], share * self.minutes) for share in SHARES] for fold in folds]
        found = np.array([[(minutes, values[index]) for minutes, values in fold] for fold in reached])
        return list(zip(found[..., 0].max(axis=0).tolist(), found[..., 1].mean(axis=0).tolist(), strict=True))

    def curve(self, folds: Iterable[int], name: str = MEAN) -> list[float]:
        """The values of :meth:`points`."""
        return [value for _, value in self.points(folds, name)]


def means(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """Mean of each of ``COLUMNS`` over the rows that have it."""
    return np.array([column(rows, name).mean() for name in COLUMNS])


def at(curve: Sequence[tuple[float, np.ndarray]], minutes: float) -> tuple[float, np.ndarray]:
    """The first point (minutes, values) at or after ``minutes``, or the last: a long step may pass several shares."""
    return next((point for point in curve if point[0] >= minutes), curve[-1])


def load(folder: Path) -> list[Group]:
    """The groups of a folder of results, by budget, each budget's in the order of their names with ours first.

    Args:
        folder: of results.

    Raises:
        InputError: results are of other cases, or of other states of the same recipe.
    """
    found = {file: read_json(file, "result") for file in sorted(folder.glob("*.json"))}
    require_alike(found)
    groups: dict[tuple[str, str, float, int], Group] = {}
    for result in found.values():
        name = recipe_name(result["side"], result["variant"])
        key = result["side"], name, result["minutes"], result["folds"]
        groups.setdefault(key, Group(*key)).add(result)
    return sorted(groups.values(), key=lambda group: (group.budget, group.name != OURS, group.name))


def difference(one: Group, other: Group) -> dict[str, tuple[float, float, float]]:
    """Mean paired difference ``one`` minus ``other`` over the patients that both tested, a column, with intervals."""
    shared = sorted(one.patients.keys() & other.patients.keys())
    pairs = [one.patients[patient] - other.patients[patient] for patient in shared]
    return {name: interval(column(pairs, name)) for name in COLUMNS} if pairs else {}


def minutes_to_reach(groups: Sequence[Group], goal: Group) -> float | None:
    """Fewest minutes from which on ``groups``, budgets of one recipe, have the final mean Dice of ``goal``, or None.

    Read off the snapshots at their own minutes without interpolation, over the folds that both have, and a Dice that
    falls below the goal's again does not count, so it errs on the late side.
    """
    reached = []
    for group in groups:
        shared = sorted(set(group.folds) & set(goal.folds))
        if shared:
            final = goal.curve(shared)[-1]
            for minutes, dice in reversed(group.points(shared)):
                if dice < final:
                    break
                reached.append(minutes)
    return min(reached, default=None)


def text(groups: Sequence[Group], unit: str = CPU.unit) -> str:
    """The tables in Markdown, a set of them a budget, then the ratios.

    Args:
        groups: to be shown; those of a budget are compared.
        unit: which minutes they are.
    """
    lines = []
    for minutes, dealt in sorted({group.budget for group in groups}):
        budget = [group for group in groups if group.budget == (minutes, dealt)]
        lines += [f"Dice after {minutes:g} {unit} of training, {dealt} folds:", "", *scores_table(budget), ""]
        lines += [*empty_note(budget), ""]
        for own in budget:
            if rivals := rivals_of(own, budget):
                lines += [f"{own.name} less the other, patient by patient:", "", *differences_table(own, rivals), ""]
        for name in (MEAN, PRESENT):
            title = f"Dice, {name}, plain inference, after a share of the minutes or later:"
            lines += [title, "", *curve_table(budget, name), ""]
    return "\n".join([*lines, *ratios(groups)]).rstrip()


def scores_table(groups: Sequence[Group]) -> list[str]:
    """A line a group: patients, folds, minutes used, steps made, and mean with interval of each column."""
    rows = []
    for group in groups:
        cells = [span(interval(column(group.patients.values(), name))) for name in COLUMNS]
        folds = " ".join(map(str, sorted(group.folds)))
        costs = f"{np.mean(group.used):.2f}", f"{np.mean(group.steps):.0f}"
        rows.append([group.name, str(len(group.patients)), folds, *costs, *cells])
    return markdown(["", "patients", "folds", "minutes used", "steps a fold", *COLUMNS], rows)


def empty_note(groups: Sequence[Group]) -> list[str]:
    """How often a region is empty, where Dice is 1 or 0, in the group of most cases."""
    most = max(groups, key=lambda group: len(group.patients))
    counts = [f"{region} in {count} of the cases" for region, count in most.empty.items() if count]
    return [
        f"Regions of which the truth of {most.name} ({len(most.patients)} patients) has no voxel: "
        f"{', '.join(counts) or 'none'}."
    ]


def rivals_of(own: Group, groups: Sequence[Group]) -> list[Group]:
    """What a recipe of ours is compared with: other systems that share a patient; ours itself with its variants too."""
    return [
        group
        for group in groups
        if own.side == OURS
        and group is not own
        and (group.side != OURS or own.name == OURS)
        and own.patients.keys() & group.patients.keys()
    ]


def differences_table(own: Group, rivals: Sequence[Group]) -> list[str]:
    """A line each rival: what ``own`` has more of, in each column."""
    rows = []
    for rival in rivals:
        found, shared = difference(own, rival), len(own.patients.keys() & rival.patients.keys())
        rows.append([rival.name, str(shared), *(span(found[name], sign="+") for name in COLUMNS)])
    return markdown([f"{own.name} less", "patients", *COLUMNS], rows)


def curve_table(groups: Sequence[Group], name: str) -> list[str]:
    """A line a group: one of ``COLUMNS`` at each share of the budget."""
    rows = [[group.name, *(f"{dice:.3f}" for dice in group.curve(group.folds, name))] for group in groups]
    return markdown(["", *(f"{share:.4g}" for share in SHARES)], rows)


def ratios(groups: Sequence[Group]) -> list[str]:
    """``RATIO`` lines: how many times sooner ours has what the published recipe ends with."""
    lines = []
    for goal in (group for group in groups if group.name == PUBLISHED):
        reached = minutes_to_reach([group for group in groups if group.name == OURS], goal)
        what = f"{PUBLISHED}/{OURS} minutes to the Dice that {PUBLISHED} has after {goal.minutes:g}min"
        lines.append(f"RATIO {what} {goal.minutes / reached:.2f}" if reached else f"RATIO {what} not reached")
    return lines
