"""Figures of lab 04, in the colours of Okabe and Ito."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from scripts.figures import BLUE, GREEN, VERMILLION

from .figures import GREY
from .shards import Fleet

T1GD = 2


def timeline(fleets: Sequence[Fleet], cases: int) -> Figure:
    """Who works and who waits, a panel a fleet, a bar a machine."""
    figure, panels = plt.subplots(1, len(fleets), figsize=(5 * len(fleets), 2.8), sharex=True, squeeze=False)
    for axes, fleet in zip(panels[0], fleets, strict=True):
        busy, end = fleet.busy_s(cases), fleet.finished_s(cases)
        names = [f"machine {index}" for index in range(fleet.machines)]
        axes.barh(names, busy, color=BLUE, label="works")
        axes.barh(
            names, [end - one for one in busy], left=busy, color="white", edgecolor=GREY, hatch="//", label="waits"
        )
        waiting = 1 - sum(busy) / (end * fleet.machines)
        axes.set(
            xlabel="seconds", title=f"{fleet.machines} machines, {cases} cases: {waiting:.0%} of the time is waiting"
        )
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][-1].legend(frameon=False, loc="lower right")
    figure.tight_layout()
    return figure


def time_and_dollars(fleets: Sequence[Fleet], cases: int, dollars_per_hour: float) -> Figure:
    """Hours and dollars of a job over the number of machines."""
    figure, left = plt.subplots(figsize=(7.5, 3.8))
    machines = [fleet.machines for fleet in fleets]
    hours = [fleet.finished_s(cases) / 3600 for fleet in fleets]
    dollars = [fleet.billed_hours(cases) * dollars_per_hour for fleet in fleets]
    right = left.twinx()
    (time,) = left.plot(machines, hours, "o-", color=BLUE, label="hours until done (left)")
    (money,) = right.plot(machines, dollars, "s--", color=VERMILLION, label="USD (right)")
    left.set(xscale="log", xlabel="machines", ylabel="hours", ylim=(0, None), xticks=machines)
    left.set_xticklabels(machines)
    left.minorticks_off()
    right.set(ylabel="USD", ylim=(0, None))
    left.set_title(f"{cases:,} cases: more machines save time until starting them takes longer than the work")
    left.legend(handles=[time, money], frameon=False, loc="upper center")
    return figure


def sides(rows: Sequence[tuple[str, int, int]]) -> Figure:
    """Patients of validation, split into those that are also trained on and those that are not; a bar a split."""
    figure, axes = plt.subplots(figsize=(7.5, 0.6 * len(rows) + 1.3))
    names = [name for name, _, _ in rows]
    leaked, clean = [both for _, both, _ in rows], [total - both for _, both, total in rows]
    axes.barh(names, leaked, color=VERMILLION, label="also trained on")
    axes.barh(names, clean, left=leaked, color=GREEN, hatch="//", edgecolor="white", label="never seen before")
    axes.invert_yaxis()
    axes.set(xlabel="patients of validation", title="Split over copies, nobody in validation is new")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def crops(frozen: Sequence[torch.Tensor], fresh: Sequence[torch.Tensor]) -> Figure:
    """Middle slices of the T1gd channel, a column an epoch: crops saved once above, drawn anew below.

    Args:
        frozen: (C, H, W, D) an epoch.
        fresh: as many.
    """
    figure, panels = plt.subplots(2, len(frozen), figsize=(2 * len(frozen), 5.2))
    for row, (name, images) in zip(panels, (("saved once", frozen), ("drawn anew", fresh)), strict=True):
        for epoch, (axes, image) in enumerate(zip(row, images, strict=True), start=1):
            axes.imshow(image[T1GD, :, :, image.shape[3] // 2].T.numpy(), cmap="gray", origin="lower", vmin=-1, vmax=3)
            axes.set(title=f"{name}, epoch {epoch}", xticks=[], yticks=[])
            axes.title.set_fontsize(9)
    figure.suptitle("A saved crop never changes; a drawn one does every epoch")
    figure.tight_layout()
    return figure


def brain_met(frozen: Sequence[float], fresh: Sequence[float]) -> Figure:
    """Share of a case's brain that training has met, over the epochs."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    epochs = range(1, len(fresh) + 1)
    axes.plot(epochs, [100 * share for share in fresh], "o-", color=BLUE, label="crop drawn anew every epoch")
    axes.plot(epochs, [100 * share for share in frozen], "s--", color=VERMILLION, label="crop saved once")
    axes.set(xlabel="epoch", ylabel="% of the brain met", ylim=(0, 105))
    axes.set_title("A frozen crop shows the same part of the brain for ever")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
