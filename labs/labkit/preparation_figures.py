"""The pictures of lab 01: arrays as they lie in memory, histograms, crops and patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scripts.figures import BLUE, ORANGE, PURPLE, SKY_BLUE, WINDOW_PERCENT, tissue_colours
from scripts.labels import Scheme

from .preparation import Step

TINT = 0.6
# As wide as a page shows without shrinking the letters.
FIGURE_INCHES = 11.0


def largest_slice(label: torch.Tensor | NDArray) -> int:
    """Index along the last axis of a label map (1, H, W, D) where most is labelled."""
    return int((np.asarray(label)[0] > 0).sum(axis=(0, 1)).argmax())


def _tinted(label: NDArray, scheme: Scheme) -> NDArray[np.float32]:
    """RGBA of a slice of ids, transparent where it is 0."""
    tint = np.zeros((*label.shape, 4), np.float32)
    for value, colour in tissue_colours(scheme).items():
        tint[label == value] = to_rgba(colour, TINT)
    return tint


def steps_figure(steps: Sequence[Step], channel: int, name: str) -> Figure:
    """One slice after every step, the array as it lies: rows along the first axis, columns along the second.

    Args:
        steps: what to draw.
        channel: of the image.
        name: of that modality.
    """
    figure, axes = plt.subplots(1, len(steps), figsize=(FIGURE_INCHES, 4.0), layout="constrained")
    for axis, step in zip(np.atleast_1d(axes), steps, strict=True):
        plane = np.asarray(step.image[channel, :, :, largest_slice(step.label)], np.float32)
        shown = axis.imshow(plane, cmap="gray", interpolation="nearest")
        axis.set(title=f"{step.name}\n{plane.shape[0]} x {plane.shape[1]} voxels", xlabel="second axis")
        figure.colorbar(shown, ax=axis, location="bottom", shrink=0.85)
    np.atleast_1d(axes)[0].set_ylabel("first axis")
    figure.suptitle(f"{name}: the box cuts the air off, orientation turns, spacing coarsens, normalisation rescales")
    return figure


def pair_figure(images: Mapping[str, tuple[NDArray, NDArray]], scheme: Scheme, title: str) -> Figure:
    """Slices with their labels tinted.

    Args:
        images: heading to image and ids, (rows, columns) each.
        scheme: what the ids mean.
        title: what to see.
    """
    edge = min(FIGURE_INCHES / len(images), 4.0)
    figure, axes = plt.subplots(1, len(images), figsize=(edge * len(images), edge + 0.7), layout="constrained")
    for axis, (heading, (image, label)) in zip(np.atleast_1d(axes), images.items(), strict=True):
        low, high = np.percentile(image, WINDOW_PERCENT)
        axis.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axis.imshow(_tinted(label, scheme), interpolation="nearest")
        axis.set(title=heading, xticks=[], yticks=[])
    colours = tissue_colours(scheme)
    handles = [Patch(color=colours[value], label=f"{value} {tissue}") for value, tissue in scheme.labels.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(title)
    return figure


def histogram_figure(values: Mapping[str, NDArray], title: str) -> Figure:
    """Histograms of a few sets of voxels over one axis.

    Args:
        values: name to voxels, (n,).
        title: what to see.
    """
    figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
    bins = np.linspace(*np.percentile(np.concatenate(list(values.values())), (0.2, 99.8)), 80)
    for (name, voxels), colour in zip(values.items(), (SKY_BLUE, ORANGE, PURPLE, BLUE), strict=False):
        axis.hist(voxels, bins=bins, histtype="step", linewidth=2, color=colour, label=name, density=True)
    axis.axvline(0, color="0.6", linewidth=1, linestyle=":")
    axis.set(xlabel="value that the network sees", ylabel="share of voxels", title=title)
    axis.legend(frameon=False)
    return figure


def spread_figure(spreads: Mapping[str, NDArray], whole: float, title: str) -> Figure:
    """What one intensity becomes in many crops, a row of dots a size of crop.

    Args:
        spreads: size of crop to values, (n,).
        whole: the value if the volume is normalised before it is cropped.
        title: what to see.
    """
    figure, axis = plt.subplots(figsize=(8, 0.8 + 0.7 * len(spreads)), layout="constrained")
    heights = np.random.default_rng(0)
    for row, values in enumerate(spreads.values()):
        axis.scatter(
            values, row + heights.uniform(-0.25, 0.25, len(values)), s=9, color=ORANGE, alpha=0.6, linewidths=0
        )
    axis.axvline(whole, color=BLUE, linewidth=2, label="normalised first: always here")
    axis.set(yticks=range(len(spreads)), yticklabels=list(spreads), xlabel="value of the same voxel", title=title)
    axis.legend(frameon=False, loc="best")
    return figure


def patches_figure(patches: Sequence[Mapping[str, Any]], scheme: Scheme, channel: int, title: str) -> Figure:
    """The middle slice of patches.

    Args:
        patches: ``image`` (C, h, w, d) and ``label`` (1, h, w, d) each.
        scheme: what the ids mean.
        channel: of the images.
        title: what to see.
    """
    middle = patches[0]["image"].shape[-1] // 2
    slices = {
        f"patch {number}": (np.asarray(one["image"])[channel, :, :, middle], np.asarray(one["label"])[0, :, :, middle])
        for number, one in enumerate(patches, start=1)
    }
    return pair_figure(slices, scheme, title)
