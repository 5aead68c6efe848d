"""Pictures of a run: its curves, and one case as slices with truth and prediction.

Figures are made with matplotlib's object interface on the Agg canvas: no window, no global state, safe in any process.
Colours are those of Okabe and Ito (jfly.uni-koeln.de/color, 2008), told apart with any kind of colour vision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from scripts.files import write_aside
from scripts.labels import Scheme, get_scheme
from scripts.layouts import MODALITIES
from scripts.slices import CONVENTION, EDGES, PLANES, CaseVolumes, brain_box, load_case, plane_slice, tumour_slices

BLACK, WHITE = "#000000", "#FFFFFF"
ORANGE, SKY_BLUE, YELLOW, BLUE, PURPLE = "#E69F00", "#56B4E9", "#F0E442", "#0072B2", "#CC79A7"
GREEN, VERMILLION = "#009E73", "#D55E00"
OUTSIDE_IN = (YELLOW, SKY_BLUE, PURPLE, ORANGE)
REGION_COLOURS = {"TC": ORANGE, "WT": BLUE, "ET": PURPLE}
DPI = 110
COLUMN_INCHES = 2.75
OVERLAY_OPACITY = 0.55
# 0.5 is the border between two voxels, 1 the centre of the inner one.
INSIDE = 0.85
# Display range of a modality, in percent of its brain voxels: a few bright vessels must not darken the rest.
WINDOW_PERCENT = (0.5, 99.5)


def plot_curves(metrics: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Draw training loss, validation Dice and learning rate over the epochs.

    Args:
        metrics: the records of metrics.jsonl; the Dice panel is left out where no epoch was validated.
        target: the PNG.
    """
    validated = [record for record in metrics if "val_mean_dice" in record]
    heights = [3, 3, 1.2] if validated else [3, 1.2]
    figure = Figure(figsize=(8, 0.9 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    epochs = [record["epoch"] for record in metrics]
    # Points tell a short run's epochs apart and would blot out a long one.
    style = {"color": BLACK, "marker": "o" if len(epochs) <= 60 else "", "markersize": 3}
    axes[0].plot(epochs, [record.get("train_loss", np.nan) for record in metrics], **style)
    axes[0].set_ylabel("training loss")
    if validated:
        _plot_dice(axes[1], validated)
    axes[-1].plot(epochs, [record.get("learning_rate", np.nan) for record in metrics], **style)
    axes[-1].set(ylabel="learning rate", xlabel="epoch")
    axes[-1].ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axis in axes:
        axis.grid(color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels(axes)
    save_figure(figure, target)


def _plot_dice(axis: Axes, validated: Sequence[Mapping[str, Any]]) -> None:
    """The mean and each region over the validated epochs, the best epoch marked."""
    epochs = [record["epoch"] for record in validated]
    means = [record["val_mean_dice"] for record in validated]
    # Broad and below, so that a region that runs along the mean stays visible.
    axis.plot(epochs, means, color=BLACK, linewidth=3.5, label="mean")
    regions = [key.removeprefix("val_dice_") for key in validated[0] if key.startswith("val_dice_")]
    for region in regions:
        values = [record.get(f"val_dice_{region}", np.nan) for record in validated]
        axis.plot(epochs, values, color=REGION_COLOURS.get(region), marker="o", markersize=3.5, label=region)
    best = int(np.argmax(np.nan_to_num(means, nan=-1.0)))
    best_label = f"best mean {means[best]:.3f} (epoch {epochs[best]})"
    axis.axvline(epochs[best], color="0.6", linestyle="--", zorder=0, label=best_label)
    axis.set(ylabel="validation Dice", ylim=(-0.02, 1.02))
    axis.legend(ncols=len(regions) + 2, fontsize="small", frameon=False, loc="lower center", bbox_to_anchor=(0.5, 0.98))


def plot_case(
    image_paths: Sequence[Path],
    truth: Path | None,
    prediction: Path,
    scheme_name: str,
    title: str,
    target: Path,
    modalities: Sequence[str] = MODALITIES,
) -> None:
    """Draw a case in three planes, each where the tumour's area is largest: the truth beside the prediction.

    Args:
        image_paths: one 4-D file (H, W, D, C), or one 3-D file a modality.
        truth: label volume, or None for a case without one.
        prediction: label volume on the image's grid.
        scheme_name: what the label ids mean.
        title: first line of the picture.
        target: the PNG.
        modalities: names of the channels.

    Raises:
        InputError: a file is absent, unreadable or on another grid.
    """
    case = load_case(image_paths, truth, prediction, modalities)
    kinds = ("prediction",) if case.truth is None else ("truth", "prediction")
    draw_case(case, get_scheme(scheme_name), title, target, kinds, tuple(PLANES))


def draw_case(
    case: CaseVolumes, scheme: Scheme, title: str, target: Path, kinds: Sequence[str], planes: Sequence[str]
) -> None:
    """Draw a case that is in memory, a row a plane, a column a modality and kind.

    Args:
        case: its volumes.
        scheme: what the label ids mean.
        title: first line of the picture.
        target: the PNG.
        kinds: of ``input``, ``truth`` and ``prediction``.
        planes: of ``axial``, ``coronal`` and ``sagittal``.
    """
    columns = [(name, kind) for name in case.images for kind in kinds]
    # A truth without tumour has no largest slice; what was predicted there is then what to look at.
    guide = case.truth if case.truth is not None and case.truth.any() else case.prediction
    indices = tumour_slices(guide, scheme)
    box = brain_box(next(iter(case.images.values())), case.spacing_mm)
    width, depth, height = ((part.stop - part.start) * step for part, step in zip(box, case.spacing_mm, strict=True))
    rows_mm = [depth if plane == "axial" else height for plane in planes]
    rows_inches = sum(rows_mm) * COLUMN_INCHES / max(width, depth)
    figure = Figure(
        figsize=(COLUMN_INCHES * len(columns), rows_inches + 1.2), layout="constrained", facecolor=BLACK, dpi=DPI
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.05, wspace=0, hspace=0)
    axes = figure.subplots(len(planes), len(columns), squeeze=False, height_ratios=rows_mm)
    for row, plane in zip(axes, planes, strict=True):
        for axis, (name, kind) in zip(row, columns, strict=True):
            _plot_slice(axis, case, scheme, plane, indices[plane], box, name, kind)
    for axis, plane in zip(axes[:, 0], planes, strict=True):
        axis.set_ylabel(plane, color="0.75", fontsize=10)
    for axis, (name, kind) in zip(axes[0], columns, strict=True):
        axis.set_title(f"{name}: {kind}", color=WHITE, fontsize=12)
    # A case's name is data: a dollar sign in it opens no formula.
    figure.suptitle(title, color=WHITE, fontsize=13, parse_math=False)
    _add_legend(figure, scheme, case.truth is not None)
    save_figure(figure, target)


def tissue_colours(scheme: Scheme) -> dict[int, str]:
    """A colour for each label id, by the tissue it means: the same tissue looks the same in every scheme."""
    regions = {name: set(ids) for name, ids in scheme.regions.items()}
    core, enhancing = regions.get("TC", set()), regions.get("ET", set())
    colours = {}
    for value in scheme.labels:
        if value in enhancing:
            colours[value] = PURPLE
        elif value in core:
            colours[value] = ORANGE
        else:
            colours[value] = SKY_BLUE if value in regions["WT"] else YELLOW
    return colours


def _plot_slice(
    axis: Axes,
    case: CaseVolumes,
    scheme: Scheme,
    plane: str,
    index: int,
    box: tuple[slice, slice, slice],
    name: str,
    kind: str,
) -> None:
    """One panel: the input, the truth as lines, or the prediction as a tint under the outline of the true tumour."""
    volume = case.images[name]
    across = PLANES[plane]
    box = tuple(slice(None) if axis_index == across else part for axis_index, part in enumerate(box))
    background = plane_slice(volume[box], plane, index)
    # Drawn in mm, so that voxels longer along one axis do not squeeze the brain.
    steps_mm = tuple(step for axis_index, step in enumerate(case.spacing_mm) if axis_index != across)
    extent = (0.0, background.shape[1] * steps_mm[0], background.shape[0] * steps_mm[1], 0.0)
    brain = volume[volume > 0]
    low, high = np.percentile(brain, WINDOW_PERCENT) if brain.size else (0, 1)
    axis.imshow(background, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
    colours = tissue_colours(scheme)
    truth = None if case.truth is None else plane_slice(case.truth[box], plane, index)
    if kind == "prediction":
        labels = plane_slice(case.prediction[box], plane, index)
        tint = np.zeros((*labels.shape, 4))
        for value, colour in colours.items():
            tint[labels == value] = to_rgba(colour, OVERLAY_OPACITY)
        axis.imshow(tint, extent=extent, interpolation="nearest")
        if truth is not None:
            _outline(axis, np.isin(truth, scheme.regions["WT"]), steps_mm, WHITE, 1.0)
    elif kind == "truth" and truth is not None:
        # From the outside in. Edema is outlined with all that it encloses: its inner border is the line of the core.
        for value in sorted(colours, key=lambda value: OUTSIDE_IN.index(colours[value])):
            mask = truth == value
            if colours[value] == SKY_BLUE and mask.any():
                mask = np.isin(truth, scheme.regions["WT"])
            _outline(axis, mask, steps_mm, colours[value], 1.4)
    axis.set(xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_visible(False)
    for letter, x, y in zip(EDGES[plane], (0.02, 0.98, 0.5, 0.5), (0.5, 0.5, 0.98, 0.02), strict=True):
        axis.text(x, y, letter, color="0.7", fontsize=8, ha="center", va="center", transform=axis.transAxes)


def _outline(axis: Axes, mask: np.ndarray, steps_mm: tuple[float, float], colour: str, width: float) -> None:
    """Line just inside the border of a mask (rows, columns), so that neighbouring tissues keep a line each."""
    # contour() warns where there is no border to draw.
    if mask.any() and not mask.all():
        x, y = (step * (np.arange(count) + 0.5) for step, count in zip(steps_mm, mask.T.shape, strict=True))
        lines = axis.contour(x, y, mask, levels=[INSIDE], colors=[colour], linewidths=width)
        # A dark rim keeps a light line visible on bright tissue.
        lines.set(path_effects=[withStroke(linewidth=width + 1, foreground=BLACK)])


def _add_legend(figure: Figure, scheme: Scheme, with_truth: bool) -> None:
    """Tissue names, the outline, and which way round the slices lie."""
    handles: list[Patch | Line2D] = [
        Patch(color=colour, label=scheme.labels[value]) for value, colour in tissue_colours(scheme).items()
    ]
    if with_truth:
        handles.append(Line2D([], [], color=WHITE, linewidth=1, label="outline of the true whole tumour"))
    legend = figure.legend(
        handles=handles,
        title=CONVENTION,
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        labelcolor=WHITE,
        fontsize=10,
        title_fontsize=9,
    )
    legend.get_title().set_color("0.75")


def save_figure(figure: Figure, target: Path) -> None:
    """Render to a PNG, whole or not at all."""
    FigureCanvasAgg(figure)
    with write_aside(target) as aside:
        figure.savefig(aside, format="png", dpi=DPI)
