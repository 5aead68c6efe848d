"""A different healthy brain for every phantom patient, bent from the MNI152 templates that the nilearn wheel carries.

Everything is laid out in mm and drawn from generators that do not see the voxel grid, so the same patient can be made
at any spacing. Nothing here uses the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Middle of the MNI152 brain (it reaches from -72 to 72, -107 to 73 and -72 to 82 mm): the middle of every grid.
CENTRE_MM = np.array([0.0, -17.0, 5.0])
# Field of view in mm (x, y, z) that holds every brain made here: the largest scale and the largest bending.
BRAIN_BOX_MM = (154.0, 188.0, 154.0)
# Random fields are drawn for this half-width around the centre, whatever part of it a grid shows.
_FIELD_HALF_MM = 128.0


@dataclass(frozen=True)
class Grid:
    """The voxel grid of a phantom volume; voxel axes run to the left, back and up, as in the BraTS files.

    Attributes:
        shape: voxels along (H, W, D).
        spacing_mm: edge of the cubic voxels.
    """

    shape: tuple[int, int, int]
    spacing_mm: float

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel index to RAS world mm, (4, 4); the grid's middle lies on the brain's."""
        signs = np.array([-1.0, -1.0, 1.0])
        affine = np.diag([*(signs * self.spacing_mm), 1.0])
        affine[:3, 3] = CENTRE_MM - signs * self.spacing_mm * (np.array(self.shape) - 1) / 2
        return affine

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return self.spacing_mm**3 / 1000

    def world(self) -> tuple[Volume, Volume, Volume]:
        """World x, y and z in mm, shaped (H, 1, 1), (1, W, 1) and (1, 1, D) to broadcast."""
        affine = self.affine
        x, y, z = (
            (affine[axis, axis] * np.arange(size) + affine[axis, 3]).astype(np.float32)
            for axis, size in enumerate(self.shape)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]


@dataclass(frozen=True)
class Templates:
    """The MNI152 maps, all (197, 233, 189) at 1 mm but ``depth_mm``, which is every second voxel of them.

    Attributes:
        grey, white, brain: share of a voxel that is grey matter, white matter, inside the brain.
        depth_mm: distance to the outside of the brain.
        to_voxel: world mm to voxel index of the 1 mm maps, (4, 4).
    """

    grey: Volume
    white: Volume
    brain: Volume
    depth_mm: Volume
    to_voxel: NDArray[np.float64]


@dataclass(frozen=True)
class Anatomy:
    """One patient's healthy brain on a grid; every array is (H, W, D) but ``place``.

    Attributes:
        grey, white, fluid: tissue shares, summing to 1 in the brain and to 0 outside.
        brain: the mask that a skull-stripping tool would leave.
        depth_mm: distance to the brain's surface, in template mm.
        place: (3, H, W, D) template coordinates in mm from before the tumour pushed the tissue aside.
    """

    grey: Volume
    white: Volume
    fluid: Volume
    brain: Mask
    depth_mm: Volume
    place: Volume


@dataclass(frozen=True)
class Push:
    """Tissue pushed away from a point, or drawn towards it: ``amount`` at the centre, Gaussian in ``width_mm``."""

    centre_mm: NDArray[np.float64]
    amount: float
    width_mm: float


