"""The published AWS recipe, written anew with MONAI's own transforms: the opponent of several benchmarks.

Order, parameters and defaults are those of the workshop's notebook (its label mapping takes non-enhancing for enhancing
core; here the right one is used, which costs the same): 1.5 x 1.5 x 2 mm, crops of 128 x 128 x 64, normalisation of
every crop, regions as three float channels from the start.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import timing  # noqa: F401  puts bundle/ on the path
import torch
from monai.transforms import (
    EnsureChannelFirstd,
    LoadImaged,
    MapTransform,
    NormalizeIntensityd,
    Orientationd,
    RandFlipd,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSpatialCropd,
    Spacingd,
)
from scripts.labels import get_scheme

SPACING_MM = (1.5, 1.5, 2.0)
PATCH_SIZE = (128, 128, 64)


class ConvertToMultiChannelD(MapTransform):
    """The workshop's own label transform, with Decathlon's ids for the regions."""

    def __init__(self, keys: str, scheme: str) -> None:
        super().__init__(keys)
        self.regions = get_scheme(scheme).regions

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace ids (H, W, D) by float regions (3, H, W, D)."""
        changed = dict(data)
        for key in self.keys:
            channels = [torch.isin(data[key], torch.tensor(ids)) for ids in self.regions.values()]
            changed[key] = torch.stack(channels, axis=0).float()
        return changed


def prefix(scheme: str = "msd") -> list[Any]:
    """The deterministic part."""
    both = ("image", "label")
    return [
        LoadImaged(keys=both),
        EnsureChannelFirstd(keys="image"),
        ConvertToMultiChannelD(keys="label", scheme=scheme),
        Spacingd(keys=both, pixdim=SPACING_MM, mode=("bilinear", "nearest")),
        Orientationd(keys=both, axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
    ]


def normalisation() -> list[Any]:
    """Of every crop, over its nonzero voxels."""
    return [NormalizeIntensityd(keys="image", nonzero=True, channel_wise=True)]


def augmentation() -> tuple[list[Any], list[Any]]:
    """The random transforms before the normalisation, and those after it."""
    before = [
        RandSpatialCropd(keys=("image", "label"), roi_size=PATCH_SIZE, random_size=False),
        RandFlipd(keys=("image", "label"), prob=0.5, spatial_axis=0),
    ]
    after = [
        RandScaleIntensityd(keys="image", factors=0.1, prob=0.5),
        RandShiftIntensityd(keys="image", offsets=0.1, prob=0.5),
    ]
    return before, after


def recipe(scheme: str = "msd") -> list[Any]:
    """The whole chain in the published order."""
    before, after = augmentation()
    return [*prefix(scheme), *before, *normalisation(), *after]
