"""From probabilities to nested region masks by thresholds and least volumes (:class:`scripts.rules.Rules`).

Two mistakes of a network cost most in the mean Dice of BraTS, where a region that is empty in truth scores 0 for a
single predicted voxel: a speck of enhancing tumour in a tumour that has none, and islands far from it. The rules
against them:

- a threshold of the probability for each region;
- connected components (26 neighbours) below a least volume are removed: of WT with all that lies in them, of TC they
  become edema, of ET they become core;
- enhancing tumour whose volume is below a least one in total becomes core (Isensee et al. 2020, arXiv 2011.00848);
- enhancing tumour of a high mean probability is exempt from both (Futrega et al. 2021, arXiv 2110.03352, who take
  components of 16 voxels and 73 voxels in total, of 1 mm3 each, and a mean probability of 0.9).

Volumes are in mm3, so one rule means the same on every grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from scripts.grids import mask_box
from scripts.labels import nest_regions
from scripts.rules import Rules

# Outer regions first: what is left of a smaller region is counted when the larger ones are settled.
OUTSIDE_IN = ("WT", "TC", "ET")
NEIGHBOURS_26 = np.ones((3, 3, 3), bool)


def region_masks(probabilities: torch.Tensor, regions: Sequence[str], rules: Rules, voxel_mm3: float) -> torch.Tensor:
    """Nested masks, bool (R, H, W, D), on the device of ``probabilities``.

    Args:
        probabilities: (R, H, W, D), of the whole volume or of a box that holds every voxel above its threshold.
        regions: channel order.
        rules: what to decide by.
        voxel_mm3: volume of a voxel.
    """
    masks = nest_regions(probabilities > rules.threshold_of(regions).to(probabilities.device), regions)
    if rules.look_at_volumes:
        kept = masks.cpu().numpy()
        enhancing = probabilities[regions.index("ET")].cpu().numpy() if "ET" in regions else None
        remove_small_volumes(kept, enhancing, regions, rules, voxel_mm3)
        masks = torch.from_numpy(kept).to(masks.device)
    return masks


def remove_small_volumes(
    masks: NDArray[np.bool_],
    enhancing: NDArray[np.floating] | None,
    regions: Sequence[str],
    rules: Rules,
    voxel_mm3: float,
) -> None:
    """Apply the rules on volumes, in place; nested masks stay nested.

    Args:
        masks: nested, (R, H, W, D).
        enhancing: probability of ET, (H, W, D); None where there is no such region.
        regions: channel order of ``masks``.
        rules: what to decide by.
        voxel_mm3: volume of a voxel.
    """
    around: NDArray[np.bool_] | None = None
    for region in OUTSIDE_IN:
        if region not in regions:
            continue
        mask = masks[regions.index(region)]
        if around is not None:
            mask &= around
        around = mask
        sure = rules.sure_enhancing if region == "ET" else None
        remove_small_components(mask, rules.min_component_mm3.get(region, 0.0), voxel_mm3, enhancing, sure)
        if region == "ET" and is_small(mask, rules.min_enhancing_mm3, voxel_mm3, enhancing, sure):
            mask[...] = False


def remove_small_components(
    mask: NDArray[np.bool_],
    min_mm3: float,
    voxel_mm3: float,
    probability: NDArray[np.floating] | None = None,
    sure: float | None = None,
) -> None:
    """Clear the connected components (26 neighbours) below a volume, in place.

    Args:
        mask: (H, W, D).
        min_mm3: a component of exactly this volume stays.
        voxel_mm3: volume of a voxel.
        probability: of the region, (H, W, D).
        sure: components whose mean ``probability`` is at least this stay; None exempts none.
    """
    box = mask_box(mask)
    if min_mm3 <= 0 or box is None:
        return
    components, _ = ndimage.label(mask[box], NEIGHBOURS_26)
    voxels = np.bincount(components.ravel())
    small = voxels * voxel_mm3 < min_mm3
    if sure is not None and probability is not None:
        # Voxels outside of all components are number 0, of which there may be none.
        mean = np.bincount(components.ravel(), probability[box].ravel()) / np.maximum(voxels, 1)
        small &= mean < sure
    small[0] = False
    mask[box] &= ~small[components]


def is_small(
    mask: NDArray[np.bool_],
    min_mm3: float,
    voxel_mm3: float,
    probability: NDArray[np.floating] | None = None,
    sure: float | None = None,
) -> bool:
    """Whether all of ``mask`` (H, W, D) is below a volume in mm3, and, with ``sure``, below that mean probability."""
    voxels = int(mask.sum()) if min_mm3 > 0 else 0
    if voxels == 0 or voxels * voxel_mm3 >= min_mm3:
        return False
    return sure is None or probability is None or float(probability[mask].mean(dtype=np.float64)) < sure
