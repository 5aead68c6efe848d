"""What is in a hard phantom's head beside brain and tumour: folds, remains of the skull, and lesions of other kinds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from scripts.phantom.anatomy import Anatomy, Grid, Mask, Volume, smooth_field
from scripts.phantom.contrast import hyperintensities, vessels

Shares = dict[str, Volume]


def fold(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> Anatomy:
    """Cut sulci into the cortex, as deep and wide as one person's; the template, a mean of 152, has few."""
    strength, width = rng.uniform(0.2, 1.0), rng.uniform(0.06, 0.2)
    # A smooth field is near 0 along winding sheets, which look like sulci and the ribbon of cortex around them.
    sheet = np.abs(smooth_field(rng, grid, rng.uniform(13, 19)) + 0.2 * smooth_field(rng, grid, 7.0))
    shallow = np.clip((20 - anatomy.depth_mm) / 10, 0, 1) * (anatomy.place[2] > -30)
    gap = strength * shallow * np.exp(-np.square(sheet / width))
    ribbon = strength * shallow * np.exp(-np.square(sheet / (width + 0.25))) * (1 - gap)
    fluid = anatomy.fluid + gap * (1 - anatomy.fluid)
    rest = np.where(anatomy.brain, 1 - fluid, 0)
    white_share = anatomy.white / np.maximum(anatomy.white + anatomy.grey, np.float32(1e-6)) * (1 - ribbon)
    return replace(
        anatomy, fluid=np.where(anatomy.brain, fluid, 0), white=rest * white_share, grey=rest * (1 - white_share)
    )


def skull_remains(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> tuple[Mask, Volume, Volume]:
    """What skull stripping leaves at the brain's surface.

    Returns:
        The mask that was kept, (H, W, D); the shares of dark margin (bone, dura, flow) and of bright fat, (H, W, D).
    """
    thickness = np.maximum(rng.uniform(0.0, 4.5) * (1 + 0.5 * smooth_field(rng, grid, 25.0)), 0)
    margin = np.clip((thickness - anatomy.depth_mm) / 2 + 0.5, 0, 1) * (thickness > 0.5)
    margin = np.where(anatomy.brain, 0.9 * margin, 0).astype(np.float32)
    if rng.random() > 0.5:
        return anatomy.brain, margin, np.zeros_like(margin)
    # Orbits and the temporal muscles: in front and below, up to a centimetre out.
    x, y, z = anatomy.place
    reach = rng.uniform(2, 12) * np.clip(smooth_field(rng, grid, 16.0) - rng.uniform(0.2, 1.2), 0, 1)
    reach *= np.clip((10 - z) / 20, 0, 1) * np.clip((y + 30) / 40, 0, 1)
    outside = ndimage.distance_transform_edt(~anatomy.brain, sampling=grid.spacing_mm) < reach
    remains = outside & ~anatomy.brain
    return anatomy.brain | remains, margin, np.where(remains, np.float32(0.8), 0).astype(np.float32)


def mimics(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> Shares:
    """Findings that a detector of bright or dark voxels takes for a tumour; shares of each, (H, W, D), by tissue.

    Hyperintensities of the ageing white matter and caps of the ventricles; vessels, sinus and choroid plexus, which
    enhance; old infarcts and cysts, which are fluid in a bright border; blood, which is bright in T1.
    """
    nothing = np.zeros(grid.shape, np.float32)
    bright = hyperintensities(rng, anatomy, grid)
    if rng.random() < 0.5:
        bright = np.maximum(bright, _ventricle_caps(rng, anatomy, grid))
    cavity, blood = nothing, nothing
    if rng.random() < 0.2:
        cavity, border = _cavity(rng, anatomy, grid)
        bright = np.maximum(bright, border)
    if rng.random() < 0.2:
        blood = _blob(rng, anatomy, grid, radius_mm=(3.0, 10.0), sharpness=4.0)
    return {"fluid": cavity, "hyperintensity": bright, "vessel": vessels(rng, anatomy, grid), "blood": blood}


def _ventricle_caps(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> Volume:
    """White matter next to the ventricles that is bright in FLAIR, in some people all around them."""
    deep_fluid = np.where(anatomy.depth_mm > 20, anatomy.fluid, 0)
    around = ndimage.gaussian_filter(deep_fluid, rng.uniform(2, 5) / grid.spacing_mm)
    return np.clip(rng.uniform(0.5, 3.0) * around * (1 + 0.6 * smooth_field(rng, grid, 12.0)), 0, 1) * anatomy.white


def _cavity(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> tuple[Volume, Volume]:
    """An old infarct or a cyst, and its border of gliosis; both (H, W, D)."""
    whole = _blob(rng, anatomy, grid, radius_mm=(5.0, 18.0), sharpness=2.0)
    inner = np.clip(1.6 * whole - rng.uniform(0.2, 1.0), 0, 1)
    return inner, np.clip(whole - inner, 0, 1) * np.float32(rng.uniform(0.2, 1.0))


def _blob(
    rng: np.random.Generator, anatomy: Anatomy, grid: Grid, radius_mm: tuple[float, float], sharpness: float
) -> Volume:
    """An irregular spot anywhere in the brain, 1 inside and 0 outside, (H, W, D)."""
    middle = rng.uniform([-60, -90, -30], [60, 60, 70])
    radius = rng.uniform(*radius_mm)
    offset = anatomy.place - middle[:, None, None, None].astype(np.float32)
    distance = np.sqrt(np.square(offset).sum(axis=0)) / np.float32(radius) - 1 + 0.35 * smooth_field(rng, grid, 9.0)
    spot = 1 / (1 + np.exp(np.clip(np.float32(sharpness) * 2 * distance, -30, 30)))
    return np.where(anatomy.brain, spot, 0).astype(np.float32)
