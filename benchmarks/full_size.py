"""Cases of BraTS's own size: 240 x 240 x 155 voxels of 1 mm, four modalities; for a machine without BraTS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import timing  # noqa: F401  puts bundle/ on the path
from scripts import phantom
from scripts.datalists import entries, items
from scripts.files import cache_dir
from scripts.layouts import find_dataset
from scripts.naming import MODALITIES

SHAPE = (240, 240, 155)


def dataset_dir(cases: int = 3) -> Path:
    """The phantom at full size, made on first use and kept in the cache folder."""
    target = cache_dir() / f"phantom-{phantom.VERSION}-full-size-{cases}"
    return phantom.make_once(target, lambda folder: phantom.generate(folder, cases, 0, SHAPE, 1.0))


def cases_of(folder: Path, modalities: Sequence[str] = MODALITIES) -> list[dict[str, Any]]:
    """Items of every labelled case of a folder in a known layout: ``case``, ``image``, ``label``."""
    dataset = find_dataset(folder, modalities)
    return items({"dataset_dir": str(dataset.root), "cases": entries(dataset.cases, dataset.root)}, "cases")


def one_case(scratch: Path, folder: Path | None = None) -> dict[str, str]:
    """The first case of a folder, or of the phantom, as one 4-D image file and one label file in Decathlon's ids.

    Args:
        scratch: where a case of several files, as BraTS distributes them, is written as one.
        folder: in a known layout; per-patient folders must have the ids of BraTS up to 2022.
    """
    item = cases_of(folder or dataset_dir())[0]
    if isinstance(item["image"], str):
        return {"image": item["image"], "label": item["label"]}
    images = [nib.load(file) for file in item["image"]]
    voxels = np.stack([np.asarray(image.dataobj) for image in images], axis=-1).astype(np.int16)
    label = np.array([0, 2, 1, 0, 3], np.uint8)[np.asarray(nib.load(item["label"]).dataobj).astype(np.uint8)]
    joined = {"image": str(scratch / "image.nii.gz"), "label": str(scratch / "label.nii.gz")}
    for key, volume in (("image", voxels), ("label", label)):
        nib.save(nib.Nifti1Image(volume, images[0].affine), joined[key])
    return joined
