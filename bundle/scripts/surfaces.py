"""Distances between the surfaces of two masks, weighted by surface area: HD95 and surface Dice.

The surface is that of Nikolov et al. 2021 (JMIR 23(7):e26151, arXiv 1809.04430; package surface-distance of DeepMind,
Apache License 2.0), on which BraTS 2023's distances rest: an element lies between 2 x 2 x 2 voxels that are not all in
the mask or all outside of it, and has the area of the triangles that marching cubes lays between them. Beyond the
volume's border there is nothing, so a mask at the border has a surface there too.

MONAI's ``compute_surface_dice(use_subvoxels=True)`` has the same definition, and the tests hold this against it. It has
no HD95 of that definition (its own counts border voxels, whatever their area), and importing it takes 8 s of CPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Mask = NDArray[np.bool_]

# The diagonal of BraTS's 240 x 240 x 155 mm volume, rounded up: what github.com/rachitsaluja/BraTS-2023-Metrics gives
# where one of two masks is empty.
HD95_EMPTY_MM = 374.0
TOLERANCE_MM = 1.0
# Positions in mm are rounded products: a distance of one voxel of 1 mm must not count as more than 1 mm.
ROUNDING_MM = 1e-6

# The triangles of each kind of neighbourhood, as the lengths of their area vectors along the three axes in eighths of a
# voxel's face; bit 4i + 2j + k of the code tells whether voxel (i, j, k) is in the mask. All others are these turned,
# mirrored or with inside and outside exchanged (found so in surface-distance 0.1's table of 256 entries).
_KINDS = {
    0b00000001: ((1, 1, 1),),
    0b00000011: ((2, 2, 0), (2, 2, 0)),
    0b00000110: ((1, 1, 1), (1, 1, 1)),
    0b00000111: ((1, 1, 1), (2, 2, 2), (4, 0, 0)),
    0b00001111: ((4, 0, 0), (4, 0, 0)),
    0b00010110: ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    0b00010111: ((1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2)),
    0b00011000: ((1, 1, 1), (1, 1, 1)),
    0b00011001: ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
    0b00011011: ((0, 2, 2), (1, 1, 1), (2, 0, 2), (3, 3, 3)),
    0b00011110: ((1, 1, 1), (1, 1, 1), (2, 2, 2), (4, 0, 0)),
    0b00111100: ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0)),
    0b01101001: ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
}


@dataclass(frozen=True)
class SurfaceDistances:
    """Every surface element of two masks: the distance in mm to the other surface, and the area in mm2.

    Attributes:
        to_truth_mm: of the prediction's N elements, (N,).
        prediction_mm2: their areas, (N,).
        to_prediction_mm: of the truth's M elements, (M,).
        truth_mm2: their areas, (M,).
    """

    to_truth_mm: NDArray[np.float64]
    prediction_mm2: NDArray[np.float64]
    to_prediction_mm: NDArray[np.float64]
    truth_mm2: NDArray[np.float64]


def surface_distances(prediction: Mask, truth: Mask, spacing_mm: Sequence[float]) -> SurfaceDistances:
    """Distances between the surfaces of two masks, both ways.

    Args:
        prediction: (H, W, D), not empty. Cut to the masks' box, it takes a fraction of the time.
        truth: (H, W, D), not empty.
        spacing_mm: voxel size along H, W, D.
    """
    codes = [neighbourhood_codes(mask) for mask in (prediction, truth)]
    # Neither all outside (0) nor all inside (255, which wraps round to 0).
    borders = [code + np.uint8(1) > 1 for code in codes]
    points = [np.argwhere(border) * np.asarray(spacing_mm, float) for border in borders]
    # Elements that lie on each other need no search, and of good predictions that is most of them.
    shared = [other[border] for border, other in zip(borders, reversed(borders), strict=True)]
    to_truth, to_prediction = (
        _nearest_mm(mine, other, known) for mine, other, known in zip(points, reversed(points), shared, strict=True)
    )
    areas = surface_areas(tuple(map(float, spacing_mm)))
    prediction_mm2, truth_mm2 = (areas[code[border]] for code, border in zip(codes, borders, strict=True))
    return SurfaceDistances(to_truth, prediction_mm2, to_prediction, truth_mm2)


def hd95_mm(distances: SurfaceDistances) -> float:
    """95 % Hausdorff distance in mm: the greater of both ways' 95th percentiles by area (Nikolov et al. 2021)."""
    return max(
        _percentile(distances.to_truth_mm, distances.prediction_mm2, 0.95),
        _percentile(distances.to_prediction_mm, distances.truth_mm2, 0.95),
    )


def surface_dice(distances: SurfaceDistances, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Share of both surfaces' area that lies within ``tolerance_mm`` of the other surface (Nikolov et al. 2021)."""
    limit = tolerance_mm + ROUNDING_MM
    near = distances.prediction_mm2[distances.to_truth_mm <= limit].sum()
    near += distances.truth_mm2[distances.to_prediction_mm <= limit].sum()
    return float(near / (distances.prediction_mm2.sum() + distances.truth_mm2.sum()))


def neighbourhood_codes(mask: Mask) -> NDArray[np.uint8]:
    """A code for every 2 x 2 x 2 neighbourhood, those that reach over the volume's border included.

    Args:
        mask: (H, W, D).

    Returns:
        (H + 1, W + 1, D + 1); at n stand the voxels n - 1 and n of each axis.
    """
    padded = np.pad(mask, 1).view(np.uint8)
    pairs = padded[:, :, :-1] | (padded[:, :, 1:] << 1)
    squares = pairs[:, :-1] | (pairs[:, 1:] << 2)
    return squares[:-1] | (squares[1:] << 4)


@lru_cache(maxsize=8)
def surface_areas(spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Area in mm2 of the surface in each of the 256 neighbourhoods, (256,)."""
    x, y, z = spacing_mm
    faces = np.array([y * z, x * z, x * y]) / 8
    table = np.zeros(256)
    for code, triangles in _KINDS.items():
        corners = np.unpackbits(np.array([code], np.uint8), bitorder="little").reshape(2, 2, 2)
        for order in itertools.permutations(range(3)):
            area = np.linalg.norm(np.array(triangles)[:, order] * faces, axis=1).sum()
            for mirrored in itertools.product((1, -1), repeat=3):
                turned = corners.transpose(order)[tuple(slice(None, None, step) for step in mirrored)]
                other = int(np.packbits(turned.ravel(), bitorder="little")[0])
                table[[other, 255 - other]] = area
    return table


def _nearest_mm(
    points: NDArray[np.float64], others: NDArray[np.float64], shared: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Distance of each of ``points`` (N, 3) to the nearest of ``others`` (M, 3); ``shared`` ones are among them."""
    distances = np.zeros(len(points))
    if not shared.all():
        # Neither balanced nor compact: built once for one search, the quicker way to build is the quicker way.
        tree = cKDTree(others, leafsize=32, balanced_tree=False, compact_nodes=False)
        distances[~shared] = tree.query(points[~shared])[0]
    return distances


def _percentile(distances_mm: NDArray[np.float64], areas_mm2: NDArray[np.float64], share: float) -> float:
    """The smallest distance that ``share`` of the area does not exceed."""
    order = np.argsort(distances_mm)
    covered = np.cumsum(areas_mm2[order])
    index = np.searchsorted(covered, share * covered[-1])
    return float(distances_mm[order[min(index, len(order) - 1)]])
