"""Checking that a case can be trained on or segmented, before anything is.

A case that passed is remembered in the cache folder by the path, size and time of its files, so a second run starts at
once. One that failed is read anew each time: the cause may lie outside the file (permissions, memory, a network disk).
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray
from tqdm import tqdm

from scripts.errors import InputError, first_line
from scripts.files import cache_dir, read_json, write_json
from scripts.grids import AFFINE_TOLERANCE_MM, affine_difference_mm
from scripts.labels import Scheme, unknown_values
from scripts.naming import Case, listed
from scripts.readers import read_nifti
from scripts.volumes import affine_problem, is_one_volume, times, type_problem

logger = logging.getLogger(__name__)

# A worker holds one file in its stored type: 143 MB for four modalities of 240x240x155 as float32.
MAX_WORKERS = 4
STORE_VERSION = 1


@dataclass
class CaseFacts:
    """What a case's files hold.

    Attributes:
        shape: voxels along the three axes, (H, W, D), of the first image file that can be read.
        spacing_mm: its voxel size.
        affine: its voxel index to mm, 4 x 4.
        label_counts: voxels of each label value that occurs; empty without a label that can be read.
        problems: a sentence for everything that makes the case unusable.
    """

    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    affine: list[list[float]] = field(default_factory=list)
    label_counts: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def check_case(case: Case, n_modalities: int) -> CaseFacts:
    """Read a case's files, one at a time, and list what is wrong with them.

    The image must have ``n_modalities`` volumes, finite and not constant; the label, if the case has one, whole numbers
    that are not all 0; and every file the shape and affine of the first.
    """
    facts = CaseFacts()
    for path in (*case.image, *([case.label] if case.label else [])):
        try:
            # The stored numbers: scaled ones would be float64, up to eight times the memory.
            image, voxels = read_nifti(path)
        # nibabel, gzip and zlib raise a dozen kinds of error on a damaged file; all mean the same to the user.
        except Exception as error:
            reason = first_line(error)
            facts.problems.append(f"{path}: cannot be read ({reason})")
            continue
        if problem := type_problem(voxels.dtype):
            facts.problems.append(f"{path}: {problem}")
            continue
        found = [_grid_problem(image, facts)]
        if path == case.label:
            found += [_label_problem(image, voxels, facts)]
        else:
            found += [_shape_problem(image.shape, len(case.image), n_modalities), *_volume_problems(voxels)]
        facts.problems += [f"{path}: {problem}" for problem in found if problem]
    return facts


def scheme_problems(facts: CaseFacts, scheme: Scheme) -> list[str]:
    """A sentence if the label holds values that ``scheme`` does not have."""
    unknown = [f"{value} ({facts.label_counts[value]} voxels)" for value in unknown_values(facts.label_counts, scheme)]
    known = ", ".join(map(str, (0, *scheme.labels)))
    return [f"label value {listed(unknown)} is not in scheme '{scheme.name}' ({known})"] if unknown else []


def check_cases(
    cases: Sequence[Case], n_modalities: int, workers: int | None = None, progress: bool = True
) -> list[CaseFacts]:
    """:func:`check_case` for many, in threads (decompression and reductions release the interpreter lock).

    Args:
        cases: any number.
        n_modalities: volumes wanted of each image.
        workers: cases read at a time; None takes the number of cores, at most 4.
        progress: show a bar on stderr, if that is a terminal.

    Returns:
        The facts, in the order of ``cases``.
    """
    stamps = [_stamp(case) for case in cases]
    keys = [f"{n_modalities} {' '.join(map(str, _files(case)))}" for case in cases]
    store = _read_store()
    facts = [_remembered(store.get(key), stamp) for key, stamp in zip(keys, stamps, strict=True)]
    todo = [index for index, known in enumerate(facts) if known is None]
    if todo:
        logger.info("checking %d cases (%d passed before)", len(todo), len(cases) - len(todo))
        with ThreadPoolExecutor(workers or min(os.cpu_count() or 1, MAX_WORKERS)) as pool:
            results = pool.map(check_case, [cases[index] for index in todo], itertools.repeat(n_modalities))
            bar = tqdm(results, "checking cases", len(todo), unit="case", disable=None if progress else True)
            for index, result in zip(todo, bar, strict=True):
                facts[index] = result
        passed = {keys[i]: {"stamp": stamps[i], "facts": asdict(facts[i])} for i in todo if not facts[i].problems}
        _write_store(passed)
    return facts


def _grid_problem(image: SpatialImage, facts: CaseFacts) -> str | None:
    """Compare a file's grid with the first one's, which is noted in ``facts``."""
    shape = tuple(int(n) for n in image.shape[:3])
    if problem := affine_problem(image.affine):
        return problem
    if not facts.shape:
        facts.shape = shape
        facts.spacing_mm = tuple(round(float(size), 4) for size in image.header.get_zooms()[:3])
        facts.affine = image.affine.tolist()
        return None
    if shape != facts.shape:
        return f"has shape {times(shape)}, but the case's first image has {times(facts.shape)}"
    difference = affine_difference_mm(image.affine, np.array(facts.affine))
    if difference > AFFINE_TOLERANCE_MM:
        return f"has another affine than the case's first image (they differ by up to {difference:.3g} mm)"
    return None


def _shape_problem(shape: tuple[int, ...], files: int, n_modalities: int) -> str | None:
    """Whether one of ``files`` image files has the volumes it should."""
    one_volume = is_one_volume(shape)
    if files > 1 or n_modalities == 1:
        return None if one_volume else f"has shape {times(shape)}, but one 3-D volume is wanted"
    if one_volume:
        return f"is a 3-D image ({times(shape)}), but {n_modalities} modalities are wanted"
    if len(shape) != 4:
        return f"has shape {times(shape)}, but a 4-D image of {n_modalities} modalities is wanted"
    if shape[3] != n_modalities:
        return f"has {shape[3]} modalities ({times(shape)}), but {n_modalities} are wanted"
    return None


def _volume_problems(voxels: NDArray[Any]) -> list[str]:
    """What is wrong with the volumes (H, W, D) or (H, W, D, n) of an image file. Scaling would change nothing here."""
    problems = []
    volumes = [voxels] if voxels.ndim < 4 else [voxels[..., index] for index in range(voxels.shape[3])]
    for number, volume in enumerate(volumes, start=1):
        what = f"volume {number} of {len(volumes)}" if len(volumes) > 1 else "the image"
        with np.errstate(invalid="ignore"):
            low, high = float(volume.min()), float(volume.max())
        if not np.isfinite((low, high)).all():
            problems.append(f"{what} holds NaN or infinite voxels")
        elif low == high:
            problems.append(f"{what} is " + (f"constant ({low:g} everywhere)" if low else "empty (0 everywhere)"))
    return problems


def _label_problem(image: SpatialImage, voxels: NDArray[Any], facts: CaseFacts) -> str | None:
    """Count the label's values into ``facts``."""
    if shape_problem := _shape_problem(image.shape, 1, 1):
        return shape_problem
    stored, counts = np.unique(voxels, return_counts=True)
    values = stored.astype(np.float64) * image.dataobj.slope + image.dataobj.inter
    if len(fractions := values[~np.isfinite(values) | (values != np.rint(values))]):
        return f"a label holds whole numbers, but here is {listed([f'{value:g}' for value in fractions])}"
    facts.label_counts = {int(value): int(count) for value, count in zip(values, counts, strict=True)}
    return "the label is empty (0 everywhere)" if set(facts.label_counts) == {0} else None


