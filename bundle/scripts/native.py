"""From probabilities on the network's grid to decisions on the image file's own, in as few voxels as possible."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    Cropd,
    Flipd,
    InvertibleTransform,
    MapTransform,
    Orientationd,
    Padd,
    Rotate90d,
    allow_missing_keys_mode,
)
from monai.utils import ensure_tuple, ensure_tuple_rep

from scripts.labels import REGIONS, get_scheme, nest_regions, regions_to_labels

# Transforms that move voxels or add blank ones. What is decided voxel by voxel may be decided before their inverse.
MOVES = (Cropd, Flipd, Orientationd, Padd, Rotate90d)


class RegionMasks:
    """Probabilities (R, H, W, D) to nested 0/1 masks of the same shape, uint8.

    Args:
        regions: channel order.
        threshold: a voxel belongs to a region above this probability.
    """

    def __init__(self, regions: Sequence[str] = REGIONS, threshold: float = 0.5) -> None:
        self.regions = tuple(regions)
        self.threshold = threshold

    def __call__(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Decide."""
        return nest_regions(probabilities > self.threshold, self.regions).to(torch.uint8)


class LabelMap:
    """Probabilities (R, H, W, D) to label ids (1, H, W, D), uint8; regions are nested.

    Args:
        label_scheme: ids to give.
        regions: channel order.
        threshold: a voxel belongs to a region above this probability.
    """

    def __init__(self, label_scheme: str, regions: Sequence[str] = REGIONS, threshold: float = 0.5) -> None:
        self.scheme = get_scheme(label_scheme)
        self.regions = tuple(regions)
        self.threshold = threshold

    def __call__(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Decide."""
        return regions_to_labels(probabilities > self.threshold, self.scheme, self.regions)


class ToNativeGridd(MapTransform):
    """Inverts the preprocessing, deciding on the way: probabilities in, masks or labels on the file's own grid out.

    As ``Invertd`` followed by a threshold, with the same result: probabilities are interpolated back, and decided upon
    as soon as only flips, crops and padding are left to invert. Those move voxels and mix none, and one byte a voxel of
    the whole volume is a twelfth of three floats.

    Args:
        keys: entries of probabilities, (R, h, w, d) on the network's grid.
        transform: the preprocessing.
        decide: voxelwise decision whose result is 0 for all-zero probabilities; one a key, or one for all.
        orig_keys: entry whose grid and trace are those of the probabilities.
    """

    def __init__(
        self,
        keys: str | Sequence[str],
        transform: Compose,
        decide: Callable[[torch.Tensor], torch.Tensor] | Sequence[Callable[[torch.Tensor], torch.Tensor]],
        orig_keys: str = "image",
    ) -> None:
        super().__init__(keys)
        self.transform = transform
        self.decide = ensure_tuple_rep(decide, len(self.keys)) if callable(decide) else ensure_tuple(decide)
        self.orig_keys = orig_keys

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with native masks or labels, as MetaTensors of the file's affine."""
        result = dict(data)
        original = data[self.orig_keys]
        for key, decide in self.key_iterator(result, self.decide):
            volume = result[key].as_tensor() if isinstance(result[key], MetaTensor) else result[key]
            traced = MetaTensor(
                volume.detach(),
                meta=deepcopy(original.meta),
                applied_operations=deepcopy(original.applied_operations),
            )
            with allow_missing_keys_mode(self.transform):
                result[key] = self._invert(traced, decide)
        return result

    def _invert(self, volume: MetaTensor, decide: Callable[[torch.Tensor], torch.Tensor]) -> MetaTensor:
        steps = [step for step in self.transform.flatten().transforms if isinstance(step, InvertibleTransform)]
        mixing = [index for index, step in enumerate(steps) if not isinstance(step, MOVES)]
        first_mixing = mixing[0] if mixing else len(steps)
        if not mixing:
            volume = _decided(volume, decide)
        for index in range(len(steps) - 1, -1, -1):
            volume = steps[index].inverse({self.orig_keys: volume})[self.orig_keys]
            if index == first_mixing:
                volume = _decided(volume, decide)
        return volume


def _decided(volume: MetaTensor, decide: Callable[[torch.Tensor], torch.Tensor]) -> MetaTensor:
    decided = decide(volume.as_tensor())
    return MetaTensor(decided, meta=volume.meta, applied_operations=volume.applied_operations)