@lru_cache(maxsize=1)
def load_templates() -> Templates:
    """The MNI152 2009a symmetric maps (Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033) out of nilearn."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    t1 = load_mni152_template(resolution=1)
    grey, white = (
        np.asarray(load(resolution=1).dataobj, dtype=np.float32)
        for load in (load_mni152_gm_template, load_mni152_wm_template)
    )
    brain = np.asarray(t1.dataobj) > 0
    depth = ndimage.distance_transform_edt(brain[::2, ::2, ::2], sampling=2.0).astype(np.float32)
    return Templates(grey, white, brain.astype(np.float32), depth, np.linalg.inv(t1.affine))


def smooth_field(rng: np.random.Generator, grid: Grid, knot_mm: float) -> Volume:
    """A random smooth field of mean 0 and variance 1 over the grid, (H, W, D).

    A tensor product of uniform cubic B-splines on random coefficients ``knot_mm`` apart. The knots lie in the world,
    not in the grid, and only four of them touch a voxel, so the sum is cheap and in a fixed order.
    """
    knots = int(np.ceil(2 * _FIELD_HALF_MM / knot_mm)) + 4
    field = rng.standard_normal((knots, knots, knots), dtype=np.float32)
    # The variance of four neighbouring B-spline weights on white noise is 151/315 an axis, on average over a cell.
    field /= np.float32((151 / 315) ** 1.5)
    for axis, world in enumerate(grid.world()):
        at = np.clip((world.ravel() - CENTRE_MM[axis] + _FIELD_HALF_MM) / knot_mm, 0, knots - 4 - 1e-3)
        first = np.floor(at).astype(np.intp)
        t = (at - first).astype(np.float32)
        weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        column = [1, 1, 1]
        column[axis] = -1
        field = sum(
            np.take(field, first + tap, axis=axis) * (weight / 6).reshape(column) for tap, weight in enumerate(weights)
        )
    return field


def blur_mm(volume: Volume, sigma_mm: float, grid: Grid) -> Volume:
    """Gaussian blur with a width in mm."""
    return ndimage.gaussian_filter(volume, sigma_mm / grid.spacing_mm, truncate=3.0)


def random_place(rng: np.random.Generator, grid: Grid) -> Volume:
    """Where in the template every voxel's tissue comes from: (3, H, W, D) in mm, a random affine and smooth bending."""
    # Measured on BraTS patients, skull-stripped brains are about 140 x 175 x 140 mm, a little less than MNI152.
    scale = rng.uniform([0.91, 0.91, 0.87], [0.98, 0.98, 0.93])
    tilt, nod, turn = np.radians(rng.uniform(-3, 3, 3))
    matrix = _rotation(tilt, nod, turn) @ np.diag(1 / scale)
    matrix[0, 1] += rng.uniform(-0.02, 0.02)
    world = [axis - np.float32(middle) for axis, middle in zip(grid.world(), CENTRE_MM, strict=True)]
    place = np.empty((3, *grid.shape), np.float32)
    for row in range(3):
        place[row] = sum(np.float32(matrix[row, axis]) * world[axis] for axis in range(3))
        place[row] += np.float32(CENTRE_MM[row])
        # Lobes differ by some mm, single folds by about one; more would tear the map or leave BRAIN_BOX_MM.
        for knot_mm, amount_mm in ((45.0, 2.2), (15.0, 0.9)):
            place[row] += amount_mm * np.clip(smooth_field(rng, grid, knot_mm), -2, 2)
    return place


def make_anatomy(rng: np.random.Generator, place: Volume, pushes: Sequence[Push], grid: Grid) -> Anatomy:
    """Fill the bent template with tissue.

    Args:
        rng: draws the size of the ventricles.
        place: (3, H, W, D), of :func:`random_place`.
        pushes: what the lesions do to the tissue around them.
        grid: the voxel grid of ``place``.
    """
    templates = load_templates()
    widening = rng.uniform(-0.1, 0.35)
    ventricles = [Push(np.array([side, -12.0, 16.0]), widening, 16.0) for side in (-14.0, 14.0)]
    everywhere = np.ones(grid.shape, dtype=bool)
    mask = _largest_part(_sample(templates.brain, place, everywhere, templates) > 0.5)
    depth = _sample(templates.depth_mm, place, mask, templates, step_mm=2)
    # The skull holds what is next to it where it is.
    free = np.clip(depth / 15, 0, 1)
    source = place.copy()
    for push in (*ventricles, *pushes):
        offset = place - push.centre_mm[:, None, None, None].astype(np.float32)
        pull = np.exp(np.square(offset).sum(axis=0) / np.float32(-2 * push.width_mm**2))
        source -= offset * (np.float32(push.amount) * pull * free)
    grey = _sample(templates.grey, source, mask, templates)
    white = _sample(templates.white, source, mask, templates)
    fluid = np.where(mask, np.clip(1 - grey - white, 0, 1), 0)
    # The template is the mean of 152 people: shares to a power above 1 give edges as sharp as one person's.
    grey, white, fluid = (share ** np.float32(1.6) for share in (grey, white, fluid))
    total = np.maximum(grey + white + fluid, np.float32(1e-6))
    return Anatomy(grey / total, white / total, fluid / total, mask, depth, place)


def _sample(volume: Volume, place: Volume, where: Mask, templates: Templates, step_mm: int = 1) -> Volume:
    """A template map on the grid, (H, W, D): its values at ``place``, (3, H, W, D) in mm, and 0 outside ``where``.

    ``step_mm`` is the map's voxel edge.
    """
    scale = (np.diag(templates.to_voxel)[:3] / step_mm).astype(np.float32)
    shift = (templates.to_voxel[:3, 3] / step_mm).astype(np.float32)
    voxel = place[:, where] * scale[:, None] + shift[:, None]
    result = np.zeros(where.shape, np.float32)
    result[where] = ndimage.map_coordinates(volume, voxel, order=1, output=np.float32)
    return result


def _largest_part(mask: Mask) -> Mask:
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])


def _rotation(tilt: float, nod: float, turn: float) -> NDArray[np.float64]:
    """Rotation by angles (radians) about y, x and z."""
    cy, sy, cx, sx, cz, sz = np.cos(tilt), np.sin(tilt), np.cos(nod), np.sin(nod), np.cos(turn), np.sin(turn)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y
