"""The functions of :mod:`scripts.intensity_torch` for a patch in main memory, by ``kernels/intensity.c``."""

from __future__ import annotations

import ctypes

import numpy as np
import torch

from scripts import compiled

# As in kernels/intensity.c, which has room on its stack for these.
_MOST_CHANNELS = 16
_MOST_RADIUS = 16


def fits(patch: torch.Tensor) -> bool:
    """Whether these functions can change this patch."""
    ours = patch.device.type == "cpu" and patch.dtype == torch.float32 and patch.is_contiguous()
    return ours and patch.shape[3] <= _MOST_CHANNELS and _library() is not None


def add_noise(patch: torch.Tensor, seed: int, deviation: float) -> None:
    """See :func:`scripts.intensity_torch.add_noise`."""
    _library().add_noise(_pointer(patch), _long(patch.numel()), ctypes.c_uint64(seed), ctypes.c_float(deviation))


def blur(patch: torch.Tensor, weights: torch.Tensor) -> None:
    """See :func:`scripts.intensity_torch.blur`; the radius is at most 16."""
    radius = weights.shape[1] - 1
    if radius > _MOST_RADIUS:
        raise ValueError(f"radius {radius} is above {_MOST_RADIUS}")
    plane, row = patch[0].numel(), patch[0, 0].numel()
    scratch = torch.empty((2 * radius + 2) * plane + (3 * radius + 4) * row + 2 * radius * patch.shape[3])
    weights = weights.contiguous()
    _library().blur_channels(
        _pointer(patch), _sizes(patch.shape[:3]), patch.shape[3], _pointer(weights), radius, _pointer(scratch)
    )


def statistics(patch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """See :func:`scripts.intensity_torch.statistics`."""
    found = torch.empty(4, patch.shape[3])
    _library().channel_statistics(*_channels(patch), *map(_pointer, found))
    return found[0], found[1], found[2], found[3]


def scale(patch: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> None:
    """See :func:`scripts.intensity_torch.scale`."""
    _library().scale_channels(*_channels(patch), _pointer(gain), _pointer(offset), _pointer(low), _pointer(high))


def power(
    patch: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor, exponent: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """See :func:`scripts.intensity_torch.power`."""
    found = torch.empty(2, patch.shape[3])
    arguments = (gain, offset, exponent, *found)
    _library().raise_channels(*_channels(patch), *map(_pointer, arguments))
    return found[0], found[1]


def coarsen(patch: torch.Tensor, channel: int, size: tuple[int, int, int]) -> None:
    """See :func:`scripts.intensity_torch.coarsen`."""
    down, up, share = map(np.concatenate, zip(*map(_coarse_axis, patch.shape[:3], size), strict=True))
    scratch = torch.empty((size[0] + 1) * size[1] * size[2] + size[2] + 1)
    _library().coarsen_channel(
        _pointer(patch),
        _sizes(patch.shape[:3]),
        patch.shape[3],
        channel,
        _sizes(size),
        down.ctypes,
        up.ctypes,
        share.ctypes,
        _pointer(scratch),
    )


def _coarse_axis(n: int, coarse: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The voxel that each coarse one shows; the coarse voxel below each voxel, and the share of the one above.

    In single precision, as PyTorch's ``interpolate`` computes them, so that ties fall to the same side.
    """
    centres = (np.arange(coarse, dtype=np.float32) + np.float32(0.5)) * np.float32(n / coarse)
    back = (np.arange(n, dtype=np.float32) + np.float32(0.5)) * np.float32(coarse / n) - np.float32(0.5)
    back = back.clip(0)
    below = np.minimum(back.astype(np.int32), coarse - 1)
    return np.minimum(centres.astype(np.int32), n - 1), below, back - below.astype(np.float32)


def find_blank(patch: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """See :func:`scripts.intensity_torch.find_blank`."""
    blank = torch.empty(patch.shape[:3], dtype=torch.bool)
    _library().find_blank(*_channels(patch), _pointer(value), _pointer(blank))
    return blank


def restore_blank(patch: torch.Tensor, value: torch.Tensor, blank: torch.Tensor) -> None:
    """See :func:`scripts.intensity_torch.restore_blank`."""
    _library().restore_blank(*_channels(patch), _pointer(value), _pointer(blank))


def _library() -> ctypes.CDLL | None:
    return compiled.library("intensity")


def _channels(patch: torch.Tensor) -> tuple[ctypes.c_void_p, ctypes.c_int64, ctypes.c_int]:
    return _pointer(patch), _long(patch.shape[0] * patch.shape[1] * patch.shape[2]), ctypes.c_int(patch.shape[3])


def _long(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)


def _sizes(size: tuple[int, ...]) -> ctypes.Array:
    return (ctypes.c_int64 * 3)(*size)


def _pointer(tensor: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
