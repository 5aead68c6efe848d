"""One patch out of a volume: crop, flips, rotation, scaling, gain and offset in a single gather.

Two ways to the same numbers. PyTorch's runs on any device and any dtype. On a CPU, a volume of the store (int16,
channels last) is read by ``kernels/patches.c`` in one pass where it can be built. Further changes of the intensities,
if any were drawn, follow in place (:mod:`scripts.intensity`).
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from scripts import compiled, intensity

if TYPE_CHECKING:
    from scripts.patches import Draw


def gather(
    image: torch.Tensor, label: torch.Tensor, draw: Draw, gain: np.ndarray, out: torch.Tensor, out_label: torch.Tensor
) -> None:
    """Write the patch that ``draw`` describes.

    Trilinear for the image, nearest neighbour for the label; outside of the volume the image is 0 before gain and
    offset, and the label 0.

    Args:
        image: (H, W, D, C), on any device.
        label: (H, W, D), uint8.
        draw: where to read and how to change it.
        gain: the draw's own, times what a stored unit is worth, a value a channel.
        out: float32, (h, w, d, C), is overwritten; on the volume's device.
        out_label: uint8, (h, w, d), is overwritten.
    """
    library = _kernels() if _fits_kernel(image, label, out, out_label) else None
    if library is not None:
        _gather_compiled(library, image, label, draw, gain, out, out_label)
    elif draw.matrix is None:
        _crop(image, label, draw, gain, out, out_label)
    else:
        _resample(image, label, draw, gain, out, out_label)
    if draw.intensity is not None:
        intensity.change(out, draw.intensity, draw.offset)


def placement(draw: Draw, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Origin (3,) and matrix (3, 3): patch voxel o lies at ``origin + matrix @ o`` in the volume, flips included."""
    middle = (np.asarray(size, float) - 1) / 2
    linear = np.eye(3) if draw.matrix is None else draw.matrix
    linear = linear * np.where(draw.flip, -1.0, 1.0)
    return np.asarray(draw.start) + middle - linear @ middle, linear


def _crop(
    image: torch.Tensor, label: torch.Tensor, draw: Draw, gain: np.ndarray, out: torch.Tensor, out_label: torch.Tensor
) -> None:
    source, target, mirrored = [], [], []
    for axis, (start, n, size) in enumerate(zip(draw.start, image.shape[:3], out.shape[:3], strict=True)):
        low, high = max(start, 0), max(min(start + size, n), max(start, 0))
        first, last = low - start, high - start
        if draw.flip[axis]:
            first, last = size - last, size - first
            mirrored.append(axis)
        source.append(slice(low, high))
        target.append(slice(first, last))
    voxels, ids = image[tuple(source)], label[tuple(source)]
    if mirrored:
        # While still small: the stored type has half the bytes of the patch's.
        voxels, ids = voxels.flip(mirrored), ids.flip(mirrored)
    # Voxels and channels of a row as one run: PyTorch's inner loops are as long as the last dimension.
    runs = torch.as_tensor(np.stack([gain, draw.offset]), dtype=out.dtype, device=out.device).repeat(1, out.shape[2])
    if voxels.shape[:3] != out.shape[:3]:
        out.view(*out.shape[:2], -1).copy_(runs[1].expand(*out.shape[:2], -1))
        out_label.zero_()
    inside = out[tuple(target)]
    inside = inside.view(*inside.shape[:2], -1)
    inside.copy_(voxels.flatten(2))
    gains, offsets = runs[:, : inside.shape[2]]
    torch.addcmul(offsets, inside, gains, out=inside)
    out_label[tuple(target)].copy_(ids)


def _resample(
    image: torch.Tensor, label: torch.Tensor, draw: Draw, gain: np.ndarray, out: torch.Tensor, out_label: torch.Tensor
) -> None:
    size = tuple(out.shape[:3])
    origin, linear = placement(draw, size)
    # Only the part of the volume that the turned patch touches is converted and read.
    corners = origin + np.stack(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij"), -1).reshape(-1, 3) @ linear.T
    low = np.clip(np.floor(corners.min(0)).astype(int), 0, np.array(image.shape[:3]) - 1)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 1, low + 1, image.shape[:3])
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    # grid_sample wants (D, W, H) order, -1 to 1 over the box; without align_corners a size of 1 divides by no 0.
    scale = 2 / (high - low)
    to_grid = torch.as_tensor(linear * scale[:, None], dtype=torch.float32, device=out.device)
    at_zero = torch.as_tensor((origin - low + 0.5) * scale - 1, dtype=torch.float32, device=out.device)
    grid = at_zero.expand(*size, 3)
    for axis, n in enumerate(size):
        steps = torch.arange(n, dtype=torch.float32, device=out.device)
        shape = [1, 1, 1, 1]
        shape[axis] = n
        grid = grid + steps.view(shape) * to_grid[:, axis]
    grid = grid.flip(-1)[None]
    options: dict[str, Any] = {"padding_mode": "zeros", "align_corners": False}
    values = functional.grid_sample(image[box].float().permute(3, 0, 1, 2)[None], grid, mode="bilinear", **options)
    gain, offset = (torch.as_tensor(numbers, dtype=out.dtype, device=out.device) for numbers in (gain, draw.offset))
    torch.addcmul(offset, values[0].permute(1, 2, 3, 0), gain, out=out)
    ids = functional.grid_sample(label[box].float()[None, None], grid, mode="nearest", **options)
    out_label.copy_(ids[0, 0])


def _kernels() -> ctypes.CDLL | None:
    return compiled.library("patches")


def _fits_kernel(image: torch.Tensor, label: torch.Tensor, out: torch.Tensor, out_label: torch.Tensor) -> bool:
    types = {image: torch.int16, label: torch.uint8, out: torch.float32, out_label: torch.uint8}
    return all(
        tensor.dtype == dtype and tensor.device.type == "cpu" and tensor.is_contiguous()
        for tensor, dtype in types.items()
    )


def _gather_compiled(
    library: ctypes.CDLL,
    image: torch.Tensor,
    label: torch.Tensor,
    draw: Draw,
    gain: np.ndarray,
    out: torch.Tensor,
    out_label: torch.Tensor,
) -> None:
    size = tuple(out.shape[:3])
    channels = image.shape[3]
    volume = (_pointer(image), _pointer(label), (ctypes.c_int64 * 3)(*image.shape[:3]), ctypes.c_int(channels))
    floats = ctypes.c_float * channels
    patch = (floats(*gain), floats(*draw.offset), (ctypes.c_int64 * 3)(*size), _pointer(out), _pointer(out_label))
    if draw.matrix is None:
        library.crop_patch(*volume, (ctypes.c_int64 * 3)(*draw.start), (ctypes.c_int32 * 3)(*draw.flip), *patch)
        return
    origin, linear = placement(draw, size)
    library.affine_patch(*volume, (ctypes.c_float * 3)(*origin), (ctypes.c_float * 9)(*linear.ravel()), *patch)


def _pointer(tensor: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
