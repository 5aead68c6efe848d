"""Claim: all measures of a case of BraTS's size, the lesion-wise ones included, take less CPU than MONAI's Dice, HD95
and surface Dice of it alone.

    python benchmarks/evaluation.py [--dataset_dir DIR] [--rounds N] [--json FILE]

Both sides get the same masks in memory, three regions of 240 x 240 x 155 voxels. The prediction is the truth with a
rough border, several voxels off in places. MONAI's surface Dice is the one by surface area (``use_subvoxels``), as ours
is; its HD95 counts border voxels, so that the two may differ by a voxel's diagonal.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import full_size
import nibabel as nib
import numpy as np
import timing
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scripts.labels import REGIONS, get_scheme, known_labels_to_regions
from scripts.scores import score_case, voxel_size_mm

# Of the noise that moves the border, in mm.
ROUGHNESS_MM = 2.0
# MONAI measures between voxel centres, ours between voxel corners.
HD95_TOLERANCE_MM = 3**0.5


def masks(folder: Path | None) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Prediction and truth of the first case, uint8 (3, H, W, D), and its voxel size."""
    with tempfile.TemporaryDirectory() as scratch:
        image = nib.load(full_size.one_case(Path(scratch), folder)["label"])
        ids = torch.from_numpy(np.asarray(image.dataobj).astype(np.uint8))[None]
    truth = known_labels_to_regions(ids, get_scheme("msd")).numpy()
    noise = gaussian_filter(np.random.default_rng(0).normal(size=truth.shape[1:]), 3)
    noise *= ROUGHNESS_MM / noise.std()
    prediction = np.stack([_signed_distance(mask > 0) + noise > 0 for mask in truth]).astype(np.uint8)
    return prediction, truth, voxel_size_mm(image.affine)


def monai(
    prediction: torch.Tensor, truth: torch.Tensor, spacing_mm: tuple[float, float, float]
) -> dict[str, list[float]]:
    """Dice, HD95 and surface Dice of each region; masks (1, 3, H, W, D)."""
    hd95 = compute_hausdorff_distance(
        prediction, truth, include_background=True, percentile=95, spacing=list(spacing_mm)
    )
    surface = compute_surface_dice(
        prediction, truth, [1.0] * len(REGIONS), include_background=True, spacing=spacing_mm, use_subvoxels=True
    )
    found = {"dice": compute_dice(prediction, truth), "hd95_mm": hd95, "surface_dice": surface}
    return {name: values[0].tolist() for name, values in found.items()}


def check(mine: dict[str, dict[str, float]], theirs: dict[str, list[float]]) -> dict[str, Any]:
    """Largest difference of each measure.

    Raises:
        AssertionError: a measure differs by more than its definition allows.
    """
    allowed = {"dice": 1e-6, "surface_dice": 1e-5, "hd95_mm": HD95_TOLERANCE_MM}
    differences = {}
    for name, limit in allowed.items():
        found = max(abs(mine[name][region] - value) for region, value in zip(REGIONS, theirs[name], strict=True))
        assert found <= limit, f"{name} differs by {found}"
        differences[f"largest difference, {name}"] = f"{found:.1e}"
    return differences


def main() -> None:
    """Measure and print."""
    parser = timing.arguments(__doc__, rounds=7)
    parser.add_argument("--dataset_dir", type=Path, help="take its first case instead of the phantom's")
    options = parser.parse_args()
    torch.set_num_threads(1)
    prediction, truth, spacing_mm = masks(options.dataset_dir)
    tensors = [torch.from_numpy(mask)[None] for mask in (prediction, truth)]
    sides = {
        "MONAI: Dice, HD95, surface Dice": lambda: monai(*tensors, spacing_mm),
        "ours: all measures": lambda: score_case(prediction, truth, spacing_mm),
    }
    mine = score_case(prediction, truth, spacing_mm)
    checks = check(mine, monai(*tensors, spacing_mm))
    timings = timing.interleave(sides, options.rounds)
    checks["truth, ml"] = [round(mine["truth_ml"][region]) for region in REGIONS]
    checks["truth's lesions and false ones"] = [
        (mine["lesions"][region], mine["lesions_false"][region]) for region in REGIONS
    ]
    timing.finish({"MONAI/ours": timing.ratio(*timings.values())}, timings, checks, options.json)


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """Voxels to the border, positive inside."""
    return distance_transform_edt(mask) - distance_transform_edt(~mask)


if __name__ == "__main__":
    main()
