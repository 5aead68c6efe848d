"""HD95 and surface Dice against MONAI, DeepMind's package, all pairs of elements, and shapes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from blobs import blobs, brute_force, pair
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from monai.metrics.utils import create_table_neighbour_code_to_surface_area
from scripts.surfaces import hd95_mm, neighbourhood_codes, surface_areas, surface_dice, surface_distances

SPACINGS = [(1.0, 1.0, 1.0), (0.9, 1.5, 2.2)]


def ball(radius_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    sides = [2 * int(np.ceil(radius_mm / step)) + 3 for step in spacing_mm]
    grid = np.meshgrid(*((np.arange(n) - n // 2) * s for n, s in zip(sides, spacing_mm, strict=True)), indexing="ij")
    return np.sqrt(sum(axis**2 for axis in grid)) <= radius_mm


@pytest.mark.parametrize("spacing", SPACINGS)
def test_areas_are_those_of_monai(spacing: tuple[float, float, float]) -> None:
    theirs = np.asarray(create_table_neighbour_code_to_surface_area(spacing)[0])
    assert np.allclose(surface_areas(spacing), theirs, rtol=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_area_of_a_ball(spacing: tuple[float, float, float]) -> None:
    """The triangles follow the steps between voxels: some 10 % more than a round surface has."""
    area = surface_areas(spacing)[neighbourhood_codes(ball(20.0, spacing))].sum()
    assert area == pytest.approx(4 * np.pi * 20**2, rel=0.15)


def test_area_of_a_slab_at_the_border() -> None:
    """A mask that fills the volume is closed at its borders."""
    areas = surface_areas((1.0, 2.0, 3.0))[neighbourhood_codes(np.ones((30, 30, 30), bool))]
    assert areas.sum() == pytest.approx(2 * 30 * 30 * (6 + 3 + 2), rel=0.05)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(8))
def test_all_pairs_of_elements(seed: int, spacing: tuple[float, float, float]) -> None:
    distances = surface_distances(*pair(seed), spacing)
    assert (hd95_mm(distances), surface_dice(distances)) == pytest.approx(brute_force(*pair(seed), spacing))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(8))
def test_surface_dice_is_that_of_monai(seed: int, spacing: tuple[float, float, float]) -> None:
    prediction, truth = (torch.from_numpy(mask)[None, None] for mask in pair(seed))
    for tolerance in (0.5, 1.0, 2.0):
        theirs = compute_surface_dice(
            prediction, truth, [tolerance], include_background=True, spacing=spacing, use_subvoxels=True
        )
        mine = surface_dice(surface_distances(*pair(seed), spacing), tolerance)
        assert mine == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_hd95_is_within_a_voxel_of_monais(seed: int) -> None:
    """MONAI counts border voxels, whatever their area, and measures between their centres."""
    prediction, truth = blobs(seed, 0.3, (40, 36, 32), 3), blobs(seed + 1, 0.3, (40, 36, 32), 3)
    tensors = (torch.from_numpy(mask)[None, None] for mask in (prediction, truth))
    theirs = compute_hausdorff_distance(*tensors, include_background=True, percentile=95, spacing=[1.0] * 3)
    assert hd95_mm(surface_distances(prediction, truth, (1, 1, 1))) == pytest.approx(float(theirs), abs=3**0.5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(8))
def test_deepminds_own_package(seed: int, spacing: tuple[float, float, float]) -> None:
    package = pytest.importorskip("surface_distance", reason="the package surface-distance is in no runtime extra")
    prediction, truth = pair(seed)
    theirs = package.compute_surface_distances(truth, prediction, spacing)
    mine = surface_distances(prediction, truth, spacing)
    assert hd95_mm(mine) == pytest.approx(package.compute_robust_hausdorff(theirs, 95))
    assert surface_dice(mine) == pytest.approx(package.compute_surface_dice_at_tolerance(theirs, 1.0))


def test_a_shift_of_one_millimetre_is_within_the_tolerance() -> None:
    truth = np.zeros((20, 20, 20), bool)
    truth[5:12, 5:12, 5:12] = True
    for step in (1.0, 0.1, 1 / 3):
        spacing = (step, step, step)
        moved = np.roll(truth, round(1 / step) if step > 0.2 else 5, 0)
        distances = surface_distances(moved, truth, spacing)
        assert surface_dice(distances) == 1
        assert 0 < hd95_mm(distances) <= 1 + 1e-6


def test_mirrored_and_exchanged_masks_have_the_same_distances() -> None:
    prediction, truth = pair(3)
    wanted = surface_distances(prediction, truth, (1, 2, 3))
    for change in (lambda m: m[::-1], lambda m: m[:, ::-1], lambda m: np.pad(m, 2)):
        found = surface_distances(change(prediction), change(truth), (1, 2, 3))
        assert hd95_mm(found) == pytest.approx(hd95_mm(wanted))
        assert surface_dice(found) == pytest.approx(surface_dice(wanted))
    exchanged = surface_distances(truth, prediction, (1, 2, 3))
    assert (hd95_mm(exchanged), surface_dice(exchanged)) == (hd95_mm(wanted), pytest.approx(surface_dice(wanted)))
