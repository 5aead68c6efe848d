"""Random training patches: everything random is drawn first, then one deterministic gather makes the patch.

A :class:`Draw` is a few numbers, so it can be tested, repeated and drawn for a case that is not in memory. The gather
(:mod:`scripts.gather`) reads the patch, and nothing else, from wherever the case lies.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, Randomizable

from scripts.errors import InputError
from scripts.gather import gather
from scripts.intensity_draw import (
    MOST_FACTOR,
    Intensity,
    IntensityRecipe,
    are_two_numbers,
    refuse_no_probability,
    shown,
)

# nnU-Net keeps as many locations of each class (Isensee et al. 2021, class_locations in its preprocessing).
LOCATIONS_PER_CLASS = 10_000


@dataclass(frozen=True)
class Draw:
    """Everything random about one patch.

    Attributes:
        start: voxel of the volume at the lowest corner of the unrotated patch; negative where the patch juts out.
        flip: whether each axis is mirrored.
        matrix: rotation and scaling about the patch's centre, (3, 3), from patch to volume voxels; None for neither.
        gain, offset: of the intensities, a value a channel.
        intensity: further changes of the intensities; None for none.
    """

    start: tuple[int, int, int]
    flip: tuple[bool, bool, bool]
    matrix: np.ndarray | None
    gain: np.ndarray
    offset: np.ndarray
    intensity: Intensity | None = None


@dataclass(frozen=True)
class PatchRecipe(IntensityRecipe):
    """How patches are drawn. All probabilities are per patch.

    Attributes (and those of :class:`scripts.intensity_draw.IntensityRecipe`):
        patch_size: (H, W, D) in voxels.
        tumour_crops: share of patches centred on a tumour voxel. Its class is drawn first, uniformly among those that
            the case has, so that a small enhancing rim is seen as often as a large edema; then one of its voxels.
        flip_prob: probability to mirror each axis.
        rotate_prob, rotate_degrees: about all three axes, each angle uniform within plus or minus ``rotate_degrees``.
        scale_prob, scale_range: isotropic magnification, uniform in the range.
        gain: intensities are multiplied by 1 plus a value uniform within plus or minus this, a draw a channel.
        shift: then this much, uniform within plus or minus, is added, in standard deviations of the brain.
    """

    patch_size: tuple[int, int, int]
    tumour_crops: float = 0.67
    flip_prob: float = 0.5
    rotate_prob: float = 0.0
    rotate_degrees: float = 30.0
    scale_prob: float = 0.0
    scale_range: tuple[float, float] = (0.7, 1.4)
    gain: float = 0.1
    shift: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tumour_crops", "flip_prob", "rotate_prob", "scale_prob"):
            refuse_no_probability(name, getattr(self, name))
        if min(self.patch_size) < 1:
            raise InputError(f"patch_size is {list(self.patch_size)}, but sizes are positive; correct it.")
        if not are_two_numbers(self.scale_range) or not 0 < self.scale_range[0] <= self.scale_range[1] <= MOST_FACTOR:
            raise InputError(
                f"scale_range is {shown(self.scale_range)}; "
                f"give two positive numbers of at most {MOST_FACTOR:g} in ascending order."
            )

    def draw(
        self,
        rng: np.random.Generator,
        shape: Sequence[int],
        channels: int,
        locations: Mapping[int, np.ndarray],
        spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> Draw:
        """Draw one patch of a case.

        Args:
            rng: the source of all of it.
            shape: (H, W, D) of the volume.
            channels: of the image.
            locations: voxels of each tumour class, (n, 3); without any, the patch lies anywhere.
            spacing_mm: of the volume, so that a rotation turns millimetres and does not shear anisotropic voxels.
        """
        room = [n - p for n, p in zip(shape, self.patch_size, strict=True)]
        if locations and rng.random() < self.tumour_crops:
            voxels = locations[sorted(locations)[rng.integers(len(locations))]]
            centre = voxels[rng.integers(len(voxels))]
            start = [int(c) - p // 2 for c, p in zip(centre, self.patch_size, strict=True)]
        else:
            start = [int(rng.integers(free + 1)) if free > 0 else 0 for free in room]
        # A volume smaller than the patch lies in its middle; else the patch does not jut out of the volume.
        start = [min(max(s, 0), free) if free >= 0 else -(-free // 2) for s, free in zip(start, room, strict=True)]
        flip = rng.random(3) < self.flip_prob
        gain = 1 + rng.uniform(-self.gain, self.gain, channels)
        offset = rng.uniform(-self.shift, self.shift, channels)
        matrix = self._draw_matrix(rng, np.asarray(spacing_mm, float))
        intensity = self.draw_intensity(rng, channels)
        return Draw(tuple(start), tuple(bool(f) for f in flip), matrix, gain, offset, intensity)

    def _draw_matrix(self, rng: np.random.Generator, spacing_mm: np.ndarray) -> np.ndarray | None:
        # Drawn whether used or not, so that a knob changes what it names and not the position of later patches.
        turns, magnifies = rng.random() < self.rotate_prob, rng.random() < self.scale_prob
        angles = np.deg2rad(rng.uniform(-self.rotate_degrees, self.rotate_degrees, 3))
        magnification = rng.uniform(*self.scale_range)
        if not (turns or magnifies):
            return None
        rotation_mm = rotation(angles) if turns else np.eye(3)
        return rotation_mm * spacing_mm[None] / spacing_mm[:, None] / (magnification if magnifies else 1)


def rotation(angles: Sequence[float]) -> np.ndarray:
    """Rotation matrix about the axes H, then W, then D; angles in radians."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def locate_classes(label: np.ndarray, most: int = LOCATIONS_PER_CLASS) -> dict[int, np.ndarray]:
    """Voxels of every tumour class of a label map.

    Args:
        label: uint8 ids, (H, W, D).
        most: of a larger class, this many voxels at even steps are kept.

    Returns:
        Class to int16 voxel indices, (n, 3), in the order of memory.
    """
    found = {}
    flat = np.ascontiguousarray(label).reshape(-1)
    tumour = np.flatnonzero(flat)
    ids = flat[tumour]
    for value in np.unique(ids):
        voxels = tumour[ids == value]
        if len(voxels) > most:
            voxels = voxels[np.linspace(0, len(voxels) - 1, most).astype(np.int64)]
        found[int(value)] = np.stack(np.unravel_index(voxels, label.shape), axis=-1).astype(np.int16)
    return found


