"""Figures of lab 10."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.transforms import RandRotate
from skin_lesions.classes import CLASSES, PLAIN_NAMES
from skin_lesions.figures import BLUE, VERMILLION
from skin_lesions.ham10000 import Image
from skin_lesions.reading import read_picture

from .lesions import counts

EXAMPLES = 3
WRAPPED = 22


def grid_figure(dataset_dir: Path, images: Sequence[Image]) -> Figure:
    """Pictures of each class, a column a class, under its name and how many images of it there are."""
    found = counts(images)
    figure, axes = plt.subplots(EXAMPLES, len(CLASSES), figsize=(13, 5), layout="constrained")
    for label, code in enumerate(CLASSES):
        of_class = {image.lesion: image for image in images if image.label == label}
        for axis, image in zip(axes[:, label], list(of_class.values())[:EXAMPLES], strict=False):
            _picture(axis, dataset_dir / image.file)
        axes[0, label].set_title(f"{code}: {found[code]}\n{_wrapped(PLAIN_NAMES[code])}", fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure


def angles(turn: RandRotate, draws: int = 200, seed: int = 0) -> list[float]:
    """The angles, in degrees, that a transform draws for so many pictures."""
    turn.set_random_state(seed)
    found = []
    for _ in range(draws):
        turn.randomize()
        found.append(math.degrees(turn.x))
    return found


def turned_figure(file: Path, rows: Mapping[str, RandRotate], columns: int = 6) -> Figure:
    """One picture, turned by each of several transforms, a row a transform; the angle stands above."""
    picture = read_picture(file).float() / 255
    figure, axes = plt.subplots(len(rows), columns, figsize=(12, 2.1 * len(rows)), layout="constrained", squeeze=False)
    for line, (name, turn) in zip(axes, rows.items(), strict=True):
        turn.set_random_state(0)
        for axis in line:
            axis.imshow(np.moveaxis(np.asarray(turn(picture)), 0, -1).clip(0, 1))
            axis.set_title(f"{math.degrees(turn.x):+.0f}°", fontsize=10)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=10)
    return figure


def answers_figure(files: Sequence[Path], truths: Sequence[str], answers: Sequence[Mapping[str, Any]]) -> Figure:
    """Pictures with what the endpoint said of each; wrong answers have a frame of another colour and a word."""
    figure, axes = plt.subplots(1, len(files), figsize=(2 * len(files), 2.7), layout="constrained", squeeze=False)
    for axis, file, truth, answer in zip(axes[0], files, truths, answers, strict=True):
        _picture(axis, file)
        right = answer["class"] == truth
        verdict = "right" if right else f"wrong, it is {truth}"
        axis.set_title(
            f"{answer['class']}\np {answer['probability']:.2f}, confidence {answer['confidence']:.2f}\n{verdict}",
            fontsize=8,
        )
        axis.set(xticks=[], yticks=[])
        for side in axis.spines.values():
            side.set(color=BLUE if right else VERMILLION, linewidth=3)
    return figure


def _picture(axis: Axes, file: Path) -> None:
    axis.imshow(read_picture(file).permute(1, 2, 0).numpy())


def _wrapped(text: str) -> str:
    """The first half of a long name over its second."""
    if len(text) <= WRAPPED:
        return text
    middle = min(
        (place for place, sign in enumerate(text) if sign == " "), key=lambda place: abs(place - len(text) / 2)
    )
    return f"{text[:middle]}\n{text[middle + 1 :]}"