def _files(case: Case) -> list[Path]:
    return [path.resolve() for path in (*case.image, case.label) if path is not None]


def _stamp(case: Case) -> list[list[int]]:
    """Size and time of change of each file; a file that cannot be asked has none, and matches nothing remembered."""
    stamp = []
    for path in _files(case):
        try:
            status = path.stat()
        except OSError:
            return []
        stamp.append([status.st_size, status.st_mtime_ns])
    return stamp


def _store_file() -> Path:
    return cache_dir() / "checked_cases.json"


def _read_store() -> dict[str, Any]:
    """What passed before. An absent or damaged store is an empty one: the cases are then read again."""
    try:
        content = read_json(_store_file(), "store of checked cases")
        return dict(content["cases"]) if content["version"] == STORE_VERSION else {}
    except (InputError, KeyError, TypeError, ValueError):
        return {}


def _remembered(entry: Any, stamp: list[list[int]]) -> CaseFacts | None:
    try:
        if not stamp or entry["stamp"] != stamp:
            return None
        facts = CaseFacts(**entry["facts"])
        facts.shape, facts.spacing_mm = tuple(facts.shape), tuple(facts.spacing_mm)
        facts.label_counts = {int(value): int(count) for value, count in facts.label_counts.items()}
        return facts
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _write_store(passed: dict[str, Any]) -> None:
    """Add to the store, keeping what another process wrote meanwhile. Remembering is a convenience, never a need."""
    try:
        write_json(_store_file(), {"version": STORE_VERSION, "cases": _read_store() | passed})
    except InputError as error:
        logger.warning("what was checked is not remembered: %s", error)
