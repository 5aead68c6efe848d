"""Lesion-wise Dice and HD95 as the BraTS challenges of 2023 define them.

Source: github.com/rachitsaluja/BraTS-2023-Metrics, its README and eval.py with the parameters of BraTS-GLI. As that
code does it, for each region by itself:

1. The truth is dilated three times with the 18-neighbour element. Truth voxels whose dilations touch (26-connectivity)
   are one lesion; dilating serves this and the next step alone.
2. A component of the prediction (26-connectivity, not dilated) belongs to every lesion whose dilation it touches. All
   components of a lesion together are compared with the lesion: one over two lesions counts, whole, for each of them.
3. Lesions of 50 mm3 or less are dropped, found or not; what was predicted there is no false positive.
4. A lesion without a component has Dice 0 and HD95 374 mm. So has each component without a lesion, however small it is.
5. The case's score is the mean over lesions kept and components without a lesion; Dice 1 and 0 mm where there are none.

The minimum is said in voxels of the challenge's 1 mm; the code compares a volume, and so does this: at 2 mm a lesion
needs 7 voxels. Dilation is in voxels at any spacing. Challenges from 2025 on match one to one and are not this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scripts.surfaces import HD95_EMPTY_MM, Mask, hd95_mm, surface_distances

MIN_LESION_MM3 = 50.0
DILATIONS = 3
_CONNECTED = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class LesionScores:
    """One region of a case, lesion by lesion.

    Attributes:
        dice: mean over the lesions of the truth and the false ones.
        hd95_mm: the same.
        truth: lesions of the truth above the minimum volume.
        missed: those of them that no component of the prediction touches.
        false: components of the prediction that touch no lesion.
    """

    dice: float
    hd95_mm: float
    truth: int
    missed: int
    false: int


def lesion_scores(
    prediction: Mask, truth: Mask, spacing_mm: Sequence[float], min_lesion_mm3: float = MIN_LESION_MM3
) -> LesionScores:
    """Score one region lesion by lesion.

    Args:
        prediction: (H, W, D). Both masks may be cut to their common box: nothing here depends on what is outside of it.
        truth: (H, W, D).
        spacing_mm: voxel size along H, W, D.
        min_lesion_mm3: lesions of the truth up to this volume are dropped.
    """
    lesions, n_lesions = ndimage.label(dilated(truth, DILATIONS), _CONNECTED)
    components, n_components = ndimage.label(prediction, _CONNECTED)
    touching = _touching(lesions, components, n_components)
    voxels = np.bincount(lesions[truth], minlength=n_lesions + 1)
    kept = [i for i in range(1, n_lesions + 1) if voxels[i] * np.prod(spacing_mm) > min_lesion_mm3]
    boxes = ndimage.find_objects(lesions), ndimage.find_objects(components)
    scores = []
    for lesion in kept:
        mine = touching[touching[:, 0] == lesion, 1]
        if len(mine) == 0:
            scores.append((0.0, HD95_EMPTY_MM))
            continue
        box = _union([boxes[0][lesion - 1], *(boxes[1][component - 1] for component in mine)])
        of_truth = truth[box] & (lesions[box] == lesion)
        of_prediction = np.isin(components[box], mine)
        overlap = 2 * np.count_nonzero(of_truth & of_prediction)
        dice = overlap / (np.count_nonzero(of_truth) + np.count_nonzero(of_prediction))
        scores.append((dice, hd95_mm(surface_distances(of_prediction, of_truth, spacing_mm))))
    missed = len(kept) - len(np.intersect1d(kept, touching[:, 0]))
    false = n_components - len(np.unique(touching[:, 1]))
    scores += [(0.0, HD95_EMPTY_MM)] * false
    dice, hd95 = np.mean(scores, axis=0) if scores else (1.0, 0.0)
    return LesionScores(float(dice), float(hd95), len(kept), missed, false)


def dilated(mask: Mask, times: int) -> Mask:
    """``mask`` grown ``times`` times by its 18 neighbours, those that share a face or an edge with a voxel.

    The element is the union of three squares, one a pair of axes, each of which is two shifts along one axis after two
    along the other: a fraction of the work of its 19 voxels.

    Args:
        mask: (H, W, D).
        times: 1 or more.
    """
    for _ in range(times):
        along_first, along_second = _spread(mask, 0), _spread(mask, 1)
        mask = _spread(along_first, 1) | _spread(along_first, 2) | _spread(along_second, 2)
    return mask


def _spread(mask: Mask, axis: int) -> Mask:
    """``mask`` with the voxels before and behind it along one axis."""
    result = mask.copy()
    source, target = np.moveaxis(mask, axis, 0), np.moveaxis(result, axis, 0)
    target[1:] |= source[:-1]
    target[:-1] |= source[1:]
    return result


def _touching(lesions: NDArray[np.int32], components: NDArray[np.int32], n_components: int) -> NDArray[np.int64]:
    """Pairs of lesion and component that share a voxel, each once, (N, 2)."""
    shared = (lesions > 0) & (components > 0)
    # As one number each: unique() of rows sorts far slower.
    pairs = np.unique(lesions[shared].astype(np.int64) * (n_components + 1) + components[shared])
    return np.stack(np.divmod(pairs, n_components + 1), axis=1)


def _union(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The smallest box around boxes."""
    return tuple(slice(min(side.start for side in s), max(side.stop for side in s)) for s in zip(*boxes, strict=True))
