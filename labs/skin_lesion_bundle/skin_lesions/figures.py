"""Pictures of a classifier: ROC curves, reliability, and an image made small.

Figures are made with matplotlib's object interface on the Agg canvas: no window, no global state, safe in any process.
Colours are those of Okabe and Ito (jfly.uni-koeln.de/color, 2008), told apart with any kind of colour vision.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from skin_lesions.calibration import BINS, Reliability
from skin_lesions.scores import Floats

BLACK, BLUE, VERMILLION = "#000000", "#0072B2", "#D55E00"
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", BLUE, VERMILLION, "#CC79A7", BLACK)
DPI = 110
THUMBNAIL_PIXELS = 192


def roc_figure(curves: Mapping[str, tuple[Floats, float]]) -> bytes:
    """Draw the ROC curve of each class against all others.

    Args:
        curves: a class to false and true positive rates, (2, points), and its area.

    Returns:
        A PNG.
    """
    figure = Figure(figsize=(6.5, 4.6), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], "--", color="0.6", label="chance, 0.500")
    for number, (name, (points, area)) in enumerate(curves.items()):
        axis.plot(*points, color=COLOURS[number % len(COLOURS)], linewidth=1.8, label=f"{name}, {area:.3f}")
    axis.set(
        xlabel="false positive rate (1 - specificity)",
        ylabel="true positive rate (recall)",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
    )
    axis.legend(title="class, area", frameon=False, loc="upper left", bbox_to_anchor=(1.02, 1))
    return _png(figure)


def reliability_figure(panels: Mapping[str, Reliability]) -> bytes:
    """Draw the share of right answers over the confidence, and how many images have such a confidence.

    Args:
        panels: a title to the bins of one set of probabilities.

    Returns:
        A PNG, a column a panel.
    """
    figure = Figure(figsize=(4.2 * len(panels), 5), layout="constrained")
    axes = figure.subplots(2, len(panels), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1))
    for (above, below), (title, bins) in zip(axes.T, panels.items(), strict=True):
        confidence, right, images = bins.points().T
        above.plot([0, 1], [0, 1], "--", color="0.6", label="right as often as it says")
        above.vlines(confidence, confidence, right, color=VERMILLION, linewidth=4, alpha=0.4, label="gap")
        above.plot(confidence, right, "o-", color=BLUE, markersize=4, label="share that is right")
        above.set(title=f"{title}, ECE {bins.error():.3f}", ylim=(-0.02, 1.02))
        edges = np.arange(BINS) / BINS
        below.bar(edges, bins.images, width=1 / BINS, align="edge", color=BLUE, edgecolor="white")
        below.set(xlabel="confidence", xlim=(-0.02, 1.02))
        for axis in (above, below):
            axis.grid(color="0.9")
            axis.set_axisbelow(True)
    axes[0, 0].set_ylabel("share that is right")
    axes[1, 0].set_ylabel("images")
    axes[0, 0].legend(frameon=False, fontsize="small", loc="upper left")
    return _png(figure)


def thumbnail(file: Path) -> bytes:
    """A picture made small, as JPEG; nothing else that its file holds, such as where it was taken, comes along.

    Args:
        file: JPEG or PNG.
    """
    with Image.open(file) as source:
        # A new picture of the same pixels: Pillow would write the file's comments and tags anew.
        small = Image.fromarray(np.asarray(source.convert("RGB")))
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    content = BytesIO()
    small.save(content, format="JPEG", quality=85)
    return content.getvalue()


def _png(figure: Figure) -> bytes:
    content = BytesIO()
    FigureCanvasAgg(figure).print_figure(content, dpi=DPI, format="png")
    return content.getvalue()
