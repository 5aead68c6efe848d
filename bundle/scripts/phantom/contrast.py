"""Four MRI contrasts of a phantom patient: tissue intensities, distractors, bias field and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scripts.phantom.anatomy import Anatomy, Grid, Volume, blur_mm, smooth_field
from scripts.phantom.lesions import CORE, EDEMA, ENHANCING

# Mean intensity of each tissue in (FLAIR, T1w, T1gd, T2w), white matter in T1 = 1. Relations as in the BraTS patients
# looked at: fluid dark in all but T2w, edema bright in FLAIR, necrosis dark in T1gd and brightest in T2w.
INTENSITY = {
    "grey": (1.00, 0.78, 0.80, 1.00),
    "white": (0.80, 1.00, 1.00, 0.72),
    "fluid": (0.30, 0.36, 0.33, 2.40),
    "edema": (1.42, 0.80, 0.80, 1.40),
    "necrosis": (1.12, 0.54, 0.46, 2.05),
    "tumour": (1.30, 0.58, 0.50, 1.95),
    "enhancing": (1.34, 0.82, 1.68, 1.35),
    "vessel": (0.60, 0.80, 1.52, 0.70),
    "hyperintensity": (1.34, 0.86, 0.88, 1.15),
}
LESION_TISSUES = ("edema", "necrosis", "tumour", "enhancing")


def make_image(rng: np.random.Generator, anatomy: Anatomy, label: NDArray[np.uint8], grid: Grid) -> NDArray[np.int16]:
    """The four contrasts of a case as a scanner would number them, int16 of shape (H, W, D, 4), 0 outside the brain."""
    shares = _tissue_shares(rng, anatomy, label, grid)
    texture = 0.05 * (smooth_field(rng, grid, 6.0) + smooth_field(rng, grid, 12.0))
    lesion_share = sum(shares[name] for name in LESION_TISSUES)
    image = np.zeros((*grid.shape, 4), np.int16)
    means = {name: np.array(row) * np.exp(rng.normal(0, 0.045, 4)) for name, row in INTENSITY.items()}
    # Uptake of contrast agent differs widely between patients.
    means["enhancing"][2] *= rng.uniform(0.92, 1.15)
    for modality in range(4):
        signal = sum(share * np.float32(means[name][modality]) for name, share in shares.items())
        own = 0.05 * smooth_field(rng, grid, 9.0)
        signal *= 1 + lesion_share * (texture + own)
        signal *= 1 + 0.02 * smooth_field(rng, grid, 8.0)
        signal *= np.exp(0.09 * np.clip(smooth_field(rng, grid, 80.0), -2, 2))
        # A magnitude image has Rician noise: the modulus of a signal with Gaussian noise in both of its channels
        # (Gudbjartsson and Patz 1995, doi:10.1002/mrm.1910340618).
        sigma = np.float32(rng.uniform(0.025, 0.05))
        real = signal + sigma * rng.standard_normal(grid.shape, dtype=np.float32)
        imaginary = sigma * rng.standard_normal(grid.shape, dtype=np.float32)
        gain = np.float32(np.exp(rng.uniform(np.log(250), np.log(1500))))
        numbers = np.rint(gain * np.hypot(real, imaginary))
        # Skull-stripped: 0 is outside, so the brain has none.
        image[..., modality] = np.where(anatomy.brain, np.clip(numbers, 1, 32767), 0)
    return image


def _tissue_shares(
    rng: np.random.Generator, anatomy: Anatomy, label: NDArray[np.uint8], grid: Grid
) -> dict[str, Volume]:
    """Share of every tissue of INTENSITY in every voxel, each (H, W, D), summing to 1 in the brain."""
    enhances = bool((label == ENHANCING).any())
    shares = {"grey": anatomy.grey, "white": anatomy.white, "fluid": anatomy.fluid}
    for name, extra in (
        ("hyperintensity", hyperintensities(rng, anatomy, grid)),
        ("vessel", vessels(rng, anatomy, grid)),
    ):
        shares = {other: share * (1 - extra) for other, share in shares.items()}
        shares[name] = extra
    core = "necrosis" if enhances else "tumour"
    soft = {
        name: ndimage.gaussian_filter((label == value).astype(np.float32), 0.5)
        for name, value in (("edema", EDEMA), (core, CORE), ("enhancing", ENHANCING))
    }
    healthy = 1 - sum(soft.values())
    shares = {name: share * healthy for name, share in shares.items()}
    return {**{name: np.zeros(grid.shape, np.float32) for name in LESION_TISSUES}, **shares, **soft}


def hyperintensities(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> Volume:
    """White-matter hyperintensities of the ageing brain: bright in FLAIR like edema, but small and without a tumour."""
    deep_fluid = blur_mm(np.where(anatomy.depth_mm > 20, anatomy.fluid, 0), 3.0, grid)
    score = 0.8 * smooth_field(rng, grid, 8.0) + 0.6 * smooth_field(rng, grid, 5.0) + 5.0 * deep_fluid
    spots = 1 / (1 + np.exp(np.clip(-5 * (score - rng.uniform(1.7, 2.6)), -30, 30)))
    inland = np.clip((anatomy.depth_mm - 8) / 6, 0, 1)
    return (spots * inland * anatomy.white).astype(np.float32)


def vessels(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> Volume:
    """What enhances in a healthy brain: vessels in the fluid, the sagittal sinus, the choroid plexus."""
    x, y, z = anatomy.place
    around = blur_mm(anatomy.fluid, 1.5, grid)
    share = np.zeros(grid.shape, np.float32)
    for _ in range(2):
        # Two smooth fields are both near 0 along winding lines.
        lines = np.square(smooth_field(rng, grid, 13.0)) + np.square(smooth_field(rng, grid, 13.0))
        share = np.maximum(share, np.exp(lines / -0.06) * np.clip(4 * around, 0, 1))
    sinus = np.exp(-np.square(x / 2.2)) * np.clip((7 - anatomy.depth_mm) / 3, 0, 1) * (z > -15) * (y < 45)
    share = np.maximum(share, sinus)
    for side in (-1, 1):
        for px, py, pz, radius in ((23, -40, 8, 4.0), (15, -28, 16, 3.0), (8, -8, 19, 2.5)):
            squared = np.square(x - side * px) + np.square(y - py) + np.square(z - pz)
            share = np.maximum(share, np.exp(squared / np.float32(-(radius**2))) * np.clip(2 * anatomy.fluid, 0, 1))
    return np.where(anatomy.brain, 0.95 * share, 0).astype(np.float32)
