"""Changes of a patch's intensities as drawn: noise, blur, brightness, contrast, low resolution, gamma, dropout.

Each effect is nnU-Net's (batchgeneratorsv2), with the same numbers, and so is what becomes of the blank around the
brain. One differs: each channel has noise of its own, as each scan has, where nnU-Net adds one field to all of them.

nnU-Net normalises BraTS over nonzero voxels; it computes its effects, their means and extremes, over the whole patch,
blank included, and last sets the blank to 0 again (``MaskImageTransform``). So here: statistics are those of the whole
patch, and blank voxels end with what they had before, which is 0 plus the draw's offset. These effects then put no
noise where inference shows zeros, and the brain's outline stays as sharp as it is there. The blank is what inference
shows only where there is no offset: in recipe/augment.json (``shift`` 0), not in the default recipe (0.1).
"""

from __future__ import annotations

import numpy as np
import torch

from scripts import intensity_compiled, intensity_torch
from scripts.intensity_draw import Intensity

# Of the divisors, against channels that are constant; batchgeneratorsv2's.
EPSILON = 1e-7
# A Gaussian's kernel ends at this many standard deviations; batchgeneratorsv2's.
TRUNCATE = 6


def change(patch: torch.Tensor, intensity: Intensity, blank_value: np.ndarray) -> None:
    """Change a patch in place.

    Args:
        patch: float32, (h, w, d, C), contiguous, on any device.
        intensity: what is done to it.
        blank_value: what each channel holds at voxels without a signal, (C,); they keep it, but for dropped channels.
    """
    ops = intensity_compiled if intensity_compiled.fits(patch) else intensity_torch

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=patch.device)

    value = tensor(blank_value)
    blank = ops.find_blank(patch, value)
    if intensity.noise_std:
        ops.add_noise(patch, intensity.noise_seed, intensity.noise_std)
    if intensity.blur_sigma.any():
        ops.blur(patch, tensor(blur_weights(intensity.blur_sigma)))
    if (intensity.brightness != 1).any():
        zero, endless = torch.zeros_like(value), torch.full_like(value, torch.inf)
        ops.scale(patch, tensor(intensity.brightness), zero, -endless, endless)
    if (intensity.contrast != 1).any():
        mean, _, low, high = ops.statistics(patch)
        factor = tensor(intensity.contrast)
        ops.scale(patch, factor, mean - factor * mean, low, high)
    for channel in np.flatnonzero(intensity.resolution != 1):
        size = tuple(max(round(n * float(intensity.resolution[channel])), 1) for n in patch.shape[:3])
        ops.coarsen(patch, int(channel), size)
    for exponent, sign in ((intensity.inverted_gamma, -1), (intensity.gamma, 1)):
        if (exponent != 1).any():
            _gamma(ops, patch, tensor(exponent), sign)
    ops.restore_blank(patch, value, blank)
    for channel in np.flatnonzero(intensity.dropped):
        patch[..., int(channel)] = 0


def _gamma(ops: type[intensity_torch], patch: torch.Tensor, exponent: torch.Tensor, sign: int) -> None:
    """A gamma curve over each channel's range, whose mean and standard deviation stay.

    With x the intensities times ``sign``: y = ((x - min) / (max - min)) ** exponent, then y is scaled and shifted to
    the mean and standard deviation of x, and negated again.
    """
    mean, deviation, low, high = ops.statistics(patch)
    start = low if sign > 0 else -high
    inverse_range = 1 / (high - low).clamp_min(EPSILON)
    mean_now, deviation_now = ops.power(patch, sign * inverse_range, -start * inverse_range, exponent)
    # batchgeneratorsv2 bounds the deviation after scaling back to the range; a constant channel becomes its mean.
    gain = deviation / deviation_now.clamp_min(EPSILON * inverse_range) * sign
    offset = mean - gain * mean_now
    endless = torch.full_like(mean, torch.inf)
    ops.scale(patch, gain, offset, -endless, endless)


def blur_weights(sigma: np.ndarray) -> np.ndarray:
    """Gaussian kernels as batchgeneratorsv2 builds them, padded with zeros to the longest.

    A kernel has the odd number of taps nearest to ``6 sigma + 0.5`` and sums to 1.

    Args:
        sigma: in voxels, (C, 3); 0 stands for no blur.

    Returns:
        Weights from the middle outwards, (3, radius + 1, C).
    """
    radius = np.array([[_radius(value) if value else 0 for value in row] for row in sigma])
    weights = np.zeros((3, radius.max() + 1, len(sigma)))
    for channel, row in enumerate(sigma):
        for axis, value in enumerate(row):
            distance = np.arange(radius[channel, axis] + 1)
            taps = np.exp(-0.5 * (distance / (value or 1)) ** 2)
            weights[axis, : len(taps), channel] = taps / (2 * taps.sum() - taps[0])
    return weights


def _radius(sigma: float) -> int:
    wanted = TRUNCATE * sigma + 0.5
    taps = round(wanted)
    if taps % 2 == 0:
        taps += 1 if wanted >= taps else -1
    return taps // 2
