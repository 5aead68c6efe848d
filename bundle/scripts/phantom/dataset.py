"""Making a phantom set: its cases, their NIfTI files, and the dataset.json that describes them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from scripts.errors import InputError
from scripts.files import unwritable
from scripts.phantom.anatomy import BRAIN_BOX_MM, Grid, load_templates, make_anatomy, random_place
from scripts.phantom.contrast import make_image
from scripts.phantom.hard import make_hard_case
from scripts.phantom.lesions import draw_lesions, plan_lesions

STANDARD, HARD, MIXED = "standard", "hard", "mixed"
KINDS = (STANDARD, HARD, MIXED)
# Part of the cache folder's name: raise it whenever the voxels of the kind change.
VERSION = 1
VERSIONS = {STANDARD: VERSION, HARD: 1, MIXED: 2}
# The random streams of a case, beside seed and index. No two kinds share one: a patient of one is in no other.
PARTS = {STANDARD: range(4), HARD: range(4, 8), MIXED: range(8, 12)}
# Of a mixed set, every fourth case is made as a standard one.
STANDARD_EVERY = 4
SEED = 0
CASES = 24
UNLABELLED = 2
SHAPE = (80, 96, 80)
SPACING_MM = 2.0
Case = tuple[NDArray[np.int16], NDArray[np.uint8]]
# One case at 240 x 240 x 155 takes about 1 GB while it is made.
MAX_WORKERS = 4


def make_case(index: int, seed: int, grid: Grid, kind: str = STANDARD) -> Case:
    """One patient, which depends on the kind, the seed and its index alone.

    Returns:
        The image, int16 (H, W, D, 4) in the order FLAIR, T1w, T1gd, T2w, and the label map, uint8 (H, W, D).
    """
    if kind == HARD or (kind == MIXED and index % STANDARD_EVERY):
        return make_hard_case(index, seed, grid, PARTS[kind])
    plan, body, shape, scan = (np.random.default_rng([seed, index, part]) for part in PARTS[kind])
    lesions = plan_lesions(plan, index)
    place = random_place(body, grid)
    anatomy = make_anatomy(body, place, [lesion.push for lesion in lesions], grid)
    label = draw_lesions(shape, lesions, anatomy, grid)
    return make_image(scan, anatomy, label, grid), label


def generate(
    target: str | os.PathLike[str],
    cases: int = CASES,
    unlabelled: int = UNLABELLED,
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: float = SPACING_MM,
    seed: int = SEED,
    progress: bool = True,
    kind: str = STANDARD,
) -> Path:
    """Make a phantom set; the folder appears under its name when it is whole, and not at all if anything fails.

    Args:
        target: the folder to make; it must not exist, or be empty.
        cases: number of labelled cases (imagesTr, labelsTr).
        unlabelled: number of cases without a label (imagesTs).
        shape: voxels of a volume, (H, W, D).
        spacing_mm: edge of a voxel.
        seed: another seed, other patients.
        progress: show a bar on stderr.
        kind: of the patients, one of ``KINDS``.

    Raises:
        InputError: an argument is out of range, the target is not empty, or it cannot be written.
    """
    target = Path(target)
    _check(target, cases, unlabelled, shape, spacing_mm, seed, kind)
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), float(spacing_mm))
    aside = target.with_name(f".part-{target.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        aside.mkdir(parents=True)
        for folder in ("imagesTr", "labelsTr", "imagesTs"):
            (aside / folder).mkdir()
        _write_cases(aside, cases, unlabelled, partial(make_case, seed=seed, grid=grid, kind=kind), grid, progress)
        description = _dataset_json(cases, unlabelled, grid, seed, kind)
        (aside / "dataset.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        if target.is_dir():
            # An empty folder can be in the way of a rename on Windows; a full one stops here.
            target.rmdir()
        aside.rename(target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _write_cases(
    root: Path, cases: int, unlabelled: int, make: Callable[[int], Case], grid: Grid, progress: bool
) -> None:
    """Write every volume under ``root``. Threads serve: numpy, scipy.ndimage and zlib let go of the interpreter."""
    # Loaded before there are threads, so that they share the one copy.
    load_templates()
    workers = min(os.cpu_count() or 1, MAX_WORKERS)
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(_write_case, root, index, index < cases, make, grid) for index in range(cases + unlabelled)]
        try:
            for job in tqdm(as_completed(jobs), "phantom (synthetic)", len(jobs), unit="case", disable=not progress):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_case(root: Path, index: int, labelled: bool, make: Callable[[int], Case], grid: Grid) -> None:
    image, label = make(index)
    name = _file_name(index)
    _save(image, grid, root / ("imagesTr" if labelled else "imagesTs") / name)
    if labelled:
        _save(label, grid, root / "labelsTr" / name)


def _save(volume: NDArray[np.generic], grid: Grid, path: Path) -> None:
    """Write NIfTI; nibabel packs .nii.gz at gzip level 1: quick, and the zeros around the brain pack anyway."""
    image = nib.Nifti1Image(volume, grid.affine)
    # Some readers look at one of the two affines only.
    image.set_sform(grid.affine, "scanner")
    image.set_qform(grid.affine, "scanner")
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _file_name(index: int) -> str:
    return f"PHANTOM_{index + 1:03d}.nii.gz"


def _dataset_json(cases: int, unlabelled: int, grid: Grid, seed: int, kind: str) -> dict[str, object]:
    """The description in the Decathlon's own form, with its label ids (scheme ``msd``)."""
    version = str(VERSION) if kind == STANDARD else f"{kind} {VERSIONS[kind]}"
    return {
        "name": "PHANTOM (SYNTHETIC)",
        "description": "SYNTHETIC brain tumours drawn into warped MNI152 templates; no patient, no clinical meaning",
        "reference": "MNI152 2009a templates, Fonov et al. 2011, as carried by nilearn",
        "licence": "see data_license.txt",
        "release": f"{version} (seed {seed}, {'x'.join(map(str, grid.shape))} at {grid.spacing_mm:g} mm)",
        "tensorImageSize": "4D",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "T1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "numTraining": cases,
        "numTest": unlabelled,
        "training": [
            {"image": f"./imagesTr/{_file_name(index)}", "label": f"./labelsTr/{_file_name(index)}"}
            for index in range(cases)
        ],
        "test": [f"./imagesTs/{_file_name(index)}" for index in range(cases, cases + unlabelled)],
    }


