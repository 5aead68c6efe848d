"""What changes of our recipe bring, as one table: each change against the recipe as it is, on the same patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from accuracy_device import CPU
from accuracy_sides import OURS
from accuracy_statistics import COLUMNS, MEAN, PRESENT, column, markdown, span
from accuracy_table import SHARES, Group, difference, empty_note

# Share of the minutes: whether a recipe is quicker to begin with.
EARLY = 1 / 8


def changes_text(groups: Sequence[Group], unit: str = CPU.unit) -> str:
    """A table of each budget in Markdown.

    Args:
        groups: to be shown, the recipe as it is among them.
        unit: which minutes they are.
    """
    parts = []
    for minutes, dealt in sorted({group.budget for group in groups}):
        budget = [group for group in groups if group.budget == (minutes, dealt)]
        title = f"Dice after {minutes:g} {unit} of training, {dealt} folds, and what it is more than that of {OURS}:"
        parts.append("\n".join([title, "", *changes_table(budget), "", *empty_note(budget)]))
    return "\n\n".join(parts)


def changes_table(groups: Sequence[Group]) -> list[str]:
    """A line a group: patients, steps, Dice early and at the end, and its paired differences from ours."""
    own = next((group for group in groups if group.name == OURS), None)
    rows = []
    for group in groups:
        early = group.curve(group.folds)[SHARES.index(EARLY)]
        values = [f"{column(group.patients.values(), name).mean():.3f}" for name in COLUMNS]
        found = difference(group, own) if own not in (None, group) else {}
        gains = [span(found[name], sign="+") if found else "" for name in (MEAN, PRESENT)]
        rows.append(
            [group.name, str(len(group.patients)), f"{np.mean(group.steps):.0f}", f"{early:.3f}", *values, *gains]
        )
    head = [
        "",
        "patients",
        "steps a fold",
        f"mean, plain inference, after {EARLY:g} of the minutes",
        *COLUMNS,
        f"{MEAN}, more than {OURS}",
        f"{PRESENT}, more than {OURS}",
    ]
    return markdown(head, rows)
