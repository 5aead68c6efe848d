"""From probabilities on the network's grid to decisions on the image file's own, in as few voxels as possible."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Protocol

import numpy as np
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
from monai.utils import MetaKeys, ensure_tuple_rep

from scripts.errors import InputError
from scripts.labels import REGIONS, get_scheme, regions_to_labels
from scripts.postprocessing import region_masks
from scripts.resample import SeparableSpacingd
from scripts.rules import Rules

# Transforms that move voxels or add blank ones. What is decided of a voxel, or of the volume of those that touch, may
# be decided before their inverse.
MOVES = (Cropd, Flipd, Orientationd, Padd, Rotate90d)
# Entry of probabilities on the file's own grid.
PROBABILITIES = "prob"


class Decision(Protocol):
    """What is made of probabilities: 0 at every voxel where none is above its region's threshold."""

    thresholds: torch.Tensor  # (R, 1, 1, 1)

    def __call__(self, probabilities: torch.Tensor, voxel_mm3: float) -> torch.Tensor:
        """(R, H, W, D), a box around all voxels above the thresholds, to (R', H, W, D)."""


class RegionMasks:
    """Probabilities (R, H, W, D) to nested 0/1 masks of the same shape, uint8.

    Args:
        regions: channel order.
        rules: what a region is; None takes a threshold of 0.5.
    """

    def __init__(self, regions: Sequence[str] = REGIONS, rules: Rules | None = None) -> None:
        self.regions = tuple(regions)
        self.rules = rules or Rules()
        self.thresholds = self.rules.threshold_of(self.regions)

    def __call__(self, probabilities: torch.Tensor, voxel_mm3: float) -> torch.Tensor:
        """Decide."""
        return region_masks(probabilities, self.regions, self.rules, voxel_mm3).to(torch.uint8)


class LabelMap:
    """Probabilities (R, H, W, D) to label ids (1, H, W, D), uint8: those of :class:`RegionMasks`.

    Args:
        label_scheme: ids to give.
        regions: channel order.
        rules: what a region is; None takes a threshold of 0.5.
    """

    def __init__(self, label_scheme: str, regions: Sequence[str] = REGIONS, rules: Rules | None = None) -> None:
        self.scheme = get_scheme(label_scheme)
        self.regions = tuple(regions)
        self.rules = rules or Rules()
        self.thresholds = self.rules.threshold_of(self.regions)

    def __call__(self, probabilities: torch.Tensor, voxel_mm3: float) -> torch.Tensor:
        """Decide."""
        masks = region_masks(probabilities, self.regions, self.rules, voxel_mm3)
        return regions_to_labels(masks, self.scheme, self.regions)


