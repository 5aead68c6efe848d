"""Which part of a volume a network looks at: boxes and windows in voxels. Plain arithmetic, no network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch

Box = tuple[slice, ...]


def nonzero_box(image: torch.Tensor) -> Box | None:
    """Smallest box that holds every voxel at which some channel is not 0, or None where all are.

    Args:
        image: (C, H, W, D).
    """
    mask = image[0] != 0
    # One channel at a time: a mask of all channels at once is several times slower to make and to reduce.
    for channel in image[1:]:
        mask |= channel != 0
    # PyTorch's maximum of bytes is faster than its any().
    seen = mask.view(torch.uint8)
    columns = seen.amax(2)
    box = []
    for axis in (columns.amax(1), columns.amax(0), seen.amax((0, 1))):
        where = axis.nonzero()
        if len(where) == 0:
            return None
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    return tuple(box)


def box_sides(box: Box) -> tuple[int, ...]:
    """Side lengths of a box."""
    return tuple(side.stop - side.start for side in box)


def one_pass_sides(sides: Sequence[int], patch_size: Sequence[int], multiple: int) -> tuple[int, ...]:
    """Sides that a network takes a box in: at least the training patch, and where longer, a multiple of ``multiple``.

    Args:
        sides: of the box.
        patch_size: of the training; the network is known to take it, so it is not rounded.
        multiple: total stride of the network.
    """
    return tuple(
        patch if side <= patch else math.ceil(side / multiple) * multiple
        for side, patch in zip(sides, patch_size, strict=True)
    )


def grown(box: Box, shape: Sequence[int], sides: Sequence[int]) -> Box:
    """The box grown to ``sides`` on both of its ends alike, but not beyond a volume of ``shape``."""
    result = []
    for side, extent, wanted in zip(box, shape, sides, strict=True):
        length = min(wanted, extent)
        start = side.start - (length - (side.stop - side.start)) // 2
        start = min(max(start, 0), extent - length)
        result.append(slice(start, start + length))
    return tuple(result)


def relative(inner: Box, outer: Box) -> Box:
    """``inner`` in the coordinates of ``outer``."""
    return tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))


def largest_window(
    sides: Sequence[int], least: Sequence[int], multiple: int, max_voxels: int, overlap: float
) -> tuple[int, ...]:
    """The window that covers a box in the fewest steps; among equals the one that computes least.

    Args:
        sides: of the box, (H, W, D).
        least: sides of the smallest window, such as the training patch; it is among the choices whatever its size.
        multiple: total stride of the network; a window's side is a multiple of it, the least, or the box's own side.
        max_voxels: size of a larger window at most.
        overlap: of neighbouring windows as a share of its sides, 0 up to, not including, 1, as MONAI takes it.
    """
    smallest = tuple(min(side, low) for side, low in zip(sides, least, strict=True))
    choices = [
        sorted({low, *range(math.ceil(low / multiple) * multiple, side, multiple), side})
        for low, side in zip(smallest, sides, strict=True)
    ]
    fitting = [window for window in itertools.product(*choices) if math.prod(window) <= max_voxels]
    return min((smallest, *fitting), key=lambda window: _cost(sides, window, overlap))


def _cost(sides: Sequence[int], window: Sequence[int], overlap: float) -> tuple[int, int, int]:
    """Number of windows, computed voxels, and the longest side, which prefers cubes to slabs."""
    steps = [max(int(side * (1 - overlap)), 1) for side in window]
    counts = (math.ceil((side - w) / step) + 1 for side, w, step in zip(sides, window, steps, strict=True))
    number = math.prod(counts)
    return number, number * math.prod(window), max(window)
