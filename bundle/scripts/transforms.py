"""The few transforms that MONAI does not have, or not fast enough."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

from scripts.labels import REGIONS, nest_regions


class NormalizeBraind(MapTransform):
    """Each channel to mean 0 and standard deviation 1 over its voxels that are not 0, which stay 0.

    The same as ``NormalizeIntensityd(nonzero=True, channel_wise=True)`` in a quarter of the time: arithmetic over the
    whole channel, where MONAI gathers the brain's voxels and scatters them back.

    Args:
        keys: entries of images, (C, H, W, D), float32; they are changed in place.
    """

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return ``data`` with normalised images."""
        for key in self.key_iterator(data):
            for channel in data[key].as_tensor() if isinstance(data[key], MetaTensor) else data[key]:
                normalize_brain(channel)
        return dict(data)


def normalize_brain(channel: torch.Tensor) -> None:
    """Normalise the voxels of a volume (H, W, D) that are not 0, in place. A constant or blank volume stays finite."""
    brain = channel != 0
    count = torch.count_nonzero(brain)
    if count == 0:
        return
    channel.sub_(channel.sum() / count).mul_(brain)
    deviation = torch.linalg.vector_norm(channel) / count.sqrt()
    if deviation > 0:
        channel.div_(deviation)


class NestRegionsd(MapTransform):
    """Last step of postprocessing: nest the predicted regions, so that what is scored is what a label file can hold.

    Args:
        keys: entries of 0/1 region masks, (R, H, W, D).
        regions: channel order of the masks.
    """

    def __init__(self, keys: str | Sequence[str], regions: Sequence[str] = REGIONS) -> None:
        super().__init__(keys)
        self.regions = tuple(regions)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return a copy of ``data`` with nested masks."""
        return dict(data) | {key: nest_regions(data[key], self.regions) for key in self.key_iterator(data)}
