"""A whole store in the memory of one device, and a batch of patches gathered there at once.

484 cases take 3.2 GB at 1.5 x 1.5 x 2 mm, so they fit beside a training on any GPU. All volumes lie end to end in one
tensor; every voxel of every patch of a batch is then one index into it, whatever its case, rotation or flip.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch

from scripts import intensity
from scripts.gather import placement
from scripts.patches import Draw
from scripts.store_case import StoredCase


class ResidentStore:
    """Volumes end to end on one device.

    Args:
        cases: of the store; one that is listed several times is kept once.
        device: where to keep them.
        compiled: fuse the gather into one kernel by ``torch.compile``; None does so on a GPU.
    """

    def __init__(self, cases: Sequence[StoredCase], device: torch.device, compiled: bool | None = None) -> None:
        cases = list({case.name: case for case in cases}.values())
        self.index = {case.name: index for index, case in enumerate(cases)}
        sizes = [case.label.numel() for case in cases]
        channels = cases[0].image.shape[3]
        self.voxels = torch.empty((sum(sizes), channels), dtype=torch.int16, device=device)
        self.ids = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        # Copied case by case: the host never holds more than the files' pages.
        for first, size, case in zip(itertools.accumulate([0, *sizes]), sizes, cases, strict=False):
            self.voxels[first : first + size] = case.image.view(-1, channels)
            self.ids[first : first + size] = case.label.view(-1)
        self.first = np.cumsum([0, *sizes[:-1]])
        self.shapes = np.array([case.label.shape for case in cases])
        self.units = np.stack([case.units for case in cases])
        compiled = device.type == "cuda" if compiled is None else compiled
        self._sample: Callable = torch.compile(sample_patches, dynamic=False) if compiled else sample_patches

    def gather(self, names: Sequence[str], draws: Sequence[Draw], out: torch.Tensor, out_label: torch.Tensor) -> None:
        """Write one patch for each name, as :func:`scripts.gather.gather` does.

        Args:
            names: the case of each patch.
            draws: where to read and how to change it.
            out: float32, (B, h, w, d, C), is overwritten; on the store's device.
            out_label: uint8, (B, h, w, d), likewise.
        """
        indices = [self.index[name] for name in names]
        places = [placement(draw, tuple(out.shape[1:4])) for draw in draws]
        numbers = {
            "first": self.first[indices],
            "shape": self.shapes[indices],
            "origin": np.float32([origin for origin, _ in places]),
            "linear": np.float32([linear for _, linear in places]),
            "gain": np.float32([draw.gain * self.units[index] for draw, index in zip(draws, indices, strict=True)]),
            "offset": np.float32([draw.offset for draw in draws]),
        }
        sent = {name: torch.as_tensor(values, device=out.device) for name, values in numbers.items()}
        values, ids = self._sample(self.voxels, self.ids, out.shape[1:4], **sent)
        out.copy_(values)
        out_label.copy_(ids)
        for patch, draw in zip(out, draws, strict=True):
            if draw.intensity is not None:
                intensity.change(patch, draw.intensity, draw.offset)


def sample_patches(
    voxels: torch.Tensor,
    ids: torch.Tensor,
    size: Sequence[int],
    first: torch.Tensor,
    shape: torch.Tensor,
    origin: torch.Tensor,
    linear: torch.Tensor,
    gain: torch.Tensor,
    offset: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Trilinear image and nearest-neighbour label of B patches; 0 outside of a volume.

    Args:
        voxels: (N, C), all volumes end to end.
        ids: (N,), their labels.
        size: (h, w, d) of a patch.
        first: (B,), where each patch's volume begins.
        shape: (B, 3), of that volume.
        origin, linear: (B, 3) and (B, 3, 3), patch voxel o lies at ``origin + linear @ o``.
        gain, offset: (B, C), of the intensities.

    Returns:
        float32 (B, h, w, d, C) and uint8 (B, h, w, d).
    """
    axes = [torch.arange(n, device=voxels.device, dtype=torch.float32) for n in size]
    grid = torch.meshgrid(*axes, indexing="ij")
    at = [
        sum(linear[:, row, column, None, None, None] * grid[column] for column in range(3))
        + origin[:, row, None, None, None]
        for row in range(3)
    ]
    limits = [shape[:, axis, None, None, None] for axis in range(3)]
    start = first[:, None, None, None]

    def index(place: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        inside = torch.ones_like(place[0], dtype=torch.bool)
        flat = torch.zeros_like(place[0])
        for voxel, limit in zip(place, limits, strict=True):
            inside = inside & (voxel >= 0) & (voxel < limit)
            flat = flat * limit + torch.minimum(voxel.clamp_min(0), limit - 1)
        return flat + start, inside

    low = [x.floor() for x in at]
    values: torch.Tensor | float = 0.0
    for corner in itertools.product((0, 1), repeat=3):
        flat, inside = index([x.long() + up for x, up in zip(low, corner, strict=True)])
        weight = inside.float()
        for x, down, up in zip(at, low, corner, strict=True):
            weight = weight * (x - down if up else 1 - x + down)
        values = values + voxels[flat].float() * weight[..., None]
    flat, inside = index([x.round().long() for x in at])
    values = values * gain[:, None, None, None] + offset[:, None, None, None]
    return values, ids[flat] * inside
