"""Full-size cases to measure on: a real one of a folder, or a synthetic one of like shape, brain share and size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scripts.naming import MODALITIES

SHAPE = (240, 240, 155)
# Semi-axes and centre of the brain in voxels: 18 % of the volume, as in BraTS.
CENTRE, SEMI_AXES = (119.0, 118.0, 72.0), (70.0, 85.0, 67.0)
# Mean intensity of FLAIR, T1w, T1gd, T2w; noise that makes 8 to 10 MB of .nii.gz a case.
MEANS, NOISE = (300, 400, 420, 330), 20.0
# Left-posterior-superior, as the files of BraTS.
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 239.0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])


@dataclass(frozen=True)
class FullSizeCase:
    """Files of one case: a 4-D int16 image and a label in Decathlon's ids."""

    image: str
    label: str

    def item(self) -> dict[str, str]:
        """As a MONAI data item."""
        return {"image": self.image, "label": self.label}


def full_size_case(folder: Path, dataset_dir: Path | None = None, seed: int = 0) -> FullSizeCase:
    """Write one case to ``folder``: that of the first patient below ``dataset_dir``, or a synthetic one.

    Args:
        folder: where the two files are written.
        dataset_dir: per-patient folders in the naming of BraTS 2021.
        seed: of the synthetic case.
    """
    voxels, label, affine = synthetic(seed) if dataset_dir is None else first_patient(dataset_dir)
    files = {}
    for name, volume in (("image", voxels), ("label", label)):
        image = nib.Nifti1Image(volume, affine)
        image.header.set_xyzt_units("mm")
        files[name] = str(folder / f"{name}.nii.gz")
        nib.save(image, files[name])
    return FullSizeCase(**files)


def synthetic(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An ellipsoid brain of smooth tissue and noise with a nested lesion.

    Returns:
        int16 (H, W, D, 4), uint8 (H, W, D) and the affine.
    """
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.arange(size, dtype=np.float32) for size in SHAPE), indexing="ij", sparse=True)
    brain = sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, CENTRE, SEMI_AXES, strict=True)) < 1
    distance = np.sqrt((grid[0] - 140) ** 2 + (grid[1] - 100) ** 2 / 1.3 + (grid[2] - 80) ** 2)
    label = np.zeros(SHAPE, np.uint8)
    for radius, value in ((26, 1), (17, 3), (10, 2)):
        label[(distance < radius) & brain] = value
    coarse = ndimage.gaussian_filter(rng.standard_normal((40, 40, 26)).astype(np.float32), 2)
    tissue = ndimage.zoom(coarse / coarse.std(), (6, 6, 6), order=1)[:, :, : SHAPE[2]]
    voxels = np.zeros((*SHAPE, len(MEANS)), np.int16, order="F")
    for channel, mean in enumerate(MEANS):
        noise = NOISE * rng.standard_normal(SHAPE).astype(np.float32)
        intensity = mean + 60 * tissue + noise + label * np.float32(40 * (channel + 1))
        voxels[..., channel] = np.where(brain, intensity.clip(1).round(), 0)
    return voxels, label, AFFINE


def first_patient(dataset_dir: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first patient below ``dataset_dir`` as one 4-D volume, with labels in Decathlon's ids."""
    name = sorted(path for path in dataset_dir.iterdir() if path.is_dir())[0]
    files = [name / f"{name.name}{ending}.nii.gz" for ending in ("_flair", "_t1", "_t1ce", "_t2", "_seg")]
    assert len(files) == len(MODALITIES) + 1
    images = [nib.load(file) for file in files]
    voxels = np.stack([np.asarray(image.dataobj) for image in images[:-1]], axis=-1).astype(np.int16)
    seg = np.asarray(images[-1].dataobj).astype(np.uint8)
    return voxels, np.array([0, 2, 1, 0, 3], np.uint8)[seg], images[0].affine
