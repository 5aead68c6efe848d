"""The opponents of benchmarks/accuracy.py, and what was decided for each.

*ours*: configs/train.json as it is, with overrides where a variant of it is asked for.

*zoo*: the Model Zoo's brats_mri_segmentation 0.5.2, written anew (configs/recipe/zoo.json). Its crop of 224 x 224 x 144
voxels nearly fills a volume of 1 mm; a smaller volume is taken whole, padded to multiples of the network's stride, in
training and in inference; padding to the published window of 240 x 240 x 160 would only blur its group normalisation.
Its cosine moves once a step, not once a pass over the cases: ten minutes hold few passes. On a GPU it has its mixed
precision, its four workers and kernels chosen by trial, as published.

*published*: the AWS workshop's recipe with right labels (configs/recipe/original.json). Its 16 crops a step are a
thirtieth of its 484 cases; of eight cases they would be two passes, and ten minutes would hold some twenty steps.
``PUBLISHED_BATCH`` crops a step leave it more than a hundred; whether more steps of fewer crops suit it better has not
been measured. A step takes no more cases than there are, so its 16 crops of eight cases are two of each:
``--set batch_size=8 --set crops_per_case=2``. Its windows are blended with Gaussian weights, which it did not have. It
resamples to 1.5 x 1.5 x 2 mm, which of images of 2 mm makes up to 1.8 times the voxels without any more information;
ours works at 2 mm.

*nnunet*: nnU-Net v2 from PyPI, by its own planner and trainer (accuracy_nnunet.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
from accuracy_bundle import BUNDLE, BundleSide
from accuracy_device import CPU, Device
from accuracy_folds import Fold
from accuracy_nnunet import NnUnetSide
from accuracy_side import Side
from scripts.errors import InputError
from scripts.predictions import image_files

OURS, ZOO, NNUNET, PUBLISHED = "ours", "zoo", "nnunet", "published"
SIDES = (OURS, ZOO, NNUNET, PUBLISHED)
PUBLISHED_BATCH = 2
NEAR = "configs/recipe/augment.json"
ZOO_CROP = (224, 224, 144)
ZOO_STRIDE = 8
ZOO_ON_GPU = {"precision": "fp16", "num_workers": 4, "deterministic": False}


def recipe_name(side: str, variant: str) -> str:
    """In tables and file names: a side's own name, a variant of ours its own, another side's with the side's before."""
    if variant == OURS:
        return side
    return variant if side == OURS else f"{side}-{variant}"


def make_side(
    side: str,
    fold: Fold,
    work_dir: Path,
    configs: Sequence[Path],
    knobs: Mapping[str, Any],
    device: Device = CPU,
) -> Side:
    """A side in one fold.

    Args:
        side: one of ``SIDES``.
        fold: whom to train on and whom to test.
        work_dir: folder of what it keeps.
        configs: override files after its own.
        knobs: overrides of single ids after its own.
        device: what it trains on.

    Raises:
        InputError: there is no such side, it has no such knob, or what it needs is not installed.
    """
    if side == OURS:
        return BundleSide(fold, work_dir, configs, knobs, device)
    if side == ZOO:
        size = whole_volume(fold)
        files = [config_file("configs/network/segresnet.json"), config_file("configs/recipe/zoo.json"), *configs]
        sizes = {"patch_size": size, "window_size": size} | (ZOO_ON_GPU if device.is_gpu else {})
        return BundleSide(fold, work_dir, files, sizes | dict(knobs), device, epoch_steps=1)
    if side == PUBLISHED:
        files = [config_file("configs/recipe/original.json"), *configs]
        return BundleSide(fold, work_dir, files, {"batch_size": PUBLISHED_BATCH} | dict(knobs), device)
    if side == NNUNET:
        return NnUnetSide(fold, work_dir, knobs, device)
    raise InputError(f"side '{side}' is unknown; choose one of {', '.join(SIDES)}.")


def whole_volume(fold: Fold) -> list[int]:
    """Voxels of the smallest box that holds every case, padded to the zoo network's stride; at most the zoo's crop."""
    shapes = [nib.load(image_files(item)[0]).shape[:3] for item in (*fold.training, *fold.test)]
    padded = [-(-max(sides) // ZOO_STRIDE) * ZOO_STRIDE for sides in zip(*shapes, strict=True)]
    return [min(side, most) for side, most in zip(padded, ZOO_CROP, strict=True)]


def config_file(name: str) -> Path:
    """A config of the bundle by its path from ``bundle/``, or any other file by its own.

    Raises:
        InputError: there is neither.
    """
    found = next((file for file in (BUNDLE / name, Path(name)) if file.is_file()), None)
    if found is None:
        raise InputError(f"--config {name}: is neither a file in {BUNDLE} nor one here; give a config such as {NEAR}.")
    return found
