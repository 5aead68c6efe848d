"""The figure of benchmarks/accuracy.py: Dice against CPU minutes, a panel a budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from accuracy_table import Group
from scripts.files import write_aside

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  after the choice of backend

PANEL_INCHES = (5.0, 3.6)


def draw(groups: Sequence[Group], file: Path) -> None:
    """Write the curves of mean Dice over patients and regions as PNG.

    Args:
        groups: one or more.
        file: to write.
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
            axis.plot(used, dice, marker="o", color=colour, label=group.name)
        axis.set(
            xlabel="CPU minutes of training", title=f"{budget[0]:g} minutes a fold, {budget[1]} folds", ylim=(0, 1)
        )
        axis.grid(alpha=0.3)
        axis.legend(loc="lower right")
    axes[0][0].set_ylabel("mean Dice over patients and regions")
    with write_aside(file) as aside:
        figure.savefig(aside, dpi=120, format="png", metadata={"Software": None})
    plt.close(figure)
