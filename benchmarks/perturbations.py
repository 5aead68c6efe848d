"""What benchmarks/robustness.py does to a case: a scan as another hospital, day or tool might have written it.

Each is a pure function of one image (H, W, D, C) of stored intensities and its affine; randomness comes from a seed.
Voxels that are 0 in all modalities are the blank around the brain and stay 0, as in skull-stripped data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]
Affine = NDArray[np.float64]

ORIENTATION = "other orientation"
NOISE_FACTOR = 3.0
# In standard deviations of the brain's intensities: three times the noise of a clean scan is hardly visible.
STRONG_NOISE = 0.3
# Order and size of the polynomial as torchio 0.20's RandomBiasField has them by default (after Sudre et al. 2017,
# doi:10.1007/978-3-319-68127-6_12): coefficients up to 0.5.
BIAS_ORDER, BIAS_COEFFICIENT = 3, 0.5
# Of the Laplacian in three dimensions, 26 neighbours less the slopes: Immerkaer 1996 (doi:10.1006/cviu.1996.0060).
_LINE = np.array([1.0, -2.0, 1.0])
_LAPLACIAN = _LINE[:, None, None] * _LINE[None, :, None] * _LINE[None, None, :]


@dataclass(frozen=True)
class Perturbation:
    """One way in which a case is changed.

    Attributes:
        name: in tables and file names.
        change: image (H, W, D, C), affine and seed to image and affine; a new array.
        moves: whether voxels change their place, so that the label map has to follow.
    """

    name: str
    change: Callable[[Image, Affine, int], tuple[Image, Affine]]
    moves: bool = False


def without(channel: int) -> Callable[[Image, Affine, int], tuple[Image, Affine]]:
    """A missing modality: its channel is 0 everywhere."""

    def change(image: Image, affine: Affine, seed: int) -> tuple[Image, Affine]:
        changed = image.copy()
        changed[..., channel] = 0
        return changed, affine

    return change


def noisier(image: Image, affine: Affine, seed: int) -> tuple[Image, Affine]:
    """Noise of ``NOISE_FACTOR`` times the standard deviation that each modality has."""
    brain = brain_of(image)
    levels = [noise_level(image[..., channel], brain) for channel in range(image.shape[-1])]
    return with_noise(image, [level * np.sqrt(NOISE_FACTOR**2 - 1) for level in levels], seed), affine


def much_noisier(image: Image, affine: Affine, seed: int) -> tuple[Image, Affine]:
    """Noise of ``STRONG_NOISE`` standard deviations of each modality in the brain, besides its own."""
    brain = brain_of(image)
    levels = [STRONG_NOISE * float(image[..., channel][brain].std()) for channel in range(image.shape[-1])]
    return with_noise(image, levels, seed), affine


def with_noise(image: Image, levels: Sequence[float], seed: int) -> Image:
    """Rician noise, as of a magnitude image, of a standard deviation a modality, over the brain."""
    rng, brain, changed = np.random.default_rng(seed), brain_of(image), image.copy()
    for channel, sigma in enumerate(levels):
        volume = image[..., channel]
        real, imaginary = (rng.normal(0, sigma, volume.shape).astype(np.float32) for _ in range(2))
        changed[..., channel] = np.where(brain, np.hypot(volume + real, imaginary), volume)
    return changed


def biased(image: Image, affine: Affine, seed: int) -> tuple[Image, Affine]:
    """A smooth field over each modality: the exponential of a polynomial of coordinates, -1 to 1 over the volume."""
    rng, changed = np.random.default_rng(seed), image.copy()
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape[:3]), indexing="ij", sparse=True)
    powers = [
        (i, j, k)
        for i in range(BIAS_ORDER + 1)
        for j in range(BIAS_ORDER + 1 - i)
        for k in range(BIAS_ORDER + 1 - i - j)
    ]
    for channel in range(image.shape[-1]):
        field = sum(
            rng.uniform(-BIAS_COEFFICIENT, BIAS_COEFFICIENT) * axes[0] ** i * axes[1] ** j * axes[2] ** k
            for i, j, k in powers
        )
        changed[..., channel] *= np.exp(field)
    return changed, affine


def reoriented(image: Image, affine: Affine, seed: int) -> tuple[Image, Affine]:
    """The same scan written with other axes: two flipped, and all in another order; the affine tells so."""
    turned = np.ascontiguousarray(image.transpose(2, 0, 1, *range(3, image.ndim))[::-1, :, ::-1])
    order = np.zeros((4, 4))
    # Columns: where a voxel step of the new axes leads in the old ones.
    order[2, 0], order[0, 1], order[1, 2], order[3, 3] = -1, 1, -1, 1
    order[2, 3], order[1, 3] = image.shape[2] - 1, image.shape[1] - 1
    return turned, affine @ order


def brain_of(image: Image) -> NDArray[np.bool_]:
    """Voxels with a signal in some modality, (H, W, D)."""
    return (image != 0).any(axis=-1)


def noise_level(volume: NDArray[np.float32], brain: NDArray[np.bool_]) -> float:
    """Standard deviation of the noise in a volume (H, W, D), from what a Laplacian along every axis leaves.

    Immerkaer's (1996) mean of magnitudes is replaced by the median, which edges move less; only voxels whose 26
    neighbours are brain as well are looked at.
    """
    inside = ndimage.binary_erosion(brain, np.ones((3, 3, 3), bool))
    residual = np.abs(ndimage.convolve(volume.astype(np.float64), _LAPLACIAN)[inside])
    # 0.6745 is the median of the magnitude of a standard normal; the kernel's norm scales white noise.
    return float(np.median(residual) / 0.6745 / np.linalg.norm(_LAPLACIAN))


def perturbations(modalities: Sequence[str]) -> list[Perturbation]:
    """All of them, for images of these channels."""
    return [
        *(Perturbation(f"no {name}", without(channel)) for channel, name in enumerate(modalities)),
        Perturbation("3x noise", noisier),
        Perturbation("strong noise", much_noisier),
        Perturbation("bias field", biased),
        Perturbation(ORIENTATION, reoriented, moves=True),
    ]
