"""Every measure of a case under the BraTS rules: what evaluate.json and ``python -m scripts.evaluate`` both write.

Region by region, from 0/1 masks; T is the truth's volume, P the prediction's, O that of their overlap. An empty region
is never left out of a mean (BraTS 2023 evaluation, github.com/rachitsaluja/BraTS-2023-Metrics):

| measure | formula and source | both empty | one empty |
|---|---|---|---|
| dice | 2 O / (P + T) | 1 | 0 |
| hd95_mm | scripts.surfaces | 0 | 374 |
| surface_dice | at 1 mm, scripts.surfaces | 1 | 0 |
| sensitivity | O / T | 1 | 0 |
| precision | O / P | 1 | 0 |
| volume_error_ml | P - T | 0 | P - T |
| volume_error_relative | 2 (P - T) / (P + T) | 0 | 2 truth empty, -2 prediction empty |
| lesion_dice, lesion_hd95_mm | scripts.lesions | 1, 0 | 0, 374 |

Sensitivity with an empty truth is 0 where something is predicted, as in that evaluation's code; precision mirrors it.
The relative volume error is divided by the mean of both volumes, so it is bounded and has a value where the truth is
empty; 1 - |volume_error_relative| / 2 is the volumetric similarity of Taha and Hanbury (10.1186/s12880-015-0068-x).
A lesion-wise score with an empty truth counts false lesions only, and one with an empty prediction missed ones; a truth
of lesions below the minimum volume alone is as good as empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scripts.grids import mask_box
from scripts.labels import REGIONS
from scripts.lesions import lesion_scores
from scripts.surfaces import HD95_EMPTY_MM, Mask, hd95_mm, surface_dice, surface_distances

# The measures with a mean over cases, in the order of columns.
SCORES = (
    "dice", "hd95_mm", "surface_dice", "sensitivity", "precision", "volume_error_ml", "volume_error_relative",
    "lesion_dice", "lesion_hd95_mm",
)  # fmt: skip
# What is counted besides.
COUNTS = ("truth_ml", "prediction_ml", "lesions", "lesions_missed", "lesions_false")
# Affines are float32 products: 1.0000001 mm voxels must not lie beyond a tolerance of 1 mm.
SPACING_DIGITS = 4

CaseScores = dict[str, dict[str, float]]


def score_case(
    prediction_masks: NDArray[np.generic],
    truth_masks: NDArray[np.generic],
    spacing_mm: Sequence[float],
    regions: Sequence[str] = REGIONS,
) -> CaseScores:
    """All measures of one case.

    Args:
        prediction_masks: 0/1 or bool, (R, H, W, D).
        truth_masks: of the same shape.
        spacing_mm: voxel size along H, W, D, as :func:`voxel_size_mm` gives it.
        regions: names of the R masks.

    Returns:
        ``SCORES`` and ``COUNTS`` to region to value.

    Raises:
        ValueError: the shapes differ, or are not those of ``regions``.
    """
    if prediction_masks.shape != truth_masks.shape or len(truth_masks) != len(regions):
        raise ValueError(
            f"masks of {len(regions)} regions on one grid are wanted, but the prediction's shape is "
            f"{prediction_masks.shape} and the truth's {truth_masks.shape}."
        )
    found = [
        score_region(prediction.astype(bool), truth.astype(bool), spacing_mm)
        for prediction, truth in zip(prediction_masks, truth_masks, strict=True)
    ]
    return {name: dict(zip(regions, (one[name] for one in found), strict=True)) for name in (*SCORES, *COUNTS)}


def score_region(prediction: Mask, truth: Mask, spacing_mm: Sequence[float]) -> dict[str, float]:
    """All measures of one region; masks (H, W, D)."""
    box = common_box(prediction, truth)
    prediction, truth = prediction[box], truth[box]
    p, t, overlap = (np.count_nonzero(mask) for mask in (prediction, truth, prediction & truth))
    voxel_ml = math.prod(spacing_mm) / 1000
    lesions = lesion_scores(prediction, truth, spacing_mm)
    result = {
        "dice": 2 * overlap / (p + t) if p + t else 1.0,
        "sensitivity": overlap / t if t else float(p == 0),
        "precision": overlap / p if p else float(t == 0),
        "volume_error_ml": (p - t) * voxel_ml,
        "volume_error_relative": 2 * (p - t) / max(p + t, 1),
        "lesion_dice": lesions.dice,
        "lesion_hd95_mm": lesions.hd95_mm,
        "truth_ml": t * voxel_ml,
        "prediction_ml": p * voxel_ml,
        "lesions": lesions.truth,
        "lesions_missed": lesions.missed,
        "lesions_false": lesions.false,
    }
    return result | surface_scores(prediction, truth, spacing_mm)


def surface_scores(prediction: Mask, truth: Mask, spacing_mm: Sequence[float]) -> dict[str, float]:
    """HD95 and surface Dice of one region with the rules for empty masks; masks (H, W, D)."""
    if prediction.any() and truth.any():
        distances = surface_distances(prediction, truth, spacing_mm)
        return {"hd95_mm": hd95_mm(distances), "surface_dice": surface_dice(distances)}
    perfect = not prediction.any() and not truth.any()
    return {"hd95_mm": 0.0 if perfect else HD95_EMPTY_MM, "surface_dice": float(perfect)}


def common_box(prediction: Mask, truth: Mask) -> tuple[slice, ...]:
    """The smallest box with every voxel of both masks (H, W, D); one voxel where there is none."""
    return mask_box(prediction | truth) or (slice(0, 1),) * 3


def voxel_size_mm(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Voxel size along the three axes of a file's affine (4, 4), in mm, without the rounding noise of its header."""
    return tuple(round(float(size), SPACING_DIGITS) for size in np.linalg.norm(affine[:3, :3], axis=0))
