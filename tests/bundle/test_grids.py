"""The box of a mask, and how far apart two affines are."""

from __future__ import annotations

import numpy as np
import pytest
from scripts.grids import AFFINE_TOLERANCE_MM, affine_difference_mm, mask_box


@pytest.mark.parametrize("seed", range(4))
def test_box_is_that_of_the_indices(seed: int) -> None:
    mask = np.random.default_rng(seed).random((7, 9, 11)) > 0.99
    indices = np.argwhere(mask)
    assert len(indices)
    assert mask_box(mask) == tuple(
        slice(low, high + 1) for low, high in zip(indices.min(axis=0), indices.max(axis=0), strict=True)
    )


def test_an_empty_mask_has_no_box() -> None:
    assert mask_box(np.zeros((3, 4, 5), bool)) is None
    assert mask_box(np.zeros((3, 0, 5), bool)) is None


def test_difference_of_affines() -> None:
    moved = np.diag([1.0, 2, 3, 1])
    moved[1, 3] -= 2 * AFFINE_TOLERANCE_MM
    assert affine_difference_mm(np.diag([1.0, 2, 3, 1]), moved) == pytest.approx(2 * AFFINE_TOLERANCE_MM)
    moved[0, 0] = np.nan
    assert np.isnan(affine_difference_mm(np.eye(4), moved))
