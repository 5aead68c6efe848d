"""Figures of lab 03, in the colours of Okabe and Ito."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scripts.figures import BLUE, GREEN, ORANGE, SKY_BLUE, VERMILLION

from .figures import GREY
from .reading import Reading
from .waiting import share_at

WAY_COLOURS = {"dataset": VERMILLION, "persistent": ORANGE, "cache": BLUE, "smart_cache": SKY_BLUE, "store": GREEN}
_STYLES = ("-", "--", "-.", ":", (0, (3, 1, 1, 1)))


def bars(values: Mapping[str, float], title: str, unit: str) -> Figure:
    """Horizontal bars, the largest marked."""
    figure, axes = plt.subplots(figsize=(7, 0.42 * len(values) + 1.1))
    largest = max(values, key=values.__getitem__)
    drawn = axes.barh(list(values), list(values.values()), color=[BLUE if n == largest else GREY for n in values])
    axes.bar_label(drawn, [f"{value:.3g}" for value in values.values()], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(title=title, xlabel=unit)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def cost_of_epochs(readings: Sequence[Reading]) -> Figure:
    """CPU time a sample in the first and in later epochs, logarithmic, and what is kept."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8))
    names, places, width = [reading.way for reading in readings], np.arange(len(readings)), 0.4
    for shift, label, colour, values in (
        (-width / 2, "first epoch", GREY, [reading.first_ms for reading in readings]),
        (width / 2, "later epochs", BLUE, [reading.later_ms for reading in readings]),
    ):
        drawn = left.bar(places + shift, values, width, label=label, color=colour)
        left.bar_label(drawn, [f"{value:.0f}" if value >= 10 else f"{value:.2g}" for value in values], fontsize=8)
    left.set(yscale="log", title="Later epochs are where the ways differ", ylabel="CPU ms a sample")
    left.margins(y=0.25)
    for shift, label, colour, values in (
        (-width / 2, "memory", ORANGE, [reading.memory_mb for reading in readings]),
        (width / 2, "disk", GREEN, [reading.disk_mb for reading in readings]),
    ):
        drawn = right.bar(places + shift, values, width, label=label, color=colour)
        right.bar_label(drawn, [f"{value:.2g}" if value else "0" for value in values], fontsize=8)
    right.set(title="What each keeps, and where", ylabel="MB a case")
    right.margins(y=0.25)
    for axes in (left, right):
        axes.set_xticks(places, names)
        axes.legend(frameon=False, loc="upper right", ncols=2)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def waiting_curves(readings: Sequence[Reading], step_s: float) -> Figure:
    """Share of waiting over the seconds of a step, a curve a way of reading; a line at the step measured here."""
    figure, axes = plt.subplots(figsize=(7.5, 3.8))
    steps = np.logspace(-4, 1, 200)
    for reading, style in zip(readings, _STYLES, strict=False):
        shares = [100 * share_at(reading.later_ms / 1000, step) for step in steps]
        axes.plot(1000 * steps, shares, color=WAY_COLOURS[reading.way], linestyle=style, label=reading.way)
    axes.axvline(1000 * step_s, color=GREY, linewidth=1)
    axes.annotate("this processor", (1000 * step_s, 97), (4, 0), textcoords="offset points", fontsize=8, color=GREY)
    axes.set(xscale="log", xlabel="a step of the network, ms (a GPU is to the left)", ylabel="% of the time waiting")
    axes.set_title("The faster the network, the more the way of reading decides")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def cases_seen(without: Sequence[int], moved_on: Sequence[int], total: int) -> Figure:
    """Different cases met after each epoch, with and without moving the smart cache on."""
    figure, axes = plt.subplots(figsize=(7, 3.4))
    epochs = range(1, len(without) + 1)
    axes.axhline(total, color=GREY, linewidth=1, linestyle=":")
    axes.plot(epochs, moved_on, "o-", color=BLUE, label="start, update_cache, shutdown")
    axes.plot(epochs, without, "s--", color=VERMILLION, label="none of them")
    axes.set(xlabel="epoch", ylabel="different cases met", ylim=(0, total * 1.1), xticks=list(epochs))
    axes.set_title(f"Without update_cache, {total - without[-1]} of {total} cases are never trained on")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
