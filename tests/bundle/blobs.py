"""Random masks with several components, as lesions are, and distances between surfaces by all pairs of elements."""

from __future__ import annotations

import itertools

import numpy as np
from monai.metrics.utils import create_table_neighbour_code_to_surface_area
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

SHAPE = (14, 12, 10)
Mask = NDArray[np.bool_]


def blobs(seed: int, share: float = 0.25, shape: tuple[int, int, int] = SHAPE, sigma: float = 1.2) -> Mask:
    """A mask of about that share of the volume, cut off at its borders."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return noise > np.quantile(noise, 1 - share)


def pair(seed: int, share: float = 0.25) -> tuple[Mask, Mask]:
    """A prediction and a truth that overlap in part."""
    truth = blobs(seed, share)
    return np.roll(truth, 1, 0) ^ blobs(seed + 1000, 0.03), truth


def elements(mask: Mask, spacing_mm: tuple[float, float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions in mm (N, 3) and areas in mm2 (N,) of surface elements, one neighbourhood at a time; MONAI's areas."""
    table = np.asarray(create_table_neighbour_code_to_surface_area(spacing_mm)[0])
    padded = np.pad(mask, 1)
    found = []
    # Those that reach the mask: its voxel n is in the neighbourhoods n and n + 1.
    first, last = np.argwhere(mask).min(0), np.argwhere(mask).max(0)
    for place in itertools.product(*(range(low, high + 2) for low, high in zip(first, last, strict=True))):
        corners = padded[tuple(slice(i, i + 2) for i in place)].ravel()
        if corners.any() and not corners.all():
            found.append((place, table[sum(int(inside) << (7 - bit) for bit, inside in enumerate(corners))]))
    places, areas = zip(*found, strict=True)
    return np.array(places) * spacing_mm, np.array(areas, dtype=np.float64)


def brute_force(prediction: Mask, truth: Mask, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """HD95 in mm and surface Dice at 1 mm from the distances between all pairs of elements."""
    (points, areas), (others, other_areas) = (elements(mask, spacing_mm) for mask in (prediction, truth))
    distances = cdist(points, others)
    percentiles, near = [], 0.0
    for nearest, weights in ((distances.min(1), areas), (distances.min(0), other_areas)):
        limits = (d for d in np.unique(nearest) if weights[nearest <= d].sum() >= 0.95 * weights.sum())
        percentiles.append(next(limits))
        near += weights[nearest <= 1].sum()
    return max(percentiles), near / (areas.sum() + other_areas.sum())
