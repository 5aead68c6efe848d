"""Lab 02: curves, Dice tables and figures, and what scores do at their edges."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from monai.metrics import DiceMetric
from numpy.typing import NDArray
from scripts.figures import BLACK, REGION_COLOURS
from scripts.labels import REGION_NAMES, Scheme, labels_to_regions
from scripts.metrics import region_dice, region_hd95_mm


def curves_figure(records: Sequence[Mapping[str, Any]], best_epoch: int) -> Figure:
    """Training loss and validation Dice over the epochs, side by side.

    Args:
        records: of metrics.jsonl.
        best_epoch: marked.
    """
    figure, (loss, dice) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    validated = [record for record in records if "val_mean_dice" in record]
    loss.plot([r["epoch"] for r in records], [r["train_loss"] for r in records], color=BLACK, marker="o", markersize=3)
    loss.set(title="The loss falls fast, then slowly", ylabel="training loss", xlabel="epoch")
    epochs = [record["epoch"] for record in validated]
    dice.plot(epochs, [record["val_mean_dice"] for record in validated], color=BLACK, linewidth=3, label="mean")
    for region, colour in REGION_COLOURS.items():
        dice.plot(epochs, [r[f"val_dice_{region}"] for r in validated], color=colour, marker="o", label=region)
    dice.axvline(best_epoch, color="0.5", linestyle="--", label=f"kept: epoch {best_epoch}")
    dice.set(title="Dice of each region, on cases not trained on", ylabel="validation Dice", xlabel="epoch")
    dice.set_ylim(0, 1)
    dice.legend(frameon=False, fontsize="small", loc="lower right")
    for axis in (loss, dice):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def case_scores(test_dir: Path) -> list[dict[str, Any]]:
    """The rows of an evaluation's ``cases.json``: dice, hd95_mm, truth_ml and prediction_ml of each case."""
    return json.loads((test_dir / "cases.json").read_text(encoding="utf-8"))


def score_rows(rows: Sequence[Mapping[str, Any]], regions: Sequence[str]) -> list[list[Any]]:
    """A line a case: Dice and true volume of each region."""
    return [
        [row["case"], *(row["dice"][name] for name in regions), *(f"{row['truth_ml'][name]:.1f}" for name in regions)]
        for row in rows
    ]


def scores_figure(rows: Sequence[Mapping[str, Any]], regions: Sequence[str]) -> Figure:
    """A point a case and a bar for the mean, region by region."""
    figure, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    for place, region in enumerate(regions):
        values = [row["dice"][region] for row in rows]
        axis.plot(values, [place] * len(values), "o", color=REGION_COLOURS[region], markersize=8, alpha=0.8)
        axis.plot([np.mean(values)] * 2, [place - 0.3, place + 0.3], color=BLACK, linewidth=2)
    axis.set_yticks(range(len(regions)), [f"{region}, {REGION_NAMES[region]}" for region in regions])
    axis.set(xlim=(-0.02, 1.02), ylim=(len(regions) - 0.5, -0.5), xlabel="Dice on the scanner's own grid")
    axis.set_title("Cases differ far more than a mean tells")
    axis.grid(axis="x", color="0.9")
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def empty_region_rows() -> list[list[Any]]:
    """Four situations and their scores: this project's Dice and HD95, and MONAI's ``DiceMetric``."""
    empty, blob = torch.zeros(1, 1, 12, 12, 12), torch.zeros(1, 1, 12, 12, 12)
    blob[..., 4:8, 4:8, 4:8] = 1
    rows = []
    situations = {
        "there is none, none is found": (empty, empty),
        "there is none, one is found": (blob, empty),
        "there is one, none is found": (empty, blob),
        "there is one, and it is found": (blob, blob),
    }
    for name, (prediction, truth) in situations.items():
        theirs = float(DiceMetric(include_background=True)(prediction, truth))
        hd95 = _hd95_mm(prediction, truth, (1, 1, 1))
        rows.append([name, float(region_dice(prediction, truth)), "left out" if np.isnan(theirs) else theirs, hd95])
    return rows


def region_masks(label_file: str, scheme: Scheme, regions: Sequence[str]) -> torch.Tensor:
    """Regions of a label volume, 0/1 of shape (1, R, H, W, D)."""
    ids = torch.as_tensor(np.asarray(nib.load(label_file).dataobj).astype(np.uint8))
    return labels_to_regions(ids[None], scheme, regions)[None]


def hd95_rows(truth: torch.Tensor, spacing_mm: Sequence[float]) -> list[list[Any]]:
    """What a stray voxel and a shift do to Dice and HD95 of one region.

    Args:
        truth: 0/1 mask (1, 1, H, W, D), not empty.
        spacing_mm: voxel size.
    """
    stray, moved = truth.clone(), truth.roll(1, dims=2)
    stray[..., 0, 0, 0] = 1
    island = truth.clone()
    island[..., :10, :10, :10] = 1
    found = {"the truth itself": truth, "and one stray voxel": stray, "and a stray block": island}
    found["moved by one voxel"] = moved
    return [[name, float(region_dice(mask, truth)), _hd95_mm(mask, truth, spacing_mm)] for name, mask in found.items()]


def _hd95_mm(prediction: torch.Tensor, truth: torch.Tensor, spacing_mm: Sequence[float]) -> float:
    """HD95 of one case and region in mm."""
    with warnings.catch_warnings():
        # MONAI calls itself with an argument that it has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        return float(region_hd95_mm(prediction, truth, spacing_mm))


def only_case(row: Mapping[str, Any], folder: Path) -> Path:
    """A folder that holds one case's scans and no label, as new patients arrive.

    Args:
        row: a case of an evaluation, with ``case`` and ``image`` (paths).
        folder: made anew.
    """
    shutil.rmtree(folder, ignore_errors=True)
    images = [Path(file) for file in row["image"]]
    target = folder if len(images) == 1 else folder / row["case"]
    target.mkdir(parents=True)
    for image in images:
        shutil.copy(image, target)
    return folder


def voxels(file: Path) -> NDArray[Any]:
    """The voxels of a NIfTI file as stored, (H, W, D) or (H, W, D, R)."""
    return np.asarray(nib.load(file).dataobj)
