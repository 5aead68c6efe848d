"""Preparing cases on several machines: what each makes, whether the parts make a whole, and who waits."""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from scripts.naming import make_case
from scripts.store_build import build
from scripts.validate import check_case

from .reading import transforms

T = TypeVar("T")
# Voxels of a BraTS case, of 1 mm.
FULL_SHAPE = (240, 240, 155)
FULL_RANGE, FULL_NOISE = 2000, 16


def contents(folder: Path) -> dict[str, str]:
    """Path below ``folder`` to SHA-256 of every file."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def union(parts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What lies in a folder after the contents of several are copied into it.

    Raises:
        ValueError: two parts have a file of one name and of different contents, so the order of copying would matter.
    """
    whole: dict[str, str] = {}
    for part in parts:
        clashes = [name for name in part if whole.get(name, part[name]) != part[name]]
        if clashes:
            raise ValueError(f"{clashes[0]}: differs between two parts")
        whole |= part
    return whole


def published_deal(cases: Sequence[T], workers: int) -> list[list[T]]:
    """Lists for the workers as the published notebook cuts them, its slip included: ``[-0:]`` is the whole list."""
    size, remainder = len(cases) // workers, len(cases) % workers
    splits = [list(cases[index * size : (index + 1) * size]) for index in range(workers)]
    splits.append(list(cases[-1 * remainder :]))
    return splits


@dataclass(frozen=True)
class Fleet:
    """Machines that share out equal cases.

    Attributes:
        machines: how many.
        cores: of each.
        case_s: seconds of a case on one core.
        start_s: seconds until a machine begins: rented, image and packages loaded.
    """

    machines: int
    cores: int
    case_s: float
    start_s: float = 0.0

    def busy_s(self, cases: int) -> list[float]:
        """Seconds that each machine works, dealt as ``--shard I/N`` deals."""
        shares = [len(range(machine, cases, self.machines)) for machine in range(self.machines)]
        return [math.ceil(share / self.cores) * self.case_s for share in shares]

    def finished_s(self, cases: int) -> float:
        """Seconds until the last machine is done."""
        return self.start_s + max(self.busy_s(cases))

    def billed_hours(self, cases: int) -> float:
        """Machine hours of a job, which ends for all machines when the last one is done."""
        return self.machines * self.finished_s(cases) / 3600


def full_size(item: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A case on BraTS's own grid, made from a smaller one: as large to read and to prepare as a real one.

    Voxels are repeated and noise is added, so that the file packs no better than a scan. A case of that size is handed
    back as it is.

    Args:
        item: ``case``, ``image`` (one 4-D file, or one 3-D file a channel) and ``label``.
        folder: where the files go.
    """
    files = [item["image"]] if isinstance(item["image"], str) else item["image"]
    scans = [nib.load(file) for file in files]
    if math.prod(scans[0].shape[:3]) * 2 > math.prod(FULL_SHAPE):
        return dict(item)
    image = np.concatenate([np.asarray(scan.dataobj).reshape(*scan.shape[:3], -1) for scan in scans], axis=-1)
    label = np.asarray(nib.load(item["label"]).dataobj).astype(np.uint8)[..., None]
    grown = _fitted(np.round(image * (FULL_RANGE / image.max())).astype(np.int16))
    noise = np.random.default_rng(0).integers(0, FULL_NOISE, grown.shape, np.int16)
    grown += np.where(grown > 0, noise, np.int16(0))
    made = {"case": "full_size", "image": str(folder / "image.nii.gz"), "label": str(folder / "label.nii.gz")}
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    for key, volume in (("image", grown), ("label", _fitted(label)[..., 0])):
        nib.save(nib.Nifti1Image(volume, affine), made[key])
    return made


def _fitted(volume: np.ndarray) -> np.ndarray:
    """Every voxel doubled along three axes, then padded or cropped about the middle to ``FULL_SHAPE``."""
    for axis, wanted in enumerate(FULL_SHAPE):
        volume = volume.repeat(2, axis)
        lacking = max(0, wanted - volume.shape[axis])
        pad = [(0, 0)] * volume.ndim
        pad[axis] = (lacking // 2, lacking - lacking // 2)
        volume = np.pad(volume, pad)
        first = (volume.shape[axis] - wanted) // 2
        volume = volume.take(range(first, first + wanted), axis)
    return volume


def case_seconds(item: Mapping[str, Any], folder: Path, spacing: Sequence[float], rounds: int = 3) -> float:
    """CPU seconds to check, prepare and store one case; the median of ``rounds`` after one to warm up.

    Args:
        item: the case.
        folder: for the stores.
        spacing: voxel size in mm that is resampled to.
        rounds: measured.
    """
    chain, _ = transforms(spacing, (32, 32, 32))
    files = (item["image"],) if isinstance(item["image"], str) else tuple(item["image"])
    case = make_case(item["case"], tuple(map(Path, files)), Path(item["label"]))
    spent = []
    for turn in range(rounds + 1):
        began = time.process_time()
        check_case(case, 4)
        build([item], chain, folder / f"store{turn}", workers=1)
        spent.append(time.process_time() - began)
    return statistics.median(spent[1:])
