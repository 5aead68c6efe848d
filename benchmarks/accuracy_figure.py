"""The figure of benchmarks/accuracy.py: Dice against minutes, a panel a budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from accuracy_device import CPU
from accuracy_table import Group
from scripts.files import write_aside

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  after the choice of backend

PANEL_INCHES = (5.0, 3.6)


def draw(groups: Sequence[Group], file: Path, unit: str = CPU.unit) -> None:
    """Write the curves of mean Dice over patients and regions as PNG.

    Args:
        groups: one or more.
        file: to write.
        unit: which minutes they are.
    """
    budgets = sorted({group.budget for group in groups})
    names = sorted({group.name for group in groups})
    width, height = PANEL_INCHES
    size = (width * len(budgets), height)
    figure, axes = plt.subplots(1, len(budgets), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis, budget in zip(axes[0], budgets, strict=True):
        for group in (group for group in groups if group.budget == budget):
            used, dice = zip(*group.points(group.folds), strict=True)
            colour = f"C{names.index(group.name)}"
            axis.plot(used, dice, marker="o", color=colour, label=label(group))
        axis.set(xlabel=f"{unit} of training", title=f"{budget[0]:g} minutes, folds of {budget[1]}", ylim=(0, 1))
        axis.grid(alpha=0.3)
        # Above the best of curves there is room; below the worst there is none.
        axis.legend(loc="upper left", ncols=2, fontsize="small")
    axes[0][0].set_ylabel("mean Dice over patients and regions")
    with write_aside(file) as aside:
        figure.savefig(aside, dpi=120, format="png", metadata={"Software": None})
    plt.close(figure)


def label(group: Group) -> str:
    """A group's name, with the folds where some are absent: their patients are others than a whole group's."""
    if len(group.folds) == group.dealt:
        return group.name
    return f"{group.name} (fold {', '.join(map(str, sorted(group.folds)))})"
