"""Gliomas for the hard phantom: ring-shaped, solid, patchy or not enhancing, of all sizes, with borders that fade.

A tissue's share of a voxel fades over some mm, and the truth is drawn through it where one annotator might: not where
an intensity reaches half of its height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from scripts.phantom.anatomy import Anatomy, Grid, Push, Volume, blur_mm, load_templates, smooth_field
from scripts.phantom.lesions import CORE, EDEMA, ENHANCING, level, part_at

# Measured in 10 BraTS patients: whole tumours of 31 to 236 ml; cores of 7 to 81 % of them; 0 to 73 % of the core
# enhancing, in 3 of 10 nothing; one lesion of more than 1 ml each. The ranges here go over and beyond.
WHOLE_ML, USUAL_WHOLE_ML = (6.0, 300.0), 110.0
COUNTS, COUNT_SHARES = (1, 2, 3), (0.78, 0.16, 0.06)
APART_MM = 35.0


class Pattern(Enum):
    """How a tumour core takes up contrast agent."""

    RING = "ring"
    SOLID = "solid"
    PATCHY = "patchy"
    NONE = "none"


PATTERN_SHARES = {Pattern.RING: 0.36, Pattern.SOLID: 0.16, Pattern.PATCHY: 0.24, Pattern.NONE: 0.24}
CORE_SHARE = {
    Pattern.RING: (0.15, 0.8),
    Pattern.SOLID: (0.04, 0.5),
    Pattern.PATCHY: (0.15, 0.9),
    Pattern.NONE: (0.2, 0.9),
}


@dataclass(frozen=True)
class Glioma:
    """One lesion, planned in template coordinates before there is a grid.

    Attributes:
        lobes_mm: (L, 3) template coordinates of the middles of the balls that the core is merged from.
        radii_mm: (L,) their radii.
        stretch: (3, 3) matrix from mm to the lesion's round space, determinant 1.
        core_ml, edema_ml: volumes wanted of the tumour core and of the edema around it.
        pattern: of its contrast uptake.
        rim_mm: thickness of a ring.
        uptake: share of a patchy core that enhances, or of a ring that is closed.
        core_fade_mm, edema_fade_mm: widths over which the borders fade.
        rough: how irregular its outline is, as a share of the radius.
        mass: how much it pushes its surroundings.
    """

    lobes_mm: NDArray[np.float64]
    radii_mm: NDArray[np.float64]
    stretch: NDArray[np.float64]
    core_ml: float
    edema_ml: float
    pattern: Pattern
    rim_mm: float
    uptake: float
    core_fade_mm: float
    edema_fade_mm: float
    rough: float
    mass: float

    @property
    def push(self) -> Push:
        """What the lesion does to the tissue around it."""
        return Push(self.lobes_mm[0], self.mass, 1.3 * float(self.radii_mm[0]))


@dataclass(frozen=True)
class Tumours:
    """All lesions of a case on a grid; every array is (H, W, D).

    Attributes:
        label: the truth, uint8, ids of scheme ``msd``.
        edema, solid, necrosis, enhancing: shares of the voxels, summing to 1 at most.
    """

    label: NDArray[np.uint8]
    edema: Volume
    solid: Volume
    necrosis: Volume
    enhancing: Volume


def plan_gliomas(rng: np.random.Generator) -> list[Glioma]:
    """One to three lesions of one pattern, the largest first."""
    pattern = list(PATTERN_SHARES)[rng.choice(len(PATTERN_SHARES), p=list(PATTERN_SHARES.values()))]
    count = int(rng.choice(COUNTS, p=COUNT_SHARES))
    total = float(np.exp(rng.triangular(*np.log([WHOLE_ML[0], USUAL_WHOLE_ML, WHOLE_ML[1]]))))
    shares = np.sort(rng.dirichlet(np.full(count, 1.2)))[::-1]
    return [
        _plan(rng, pattern, centre, max(total * share, 1.0))
        for share, centre in zip(shares, _centres(rng, count), strict=False)
    ]


def _plan(rng: np.random.Generator, pattern: Pattern, centre: NDArray[np.float64], whole_ml: float) -> Glioma:
    core_ml = whole_ml * rng.uniform(*CORE_SHARE[pattern])
    radius = (core_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
    lobes = rng.integers(1, 5)
    offsets = rng.standard_normal((lobes, 3)) * 0.7 * radius
    offsets[0] = 0
    axes = np.exp(rng.normal(0, 0.25, 3))
    axes /= np.prod(axes) ** (1 / 3)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return Glioma(
        lobes_mm=centre + offsets,
        radii_mm=radius * np.concatenate([[1.0], rng.uniform(0.3, 0.9, lobes - 1)]),
        stretch=np.diag(1 / axes) @ turn,
        core_ml=core_ml,
        edema_ml=whole_ml - core_ml,
        pattern=pattern,
        rim_mm=float(np.exp(rng.uniform(np.log(2.5), np.log(9.0)))),
        uptake=float(rng.uniform(0.02, 0.5) if pattern is Pattern.PATCHY else rng.uniform(0.55, 1.0)),
        core_fade_mm=rng.uniform(0.4, 2.2),
        edema_fade_mm=rng.uniform(0.6, 4.0),
        rough=rng.uniform(0.1, 0.4),
        mass=rng.uniform(0.05, 0.5),
    )


def _centres(rng: np.random.Generator, count: int) -> list[NDArray[np.float64]]:
    """Places in white matter of the hemispheres, at times of the corpus callosum, and rarely below the tentorium."""
    templates = load_templates()
    voxels = np.argwhere((templates.white[::2, ::2, ::2] > 0.6) & (templates.depth_mm > 7)) * 2.0
    to_world = np.linalg.inv(templates.to_voxel)
    places = voxels @ to_world[:3, :3].T + to_world[:3, 3]
    lowest = -60.0 if rng.random() < 0.05 else -28.0
    places = places[(places[:, 2] > lowest) & (np.abs(places[:, 0]) > (0 if rng.random() < 0.1 else 12))]
    centres: list[NDArray[np.float64]] = []
    for _ in range(count):
        if not len(places):
            break
        centres.append(places[rng.integers(len(places))])
        places = places[np.linalg.norm(places - centres[-1], axis=1) > APART_MM]
    return centres


def draw_gliomas(rng: np.random.Generator, gliomas: Sequence[Glioma], anatomy: Anatomy, grid: Grid) -> Tumours:
    """Grow the lesions into the anatomy."""
    tumours = Tumours(np.zeros(grid.shape, np.uint8), *(np.zeros(grid.shape, np.float32) for _ in range(4)))
    white = blur_mm(anatomy.white, 2.0, grid)
    fluid = blur_mm(anatomy.fluid, 1.5, grid)
    for glioma in gliomas:
        _grow(rng, glioma, anatomy, white, fluid, tumours, grid)
    return tumours


def _grow(
    rng: np.random.Generator,
    glioma: Glioma,
    anatomy: Anatomy,
    white: Volume,
    fluid: Volume,
    tumours: Tumours,
    grid: Grid,
) -> None:
    """Add one lesion to ``tumours``, in place; ``white`` and ``fluid`` are the tissue around each voxel."""
    distance = _rough_distance(rng, glioma, anatomy, grid)
    # Tumours go round ventricles and stop at fissures rather than filling them.
    distance += 14 * fluid
    free = anatomy.brain & (tumours.label == 0)
    solid = free & (anatomy.fluid < 0.8)
    distance -= level(distance[solid], glioma.core_ml / grid.voxel_ml)
    # Edema spreads along white matter, in fingers, and spares cortex: the way through cortex counts as longer.
    reach = (0.15 + 0.85 * white) * np.exp(rng.uniform(0.2, 0.6) * smooth_field(rng, grid, 11.0))
    spread = np.where(distance > 0, distance / reach, distance)
    wet = free & (anatomy.fluid < 0.5)
    spread -= level(spread[wet], (glioma.core_ml + glioma.edema_ml) / grid.voxel_ml)
    core_share = np.where(solid, _fade(distance, glioma.core_fade_mm), 0)
    edema_share = np.where(wet, np.maximum(_fade(spread, glioma.edema_fade_mm), core_share), core_share) - core_share
    uptake = _uptake(rng, glioma, distance, grid)

    # The annotator's line: off by a little everywhere, and by a little more in places.
    line = rng.normal(0, 0.4) + rng.uniform(0.1, 0.7) * smooth_field(rng, grid, 9.0)
    core = part_at(solid & (distance < line), distance)
    whole = part_at((wet & (spread < line * (1 + 0.5 * glioma.edema_fade_mm))) | core, distance)
    tumours.label[whole] = EDEMA
    tumours.label[core] = CORE
    tumours.label[core & (uptake > rng.uniform(0.35, 0.65))] = ENHANCING

    left = 1 - (tumours.edema + tumours.solid + tumours.necrosis + tumours.enhancing)
    core_share, edema_share = core_share * left, edema_share * left
    rotten = (1 - uptake) * _necrosis(rng, glioma, distance, grid)
    tumours.enhancing[...] += core_share * uptake
    tumours.necrosis[...] += core_share * rotten
    tumours.solid[...] += core_share * (1 - uptake - rotten)
    tumours.edema[...] += edema_share


def _rough_distance(rng: np.random.Generator, glioma: Glioma, anatomy: Anatomy, grid: Grid) -> Volume:
    """About the distance in mm from the surface of the merged balls (negative inside), (H, W, D)."""
    nearest = np.full(grid.shape, np.inf, np.float32)
    for lobe, radius in zip(glioma.lobes_mm, glioma.radii_mm, strict=True):
        offset = anatomy.place - lobe[:, None, None, None].astype(np.float32)
        round_space = np.tensordot(glioma.stretch.astype(np.float32), offset, axes=1)
        np.minimum(nearest, np.sqrt(np.square(round_space).sum(axis=0)) - np.float32(radius), out=nearest)
    size = np.float32(glioma.rough * glioma.radii_mm[0])
    for knot_mm, share in ((18.0, 0.8), (9.0, 0.4), (5.0, 0.15)):
        nearest += share * size * smooth_field(rng, grid, knot_mm)
    return nearest


def _fade(distance: Volume, width_mm: float) -> Volume:
    """1 well inside, 0 well outside, a half on the surface; the logistic function of the distance over its width."""
    return 1 / (1 + np.exp(np.clip(distance / np.float32(0.5 * width_mm), -30, 30)))


def _uptake(rng: np.random.Generator, glioma: Glioma, distance: Volume, grid: Grid) -> Volume:
    """Share of the core's tissue that enhances, (H, W, D)."""
    wave = smooth_field(rng, grid, rng.uniform(6, 16))
    # The fields are nearly normal, so this level leaves about the share ``uptake`` below it.
    limit = np.float32(np.log(glioma.uptake / max(1 - glioma.uptake, 1e-3)) / 1.7)
    below = _fade(wave - limit, 0.5)
    if glioma.pattern is Pattern.NONE:
        return np.zeros_like(distance)
    if glioma.pattern is Pattern.PATCHY:
        return below
    rim = np.float32(glioma.rim_mm) * np.exp(0.35 * smooth_field(rng, grid, 12.0))
    if glioma.pattern is Pattern.SOLID:
        # Only the innermost part is without vessels, and of a small one nothing.
        rim = np.maximum(2.0 * rim, 0.6 * np.float32(glioma.radii_mm[0]))
    return _fade(-(distance + rim), 1.0) * below


def _necrosis(rng: np.random.Generator, glioma: Glioma, distance: Volume, grid: Grid) -> Volume:
    """Share of what does not enhance that is dead or cystic rather than solid tumour, (H, W, D)."""
    usual = {Pattern.RING: (0.0, 3.0), Pattern.SOLID: (0.0, 2.0), Pattern.PATCHY: (-2.0, 2.0), Pattern.NONE: (-3, 2)}
    deep = np.clip(-distance / 6, 0, 1)
    return _fade(-(rng.uniform(*usual[glioma.pattern]) + smooth_field(rng, grid, 14.0)), 1.0) * deep
