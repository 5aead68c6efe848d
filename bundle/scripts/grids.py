"""When two voxel grids are one, and the box of a mask on a grid; needs neither MONAI nor PyTorch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Largest difference between elements of two affines (mm, or mm a voxel) that counts as rounding in a header.
AFFINE_TOLERANCE_MM = 1e-3


def affine_difference_mm(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Largest difference between elements of two affines (4, 4); NaN where one has a NaN."""
    return float(np.abs(one - other).max())


def mask_box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """Smallest box of the voxels set in ``mask`` (H, W, D), or None where there is none."""
    # The last axis is reduced once: it is the one that lies together in memory.
    columns = mask.any(axis=2)
    box = []
    for seen in (columns.any(axis=1), columns.any(axis=0), mask.any(axis=(0, 1))):
        where = np.flatnonzero(seen)
        if len(where) == 0:
            return None
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    return tuple(box)
