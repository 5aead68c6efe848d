"""Lab 08's figures: how far ASHA lets trials go, and how trials learnt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.image import imread
from scripts.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION

# A line style goes with each.
COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY_BLUE, BLACK)
STYLES = ("o-", "s--", "^-.", "D:")


def asha_figure(ends: Mapping[str, Sequence[int]], looks: Sequence[int]) -> Figure:
    """The epoch at which each trial ended, in the order in which they came.

    Args:
        ends: name of an order to the ends.
        looks: epochs after which ASHA compares.
    """
    figure, axes = plt.subplots(1, len(ends), figsize=(3.4 * len(ends), 3), sharey=True, layout="constrained")
    for axis, (name, stops) in zip(axes, ends.items(), strict=True):
        axis.bar(range(1, len(stops) + 1), stops, color=COLOURS[0])
        for look in looks:
            axis.axhline(look, color=COLOURS[1], linewidth=1)
        axis.set(xlabel="trial, in order of arrival")
        axis.set_title(f"{name}: {sum(stops)} epochs", fontsize=10)
    axes[0].set_ylabel("epochs done")
    figure.suptitle("The same 12 trials: ASHA saves most when good ones come first")
    return figure


def learning(folder: Path, metric: str) -> dict[str, list[float]]:
    """A metric of every epoch, by the name of the trial.

    Args:
        folder: of a search.
        metric: of metrics.jsonl.
    """
    files = sorted((folder / "trials").glob("*/metrics.jsonl"))
    return {
        file.parent.name: [json.loads(line)[metric] for line in file.read_text(encoding="utf-8").splitlines()]
        for file in files
    }


def learning_figure(curves: Mapping[str, Sequence[float]], labels: Mapping[str, str], metric: str) -> Figure:
    """A curve a trial; one that was stopped ends early.

    Args:
        curves: of :func:`learning`.
        labels: trial to what the legend says of it.
        metric: what the curves show.
    """
    figure, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    for index, (name, values) in enumerate(curves.items()):
        style, colour = STYLES[index % len(STYLES)], COLOURS[index % len(COLOURS)]
        axis.plot(range(1, len(values) + 1), values, style, color=colour, label=labels[name])
    axis.set(xlabel="epoch", ylabel=metric, xticks=range(1, max(map(len, curves.values())) + 1))
    axis.set_title("The loss of each trial; one that ASHA stops ends early")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def picture_figure(file: Path) -> Figure:
    """A picture that a command wrote, at its own size."""
    pixels = imread(file)
    height, width = pixels.shape[:2]
    figure = plt.figure(figsize=(9, 9 * height / width))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(pixels)
    axis.set_axis_off()
    return figure
