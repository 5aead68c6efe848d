"""Scores of benchmarks/accuracy.py: Dice of label volumes on disk, whoever wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import timing  # noqa: F401  puts bundle/ on the path
import torch
from scripts.evaluate import Comparison, score_pair
from scripts.label_folders import Pair, check_grids
from scripts.labels import REGIONS, get_scheme, labels_to_regions
from scripts.predictions import label_file

# Key of results.
EMPTY_REGIONS = "empty_regions"


def dice_of_files(
    prediction: Path, truth: Path, label_scheme: str, reference_scheme: str | None = None
) -> dict[str, float]:
    """Dice a region, under the BraTS rule for empty regions: 1 where both are empty, 0 where one is.

    Args:
        prediction: label volume in the scheme's ids.
        truth: the reference, on the same grid.
        label_scheme: of both, or of the prediction.
        reference_scheme: of the reference, where it is another.

    Raises:
        InputError: the prediction lies on another grid, or holds ids that the scheme does not know.
    """
    pair = Pair(prediction.name, prediction, truth)
    check_grids(pair)
    return score_pair(pair, Comparison.of(label_scheme, reference_scheme))["dice"]


def scores(
    cases: Sequence[Mapping[str, Any]], folder: Path, label_scheme: str, reference_scheme: str | None = None
) -> dict[str, dict[str, float]]:
    """Dice of each case and region.

    Args:
        cases: items with ``case`` and ``label``.
        folder: of ``<case>_seg.nii.gz``.
        label_scheme: of predictions and references.
        reference_scheme: of the references, where it is another.
    """
    return {
        item["case"]: dice_of_files(
            label_file(folder, item["case"]), Path(item["label"]), label_scheme, reference_scheme
        )
        for item in cases
    }


def empty_regions(cases: Sequence[Mapping[str, Any]], label_scheme: str) -> dict[str, list[str]]:
    """Case to the regions of which its reference has no voxel, where Dice is 1 or 0.

    Args:
        cases: items with ``case`` and ``label``.
        label_scheme: of the references.
    """
    found = {}
    for item in cases:
        ids = torch.from_numpy(np.asarray(nib.load(item["label"]).dataobj).round().astype(np.uint8))
        masks = labels_to_regions(ids[None], get_scheme(label_scheme), REGIONS, item["case"], torch.bool)
        found[item["case"]] = [region for region, mask in zip(REGIONS, masks, strict=True) if not mask.any()]
    return found


def mean_dice(cases: Mapping[str, Mapping[str, float]]) -> float:
    """Mean over cases and regions of what :func:`scores` returns."""
    return float(np.mean([list(regions.values()) for regions in cases.values()]))