class LabelsOfMasksd(MapTransform):
    """Label ids (1, H, W, D), uint8, of nested masks: a decision that is both scored and written is made once.

    Args:
        keys: entries of masks, MetaTensors (R, H, W, D).
        names: entries for the ids, one a key.
        label_scheme: ids to give.
        regions: channel order.
    """

    def __init__(
        self, keys: str | Sequence[str], names: str | Sequence[str], label_scheme: str, regions: Sequence[str] = REGIONS
    ) -> None:
        super().__init__(keys)
        self.names = ensure_tuple_rep(names, len(self.keys))
        self.scheme = get_scheme(label_scheme)
        self.regions = tuple(regions)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the ids."""
        result = dict(data)
        for key, name in self.key_iterator(result, self.names):
            labels = regions_to_labels(data[key].as_tensor(), self.scheme, self.regions)
            result[name] = MetaTensor(labels, meta=data[key].meta)
        return result


class ToNativeGridd(MapTransform):
    """Inverts the preprocessing, deciding on the way: probabilities in, masks or labels on the file's own grid out.

    As ``Invertd`` followed by a threshold, with the same result: probabilities are interpolated back, and decided upon
    as soon as only flips, crops and padding are left to invert. Those move voxels and mix none, and one byte a voxel of
    the whole volume is a twelfth of three floats. A decision sees all voxels above its thresholds at once, in the size
    that they have in the file: connected components and volumes are those of the whole volume.

    Args:
        keys: entries of probabilities, (R, h, w, d) on the network's grid.
        transform: the preprocessing.
        decide: the decision.
        orig_keys: entry whose grid and trace are those of the probabilities, loaded by ``LoadImaged``.
        keep_probabilities: invert the probabilities whole, decide from those, and keep them as entry ``prob``,
            (R, H, W, D): a decision then follows from what is kept, to the last digit. For one key.

    Raises:
        InputError: when called with probabilities that are no numbers.
    """

    def __init__(
        self,
        keys: str | Sequence[str],
        transform: Compose,
        decide: Decision,
        orig_keys: str = "image",
        keep_probabilities: bool = False,
    ) -> None:
        super().__init__(keys)
        self.transform = transform
        self.decide = decide
        self.orig_keys = orig_keys
        self.keep_probabilities = keep_probabilities

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with native masks or labels, as MetaTensors of the file's affine."""
        result = dict(data)
        original = data[self.orig_keys]
        decide = _OfVoxels(self.decide, voxel_mm3(original.meta[MetaKeys.ORIGINAL_AFFINE]))
        for key in self.key_iterator(result):
            volume = result[key].as_tensor() if isinstance(result[key], MetaTensor) else result[key]
            refuse_no_numbers(volume, str(data.get("case") or original.meta.get("filename_or_obj", key)))
            traced = MetaTensor(
                volume.detach(),
                meta=deepcopy(original.meta),
                applied_operations=deepcopy(original.applied_operations),
            )
            with allow_missing_keys_mode(self.transform):
                if self.keep_probabilities:
                    # Interpolated on a grid that is not parallel, ones come out some 1e-7 larger.
                    result[PROBABILITIES] = self._invert(traced, None).clamp_(0, 1)
                    result[key] = _decided(result[PROBABILITIES], decide)
                else:
                    result[key] = self._invert(traced, decide)
        return result

    def _invert(self, volume: MetaTensor, decide: _OfVoxels | None) -> MetaTensor:
        """To the file's grid; None leaves them probabilities."""
        # The last to be inverted of those that mix voxels; what precedes it only moves them.
        steps = [step for step in self.transform.flatten().transforms if isinstance(step, InvertibleTransform)]
        last_mixing = next((index for index, step in enumerate(steps) if not isinstance(step, MOVES)), None)
        if last_mixing is None and decide is not None:
            volume = _decided(volume, decide)
        for index, step in reversed(list(enumerate(steps))):
            decided_here = index == last_mixing and decide is not None
            if decided_here and isinstance(step, SeparableSpacingd):
                volume = step.inverse_decided(volume, decide, decide.thresholds)
                continue
            volume = step.inverse({self.orig_keys: volume})[self.orig_keys]
            if decided_here:
                volume = _decided(volume, decide)
        return volume


class _OfVoxels:
    """A decision that knows the volume of the voxels it is for."""

    def __init__(self, decide: Decision, size_mm3: float) -> None:
        self.decide = decide
        self.thresholds = decide.thresholds
        self.size_mm3 = size_mm3

    def __call__(self, probabilities: torch.Tensor) -> torch.Tensor:
        return self.decide(probabilities, self.size_mm3)


def refuse_no_numbers(probabilities: torch.Tensor, case: str) -> None:
    """Refuse what a broken network predicts: no threshold is below NaN, so it would pass for a brain without tumour.

    Args:
        probabilities: of any shape; infinite logits have become 0 or 1 in them.
        case: named in the message.

    Raises:
        InputError: a value is NaN or infinite.
    """
    # One reduction, which every value that is no number spoils; float32 holds the sum of half floats as well.
    if torch.isfinite(probabilities.sum(dtype=torch.float32)):
        return
    share = float((~torch.isfinite(probabilities)).float().mean())
    raise InputError(
        f"{case}: the network's output is no number (NaN) in {share:.0%} of its values, as of weights that diverged or "
        "of a precision whose range they exceed; use precision fp32, and if that is no better train anew with a lower "
        "learning_rate, or take another model.pt."
    )


def voxel_mm3(affine: Any) -> float:
    """Volume of a voxel, in mm3, of a grid with ``affine`` (4 x 4, mm)."""
    return abs(float(np.linalg.det(np.asarray(affine, dtype=np.float64)[:3, :3])))


def _decided(volume: MetaTensor, decide: _OfVoxels) -> MetaTensor:
    decided = decide(volume.as_tensor())
    return MetaTensor(decided, meta=volume.meta, applied_operations=volume.applied_operations)
