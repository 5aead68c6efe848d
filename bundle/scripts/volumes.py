"""What training and scoring ask alike of a file of voxels; needs neither MONAI nor PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Of an affine's determinant, mm3 a voxel: less is a grid without a volume.
_LEAST_DETERMINANT = 1e-9


def affine_problem(affine: NDArray[np.floating]) -> str | None:
    """What is wrong with an affine (4, 4), voxel index to mm: not finite, or a zero, or all but zero, volume."""
    if np.isfinite(affine).all() and abs(np.linalg.det(affine)) >= _LEAST_DETERMINANT:
        return None
    return "has an affine that cannot be inverted"


def type_problem(stored: np.dtype) -> str | None:
    """What is wrong with the type of a file's voxels: NIfTI has colours and complex numbers as well."""
    return None if stored.kind in "buif" else f"has voxels of type {stored}, but numbers are wanted"


def is_one_volume(shape: Sequence[int]) -> bool:
    """Whether a file of this shape holds one 3-D volume; some tools write a fourth axis of 1."""
    return len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)


def times(shape: Sequence[int]) -> str:
    """A shape as it is said: 240x240x155."""
    return "x".join(map(str, shape))