def _check(
    target: Path, cases: int, unlabelled: int, shape: tuple[int, int, int], spacing_mm: float, seed: int, kind: str
) -> None:
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file where a folder is wanted; choose another --output.")
    if target.is_dir() and any(target.iterdir()):
        raise InputError(f"{target}: exists and is not empty; choose another --output or remove it.")
    if kind not in KINDS:
        raise InputError(f"kind '{kind}' is unknown; choose one of {', '.join(KINDS)}.")
    if cases < 1 or unlabelled < 0 or seed < 0:
        raise InputError(
            f"cases={cases}, unlabelled={unlabelled}, seed={seed}: at least 1, 0 and 0 are wanted; correct the flags."
        )
    if not 0.5 <= spacing_mm <= 8:
        raise InputError(f"spacing_mm={spacing_mm}: between 0.5 and 8 mm is wanted; correct --spacing_mm.")
    small = [axis for axis in range(3) if shape[axis] * spacing_mm < BRAIN_BOX_MM[axis]]
    if small:
        wanted = " x ".join(str(int(np.ceil(box / spacing_mm))) for box in BRAIN_BOX_MM)
        raise InputError(
            f"shape={'x'.join(map(str, shape))} at {spacing_mm:g} mm is too small for a head; "
            f"at least {wanted} voxels are wanted: raise --shape or --spacing_mm."
        )
