"""A picture of a search: parallel coordinates, a line a trial from its hyper-parameters to its score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from scripts.files import write_aside
from scripts.tune.space import short_names, short_value

DPI = 110
# Told apart with any kind of colour vision, and in grey (Nuñez et al. 2018).
COLOURS = "cividis"
# Values that span more than this are spread by their logarithm.
LOGARITHMIC_SPAN = 20.0
LABEL_CHARACTERS = 24
# Of the room that a category has.
CATEGORY_HEIGHT = 0.4


class Coordinate:
    """A vertical axis: the place of each value between 0 and 1, and its ticks.

    Args:
        values: one a trial.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        distinct = sorted(set(values)) if numeric else list(dict.fromkeys(map(short_value, values)))
        self.labels = {value if numeric else label: _shortened(label) for value, label in _labelled(distinct, numeric)}
        self.numeric = numeric
        if numeric:
            scale = math.log10 if distinct[0] > 0 and distinct[-1] / distinct[0] > LOGARITHMIC_SPAN else float
            low, high = scale(distinct[0]), scale(distinct[-1])
            self.places = {value: (scale(value) - low) / (high - low) if high > low else 0.5 for value in distinct}
        else:
            self.places = {label: (n + 0.5) / len(distinct) for n, label in enumerate(distinct)}

    def place(self, value: Any, rank: float) -> float:
        """Height of a trial's value, 0 to 1; trials of one category lie a little apart by their ``rank``, 0 to 1."""
        if self.numeric:
            return self.places[value]
        return self.places[short_value(value)] + CATEGORY_HEIGHT * (rank - 0.5) / len(self.places)

    def ticks(self, most: int = 8) -> list[tuple[float, str]]:
        """Height and label of at most ``most`` values, the ends among them."""
        names = list(self.places)
        step = max(1, math.ceil(len(names) / most))
        chosen = dict.fromkeys([*names[::step], names[-1]])
        return [(self.places[name], self.labels[name]) for name in chosen]


def _labelled(distinct: Sequence[Any], numeric: bool) -> list[tuple[Any, str]]:
    return [(value, f"{value:.4g}" if numeric else value) for value in distinct]


def _shortened(label: str) -> str:
    return label if len(label) <= LABEL_CHARACTERS else label[: LABEL_CHARACTERS - 3] + "..."


def plot_search(rows: Sequence[Mapping[str, Any]], metric: str, target: Path) -> None:
    """Draw the trials that have a score; those that were stopped early are dashed.

    Args:
        rows: of :func:`scripts.tune.results.collect`, at least one with a score.
        metric: name of the last axis.
        target: the PNG.
    """
    scored = [row for row in rows if row["best"] is not None]
    names = short_names(list(scored[0]["values"]))
    columns = [*([row["values"][knob] for row in scored] for knob in names), [row["best"] for row in scored]]
    axes = [Coordinate(column) for column in columns]
    colours = ScalarMappable(Normalize(min(columns[-1]), max(columns[-1])), colormaps[COLOURS])
    figure = Figure(figsize=(1.5 + 2.2 * (len(axes) - 1), 4.5), layout="constrained")
    axis = figure.subplots()
    # The best lines are drawn last, over the others.
    for index in reversed(range(len(scored))):
        rank = 1 - index / max(1, len(scored) - 1)
        heights = [coordinate.place(column[index], rank) for coordinate, column in zip(axes, columns, strict=True)]
        style = "-" if scored[index]["status"] == "finished" else "--"
        axis.plot(heights, style, color=colours.to_rgba(columns[-1][index]), marker="o", markersize=3)
    for position, coordinate in enumerate(axes):
        axis.axvline(position, color="0.6", linewidth=0.8, zorder=0)
        for height, label in coordinate.ticks():
            axis.annotate(
                label, (position, height), xytext=(5, 3), textcoords="offset points", fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            )  # fmt: skip
    axis.set_xticks(range(len(axes)), [*names.values(), metric])
    axis.set(yticks=[], ylim=(-0.05, 1.08), xlim=(-0.1, len(axes) - 0.5))
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.colorbar(colours, ax=axis, label=metric, pad=0.01)
    with write_aside(target) as aside:
        FigureCanvasAgg(figure).print_figure(aside, dpi=DPI, format="png")
