"""Changes of a patch's intensities in PyTorch, in place: on any device, and the reference for ``kernels/intensity.c``.

A patch is float32, (h, w, d, C), contiguous. Per-channel arguments are float32 tensors of shape (C,) on its device.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

_GAMMA = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def splitmix64(seed: int, count: int, device: torch.device) -> torch.Tensor:
    """Outputs 0 to ``count`` of the generator SplitMix64 (Steele, Lea & Flood 2014), as int64 of the same bits.

    An output depends on seed and position alone, so every device makes the same in any order.
    """
    z = torch.arange(1, count + 1, device=device) * _signed(_GAMMA) + _signed(seed)
    for shift, factor in _MIX:
        z = (z ^ _shifted(z, shift)) * _signed(factor)
    return z ^ _shifted(z, 31)


def _signed(bits: int) -> int:
    return (bits + 2**63) % 2**64 - 2**63


def _shifted(z: torch.Tensor, by: int) -> torch.Tensor:
    # PyTorch's shift repeats the sign.
    return (z >> by) & (2 ** (64 - by) - 1)


def normal(seed: int, count: int, device: torch.device) -> torch.Tensor:
    """Standard normal numbers, (count,), by the method of Box and Muller: a pair from each output of the generator."""
    z = splitmix64(seed, (count + 1) // 2, device)
    share = (_shifted(z, 41).float() + 0.5) * 2**-23
    angle = (z & 0xFFFFFF).float() * (2 * math.pi * 2**-24)
    radius = (-2 * share.log()).sqrt()
    return torch.stack((radius * angle.cos(), radius * angle.sin()), -1).view(-1)[:count]


def add_noise(patch: torch.Tensor, seed: int, deviation: float) -> None:
    """Add normal noise of this standard deviation."""
    patch.view(-1).add_(normal(seed, patch.numel(), patch.device), alpha=deviation)


def blur(patch: torch.Tensor, weights: torch.Tensor) -> None:
    """Symmetric separable filter, mirrored at the border.

    Args:
        patch: is changed.
        weights: of each axis, from the middle outwards, (3, radius + 1, C).
    """
    radius = weights.shape[1] - 1
    for axis, taps in enumerate(weights):
        n = patch.shape[axis]
        mirrored = [mirror(index, n) for index in range(-radius, n + radius)]
        padded = patch.index_select(axis, torch.tensor(mirrored, device=patch.device))
        torch.mul(padded.narrow(axis, radius, n), taps[0], out=patch)
        for t in range(1, radius + 1):
            pair = padded.narrow(axis, radius - t, n) + padded.narrow(axis, radius + t, n)
            patch.addcmul_(pair, taps[t])


def mirror(index: int, n: int) -> int:
    """Where ``index`` falls on an axis of ``n`` voxels between mirrors in the middle of the first and the last."""
    period = max(2 * (n - 1), 1)
    index %= period
    return min(index, period - index) if n > 1 else 0


def statistics(patch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, standard deviation (of a sample), lowest and highest value of each channel, (C,) each."""
    low, high = torch.aminmax(patch.view(-1, patch.shape[3]), dim=0)
    return *_moments(patch), low, high


def _moments(patch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flat = patch.view(-1, patch.shape[3])
    deviation, mean = torch.std_mean(flat, dim=0, correction=min(1, len(flat) - 1))
    return mean, deviation


def scale(patch: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> None:
    """Multiply by ``gain``, add ``offset``, and hold between ``low`` and ``high``."""
    torch.addcmul(offset, patch, gain, out=patch)
    torch.clamp(patch, low, high, out=patch)


def power(
    patch: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor, exponent: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Multiply by ``gain``, add ``offset``, hold between 0 and 1, and raise to the power.

    Returns:
        Mean and standard deviation of each channel then, (C,) each.
    """
    torch.addcmul(offset, patch, gain, out=patch)
    patch.clamp_(0, 1).pow_(exponent)
    return _moments(patch)


def coarsen(patch: torch.Tensor, channel: int, size: tuple[int, int, int]) -> None:
    """Sample a channel on a grid of ``size`` voxels by nearest neighbour, then linearly back."""
    small = functional.interpolate(patch[None, None, ..., channel], size, mode="nearest-exact")
    back = functional.interpolate(small, patch.shape[:3], mode="trilinear", align_corners=False)
    patch[..., channel] = back[0, 0]


def find_blank(patch: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Voxels, (h, w, d), at which every channel has its ``value``."""
    return (patch == value).all(-1)


def restore_blank(patch: torch.Tensor, value: torch.Tensor, blank: torch.Tensor) -> None:
    """Give those voxels ``value`` again."""
    patch.copy_(torch.where(blank[..., None], value, patch))
