"""The picture of a comparison: validation Dice and training loss of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scripts.figures import BLACK, BLUE, ORANGE, PURPLE, SKY_BLUE, save_figure

COLOURS = (BLACK, ORANGE, BLUE, PURPLE, SKY_BLUE)
# With five colours each, runs stay apart up to twenty.
STYLES = ("-", "--", ":", "-.")


def plot_runs(runs: Mapping[str, Sequence[Mapping[str, Any]]], target: Path) -> None:
    """Draw the curves of every run.

    Args:
        runs: run folder to the records of its metrics.jsonl, the best run first.
        target: the PNG.

    Raises:
        InputError: it cannot be written.
    """
    figure = Figure(figsize=(9, 6 + 0.2 * len(runs)), layout="constrained")
    dice, loss = figure.subplots(2, 1, sharex=True)
    for index, records in enumerate(runs.values()):
        style = {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[index // len(COLOURS) % len(STYLES)]}
        validated = [record for record in records if "val_mean_dice" in record]
        epochs = [record["epoch"] for record in validated]
        dice.plot(epochs, [record["val_mean_dice"] for record in validated], marker="o", markersize=3, **style)
        losses = [record.get("train_loss", np.nan) for record in records]
        loss.plot([record["epoch"] for record in records], losses, **style)
    dice.set(ylabel="validation mean Dice", ylim=(-0.02, 1.02))
    loss.set(ylabel="training loss", xlabel="epoch")
    loss.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axis in (dice, loss):
        axis.grid(color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
    # A folder's name is data: neither a dollar sign nor a leading underscore in it means anything.
    legend = figure.legend(loss.lines, [Path(folder).name for folder in runs], loc="outside lower center", ncols=2)
    for text in legend.get_texts():
        text.set_parse_math(False)
    save_figure(figure, target)