class LocateTumourd(MapTransform):
    """Adds ``locations`` (see :func:`locate_classes`) of ``label``, for :class:`RandPatchd` to centre patches on.

    It is not random: a caching data set does it once a case.
    """

    def __init__(self, label_key: str = "label") -> None:
        super().__init__(label_key)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the entry ``locations``."""
        return dict(data) | {"locations": locate_classes(np.asarray(data[self.keys[0]][0]))}


class RandPatchd(Randomizable, MapTransform):
    """Random patches of a case in memory, as a MONAI transform; the store draws and gathers the same without it.

    Args:
        num_samples: patches of a case.
        recipe: the knobs of :class:`PatchRecipe`.
    """

    def __init__(self, num_samples: int = 1, **recipe: Any) -> None:
        super().__init__(("image", "label"))
        self.num_samples = num_samples
        self.recipe = PatchRecipe(**{k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in recipe.items()})

    def randomize(self, data: Any = None) -> np.random.Generator:
        """A generator seeded from MONAI's own random state."""
        return np.random.default_rng(self.R.randint(2**32, dtype=np.uint32))

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        """Return ``num_samples`` items with ``image`` (C, *patch_size) float32, ``label`` (1, *patch_size) uint8.

        Other entries of ``data`` are handed on, except ``locations``.
        """
        rng = self.randomize()
        # Plain tensors: a patch's own affine would be needed by nothing downstream, and MONAI's tracking costs more
        # than the patch.
        image, label = (torch.as_tensor(data[key]).as_subclass(torch.Tensor) for key in self.keys)
        locations = data["locations"] if "locations" in data else locate_classes(label[0].numpy())
        spacing_mm = getattr(data["image"], "pixdim", torch.ones(3)).tolist()
        rest = {key: value for key, value in data.items() if key not in (*self.keys, "locations")}
        patches = []
        for _ in range(self.num_samples):
            draw = self.recipe.draw(rng, image.shape[1:], len(image), locations, spacing_mm)
            out = torch.empty((*self.recipe.patch_size, len(image)))
            out_label = torch.empty(self.recipe.patch_size, dtype=torch.uint8)
            gather(image.permute(1, 2, 3, 0), label[0], draw, draw.gain, out, out_label)
            patches.append(rest | {"image": out.permute(3, 0, 1, 2), "label": out_label[None]})
        return patches


def patch_recipe(transforms: Sequence[Any]) -> tuple[PatchRecipe, int]:
    """The recipe of the one :class:`RandPatchd` among ``transforms``, and how many patches it draws of a case.

    Raises:
        InputError: there are other random transforms, which the store cannot make.
    """
    patches = [transform for transform in transforms if isinstance(transform, RandPatchd)]
    others = [type(t).__name__ for t in transforms if not isinstance(t, (RandPatchd, LocateTumourd))]
    if len(patches) != 1 or others:
        raise InputError(
            f"random_transforms hold {', '.join(others) or 'no RandPatchd'}, which data/store.json cannot make; train "
            "with data/cache.json or data/persistent.json, or use RandPatchd."
        )
    return patches[0].recipe, patches[0].num_samples
