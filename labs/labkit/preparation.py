"""What lab 01 takes apart: the bundle's own transforms one by one, and the statistics that each order leads to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Compose, RandFlip, RandSpatialCrop
from numpy.typing import NDArray
from scripts.errors import InputError
from scripts.labels import Scheme
from scripts.patches import PatchRecipe, locate_classes

from .recipe import recipe

# Crops of little but air would exaggerate what an order of transforms does.
LEAST_BRAIN = 0.1


@dataclass(frozen=True)
class Step:
    """What one transform left behind.

    Attributes:
        name: of the transform's class.
        image: (C, H, W, D).
        label: (1, H, W, D).
        seconds: that it took.
    """

    name: str
    image: torch.Tensor
    label: torch.Tensor
    seconds: float

    @property
    def megabytes(self) -> float:
        """Of the image's voxels."""
        return self.image.numel() * self.image.element_size() / 1e6


def bundle_transforms(section: str, **knobs: Any) -> list[Callable[[Any], Any]]:
    """Transforms of the bundle's recipe, as its training makes them.

    Args:
        section: ``deterministic_transforms`` or ``random_transforms``.
        knobs: values of train.json that are to be others, such as ``spacing``.
    """
    return recipe(knobs).get_parsed_content(section)


def trace(transforms: Iterable[Callable[[Any], Any]], case: Mapping[str, Any]) -> list[Step]:
    """Run transforms one after the other and keep what each leaves.

    Args:
        transforms: in dictionary form; the first loads ``image`` and ``label``.
        case: paths, as :func:`labs.labkit.data.listed` gives them.
    """
    steps, data = [], dict(case)
    for transform in transforms:
        began = time.perf_counter()
        data = transform(data)
        seconds = time.perf_counter() - began
        # A later step may work in place.
        steps.append(Step(type(transform).__name__, data["image"].clone(), data["label"].clone(), seconds))
    return steps


def step_row(step: Step) -> list[Any]:
    """A line of a table: name, shape, voxel in mm, axes, type, MB, range, milliseconds."""
    size = " x ".join(f"{float(edge):g}" for edge in step.image.pixdim)
    axes = "".join(nib.aff2axcodes(step.image.affine.numpy()))
    values = f"{float(step.image.min()):.3g} to {float(step.image.max()):.3g}"
    kind = str(step.image.dtype).removeprefix("torch.")
    shape = " x ".join(map(str, step.image.shape))
    return [step.name, shape, size, axes, kind, step.megabytes, values, 1000 * step.seconds]


def flips_apart(draws: int, seed: int) -> float:
    """Share of draws in which one array-form ``RandFlip``, called for an image and then for its label, parts the two.

    Args:
        draws: how often.
        seed: of the transform.
    """
    flip = RandFlip(prob=0.5, spatial_axis=0).set_random_state(seed=seed)
    image = label = torch.arange(2.0).reshape(1, 2, 1, 1)
    return float(np.mean([not torch.equal(flip(image), flip(label)) for _ in range(draws)]))


def brain_statistics(image: torch.Tensor, brain: torch.Tensor) -> tuple[float, float, float]:
    """Mean and standard deviation of the brain's voxels, and the value of what is blank (not a number without any).

    Args:
        image: one channel, (H, W, D).
        brain: mask of the same shape.
    """
    inside, outside = image[brain], image[~brain]
    return float(inside.mean()), float(inside.std(unbiased=False)), float(outside.mean())


def values_after_crop(image: torch.Tensor, value: float, size: Sequence[int], draws: int, seed: int) -> NDArray:
    """What one intensity becomes if every random crop is normalised by its own brain.

    Args:
        image: one channel before normalisation, (1, H, W, D), 0 where blank.
        value: the intensity, the same tissue in every crop.
        size: of the crops, (h, w, d) voxels; larger than the image counts as whole.
        draws: how many crops, of those that are a tenth brain or more.
        seed: of their places.

    Returns:
        (draws,), in standard deviations.

    Raises:
        InputError: the image is nearly blank, so that no crop would do.
    """
    if float((image != 0).float().mean()) < LEAST_BRAIN / 10:
        raise InputError("the image is nearly blank, but a brain is wanted; choose another case.")
    crop = RandSpatialCrop(roi_size=tuple(size), random_size=False).set_random_state(seed=seed)
    plain, found = torch.as_tensor(image).as_subclass(torch.Tensor), []
    while len(found) < draws:
        voxels = crop(plain)
        brain = voxels[voxels != 0]
        if len(brain) >= LEAST_BRAIN * voxels.numel():
            found.append((value - float(brain.mean())) / float(brain.std(unbiased=False)))
    return np.array(found)


def region_dice(first: NDArray, second: NDArray, scheme: Scheme) -> dict[str, float]:
    """Dice of two label maps (H, W, D), region by region; without the regions that neither has."""
    scores = {}
    for name, ids in scheme.regions.items():
        a, b = np.isin(first, ids), np.isin(second, ids)
        if a.any() or b.any():
            scores[name] = float(2 * (a & b).sum() / (a.sum() + b.sum()))
    return scores


def there_and_back(transforms: Sequence[Callable[[Any], Any]], case: Mapping[str, Any]) -> torch.Tensor:
    """The label map of a case, through the transforms and back by their inverses, (1, H, W, D)."""
    chain = Compose(list(transforms))
    data = chain(dict(case))
    return chain.inverse({key: data[key] for key in ("image", "label")})["label"]


def share_with_tumour(recipe: PatchRecipe, label: NDArray[np.uint8], draws: int, seed: int) -> float:
    """Share of drawn patches that hold a tumour voxel; nothing is gathered, only drawn.

    Args:
        recipe: how patches are drawn.
        label: ids, (H, W, D).
        draws: how many.
        seed: of the draws.
    """
    rng, locations, hits = np.random.default_rng(seed), locate_classes(label), 0
    for _ in range(draws):
        start = recipe.draw(rng, label.shape, 1, locations).start
        box = tuple(
            slice(max(begin, 0), max(begin + size, 0)) for begin, size in zip(start, recipe.patch_size, strict=True)
        )
        hits += bool(label[box].any())
    return hits / draws
