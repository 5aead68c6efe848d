"""Tumours for the phantom: nested edema, core and enhancing rim, varied in number, place, size and shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scripts.phantom.anatomy import Anatomy, Grid, Mask, Push, Volume, blur_mm, load_templates, smooth_field

# Label ids of scheme ``msd`` in scripts.labels, the one that the phantom's dataset.json declares.
EDEMA, CORE, ENHANCING = 1, 2, 3

# Every fourth case has a lesion without contrast uptake: a fixed share, so that a small split has its part of them.
NON_ENHANCING_EVERY = 4


@dataclass(frozen=True)
class Lesion:
    """One lesion, planned in template coordinates before there is a grid.

    Attributes:
        centre_mm: template coordinates of its middle, in white matter.
        stretch: (3, 3) matrix from mm to the lesion's round space, determinant 1.
        core_ml, edema_ml: volumes wanted of the tumour core and of the edema around it.
        enhancing: whether the core has a rim that takes up contrast agent.
    """

    centre_mm: NDArray[np.float64]
    stretch: NDArray[np.float64]
    core_ml: float
    edema_ml: float
    enhancing: bool

    @property
    def core_radius_mm(self) -> float:
        """Radius of the ball that has the core's volume."""
        return float((self.core_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3))

    @property
    def push(self) -> Push:
        """What the lesion does to the tissue around it."""
        return Push(self.centre_mm, 0.35, 1.3 * self.core_radius_mm)


def plan_lesions(rng: np.random.Generator, index: int) -> list[Lesion]:
    """One to three lesions of a case, the largest first; together 20 to 120 ml of whole tumour."""
    enhancing = index % NON_ENHANCING_EVERY != NON_ENHANCING_EVERY - 1
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    total = float(np.exp(rng.uniform(np.log(28), np.log(105))))
    shares = {1: [1.0], 2: [0.7, 0.3], 3: [0.6, 0.22, 0.18]}[count]
    core_share = rng.uniform(0.27, 0.47)
    lesions: list[Lesion] = []
    for share, centre in zip(shares, _centres(rng, count), strict=True):
        axes = np.exp(rng.normal(0, 0.17, 3))
        axes /= np.prod(axes) ** (1 / 3)
        turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        core = total * share * core_share
        lesions.append(Lesion(centre, np.diag(1 / axes) @ turn, core, total * share - core, enhancing))
    return lesions


def _centres(rng: np.random.Generator, count: int) -> list[NDArray[np.float64]]:
    """Places deep enough in cerebral white matter, at least 45 mm apart."""
    templates = load_templates()
    white = templates.white[::2, ::2, ::2]
    voxels = np.argwhere((white > 0.7) & (templates.depth_mm > 12)) * 2.0
    places = voxels @ np.linalg.inv(templates.to_voxel)[:3, :3].T + np.linalg.inv(templates.to_voxel)[:3, 3]
    # Gliomas of adults lie in the hemispheres: above the cerebellum and brain stem, off the midline.
    places = places[(places[:, 2] > -12) & (np.abs(places[:, 0]) > 16)]
    centres: list[NDArray[np.float64]] = []
    for _ in range(count):
        centre = places[rng.integers(len(places))]
        centres.append(centre)
        places = places[np.linalg.norm(places - centre, axis=1) > 45]
    return centres


def draw_lesions(
    rng: np.random.Generator, lesions: Sequence[Lesion], anatomy: Anatomy, grid: Grid
) -> NDArray[np.uint8]:
    """The label map of a case, (H, W, D), ids of scheme ``msd``."""
    label = np.zeros(grid.shape, np.uint8)
    white = blur_mm(anatomy.white, 2.0, grid)
    fluid = blur_mm(anatomy.fluid, 1.5, grid)
    for lesion in lesions:
        distance = _rough_distance(rng, lesion, anatomy, grid)
        # Tumours go round ventricles and stop at fissures rather than filling them.
        distance += 14 * fluid
        solid = anatomy.brain & (anatomy.fluid < 0.8) & (label == 0)
        edge = level(distance[solid], lesion.core_ml / grid.voxel_ml)
        core = part_at(solid & (distance < edge), distance)
        distance -= edge
        # Edema spreads along white matter and spares cortex, so the way through cortex counts as longer.
        reach = (0.2 + 0.8 * white) * np.exp(0.4 * smooth_field(rng, grid, 12.0))
        spread = np.where(distance > 0, distance / reach, distance)
        wet = anatomy.brain & (anatomy.fluid < 0.5) & (label == 0)
        limit = level(spread[wet], (lesion.core_ml + lesion.edema_ml) / grid.voxel_ml)
        whole = part_at((wet & (spread < limit)) | core, distance)
        label[whole] = EDEMA
        label[core] = CORE
        thickness = np.clip(5.2 + 0.9 * smooth_field(rng, grid, 12.0), 4.2, 8.0)
        gap = smooth_field(rng, grid, 18.0) < -0.8
        if lesion.enhancing:
            label[_rim(core, thickness, grid) & ~gap] = ENHANCING
    return label


def _rough_distance(rng: np.random.Generator, lesion: Lesion, anatomy: Anatomy, grid: Grid) -> Volume:
    """About the distance in mm from the surface of the core (negative inside), with an irregular outline, (H, W, D)."""
    offset = anatomy.place - lesion.centre_mm[:, None, None, None].astype(np.float32)
    round_space = np.tensordot(lesion.stretch.astype(np.float32), offset, axes=1)
    distance = np.sqrt(np.square(round_space).sum(axis=0)) - np.float32(lesion.core_radius_mm)
    radius = np.float32(lesion.core_radius_mm)
    distance += 0.2 * radius * smooth_field(rng, grid, 16.0)
    distance += 0.06 * radius * smooth_field(rng, grid, 7.0)
    return distance


def level(values: Volume, voxels: float) -> np.float32:
    """The value that ``voxels`` of the values lie below."""
    nth = min(max(round(voxels), 1), len(values) - 1)
    return np.partition(values, nth)[nth]


def part_at(mask: Mask, distance: Volume) -> Mask:
    """The connected part of ``mask`` that holds the lesion's innermost voxel; islands are cut away, holes filled."""
    parts, _ = ndimage.label(mask)
    inner = np.argmin(np.where(mask, distance, np.inf))
    return parts == parts.ravel()[inner]


def _rim(core: Mask, thickness_mm: Volume, grid: Grid) -> Mask:
    """The outer shell of ``core``, at least two voxels thick at 2 mm and one on coarser grids."""
    box = tuple(
        slice(max(found.start - 1, 0), found.stop + 1) for found in ndimage.find_objects(core.astype(np.uint8))[0]
    )
    inside = ndimage.distance_transform_edt(core[box], sampling=grid.spacing_mm)
    rim = np.zeros_like(core)
    rim[box] = core[box] & (inside <= np.maximum(thickness_mm[box], 1.01 * grid.spacing_mm))
    return rim
