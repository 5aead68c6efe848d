"""Tiny synthetic cases: an ellipsoid brain with nested ellipsoid lesions, on an LPS grid with unequal spacing."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (24, 28, 20)
SPACING_MM = (2.0, 2.0, 3.0)
# Left-posterior-superior, off-centre: a reader that ignores the affine gives itself away.
AFFINE = np.array([[-2.0, 0, 0, 31.0], [0, -2.0, 0, 17.0], [0, 0, 3.0, -11.0], [0, 0, 0, 1.0]])
# Mean intensity of brain, edema, non-enhancing core and enhancing part in FLAIR, T1w, T1gd, T2w.
TISSUE = {0: (300, 400, 400, 300), 1: (700, 330, 350, 650), 2: (450, 250, 250, 800), 3: (560, 360, 900, 520)}

# File endings of FLAIR, T1w, T1gd, T2w and label, and the id that each of Decathlon's has there.
STYLES = {
    "2021": (("_flair", "_t1", "_t1ce", "_t2", "_seg"), {0: 0, 1: 2, 2: 1, 3: 4}),
    "2023": (("-t2f", "-t1n", "-t1c", "-t2w", "-seg"), {0: 0, 1: 2, 2: 1, 3: 3}),
}

# Knobs of the smallest training that goes through everything.
TINY = {
    "patch_size": [32, 32, 32],
    "epochs": 1,
    "val_interval": 1,
    "network_def::channels": [4, 8, 16],
    "network_def::strides": [2, 2],
    "network_def::num_res_units": 1,
}


def make_case(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """One patient: int16 image (H, W, D, 4) and uint8 label (H, W, D) in the ``msd`` scheme."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    brain = (grid**2).sum(0) < 0.85
    centre = rng.uniform(-0.2, 0.2, size=(3, 1, 1, 1))
    distance = np.sqrt(((grid - centre) ** 2).sum(0))
    label = np.zeros(shape, np.uint8)
    label[(distance < 0.5) & brain] = 1
    label[distance < 0.34] = 3
    label[distance < 0.18] = 2
    image = np.zeros((*shape, 4), np.int16)
    for value, means in TISSUE.items():
        where = brain & (label == value)
        image[where] = rng.normal(means, 25, size=(int(where.sum()), 4)).round().clip(1)
    return image, label


def save(volume: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> Path:
    """Write a volume as NIfTI in mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def write_decathlon(folder: Path, cases: int = 8, unlabelled: int = 0, shape: tuple[int, int, int] = SHAPE) -> Path:
    """Write a Decathlon folder: dataset.json, imagesTr, labelsTr, imagesTs."""
    description: dict[str, object] = {
        "name": "BRATS",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "training": [],
        "test": [],
    }
    for index in range(cases + unlabelled):
        image, label = make_case(index, shape)
        name = f"BRATS_{index + 1:03d}.nii.gz"
        if index < cases:
            save(image, folder / "imagesTr" / name)
            save(label, folder / "labelsTr" / name)
            description["training"].append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
        else:
            save(image, folder / "imagesTs" / name)
            description["test"].append(f"./imagesTs/{name}")
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def write_brats_folders(folder: Path, cases: int = 6, style: str = "2021", labelled: bool = True) -> Path:
    """Write per-patient BraTS folders in the naming of ``2021`` (``_t1ce``) or ``2023`` (``-t1c``)."""
    endings, ids = STYLES[style]
    for index in range(cases):
        image, label = make_case(index)
        name = f"BraTS2021_{index:05d}" if style == "2021" else f"BraTS-GLI-{index:05d}-000"
        for channel, ending in enumerate(endings[:4]):
            save(image[..., channel], folder / name / f"{name}{ending}.nii.gz")
        if labelled:
            save(np.vectorize(ids.get, otypes=[np.uint8])(label), folder / name / f"{name}{endings[4]}.nii.gz")
    return folder
