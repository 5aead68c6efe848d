"""The few transforms and predicates that MONAI does not have."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.transforms import MapTransform

from scripts.labels import REGIONS, nest_regions


def is_brain(image: torch.Tensor) -> torch.Tensor:
    """Mask of the voxels that a skull-stripped image did not blank, for ``CropForegroundd``; any shape in and out.

    Not ``image > 0``, MONAI's default: some releases are stored z-scored, where half of the brain is negative.
    """
    return image != 0


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
