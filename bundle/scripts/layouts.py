"""Finding the cases of a data set folder in any of the known layouts. Only names are read here, no voxels."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.brats_folders import find_groups, read_groups
from scripts.errors import InputError
from scripts.files import read_json
from scripts.naming import MODALITIES, Case, Dataset, canonical_modality, is_nifti, listed, make_case, natural_key, stem

__all__ = ["MODALITIES", "Case", "Dataset", "find_dataset"]

logger = logging.getLogger(__name__)

KNOWN_LAYOUTS = (
    "Decathlon (dataset.json, imagesTr, labelsTr), "
    "per-patient BraTS folders (<case>_flair/_t1/_t1ce/_t2/_seg or <case>-t2f/-t1n/-t1c/-t2w/-seg, .nii or .nii.gz), "
    "train|valid/<subject>/img.nii.gz with label.nii.gz, or, to segment, a flat folder of NIfTI files"
)
_GIVEN_PARTS = {"train": "training", "valid": "validation"}


def find_dataset(dataset_dir: str | os.PathLike[str], modalities: Sequence[str] = MODALITIES) -> Dataset:
    """Recognise the layout of a folder and list its cases.

    Args:
        dataset_dir: the folder; in the BraTS layout also that of a single case.
        modalities: names of the image channels, in the order wanted.

    Returns:
        The cases, and those that cannot be used because a file is missing or ambiguous.

    Raises:
        InputError: the folder is absent, empty or in no known layout, a case name occurs twice, or dataset.json has
            another channel order.
    """
    root = Path(dataset_dir).expanduser()
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; check dataset_dir.")
    if not os.access(root, os.R_OK | os.X_OK):
        raise InputError(f"{root}: you may not read this folder; change its permissions or dataset_dir.")
    root = root.resolve()
    if (root / "dataset.json").is_file():
        dataset = _decathlon(root, modalities)
    elif subjects := _subject_folders(root):
        dataset = _subjects(root, subjects)
    elif groups := find_groups(root):
        dataset = read_groups(root, groups, modalities)
    elif files := [path for path in root.iterdir() if is_nifti(path)]:
        dataset = Dataset(root, "files", unlabelled=[make_case(stem(file), (file,)) for file in files])
    else:
        raise _unknown_layout(root)
    counts = Counter(case.name for case in (*dataset.cases, *dataset.unlabelled))
    if twice := sorted((name for name, count in counts.items() if count > 1), key=natural_key):
        raise InputError(f"{root}: several cases are called {listed(twice)}; give each case a name of its own.")
    for cases in (dataset.cases, dataset.unlabelled):
        cases.sort(key=lambda case: natural_key(case.name))
    return dataset


def _decathlon(root: Path, modalities: Sequence[str]) -> Dataset:
    source = root / "dataset.json"
    description = read_json(source, "data set description")
    if not isinstance(description, dict) or not isinstance(description.get("training"), list):
        raise InputError(f"{source}: the list 'training' of a Decathlon description is not there; restore the file.")
    _check_order(source, description.get("modality"), modalities)
    dataset = Dataset(root, "decathlon", declared_labels=_declared_labels(source, description.get("labels")))
    for section, wanted in (("training", ("image", "label")), ("test", ("image",))):
        for entry in description.get(section) or []:
            files = {"image": entry} if isinstance(entry, str) else entry
            if not isinstance(files, dict) or not all(isinstance(files.get(key), str) for key in wanted):
                raise InputError(f"{source}: {section} entry {entry} lacks {' or '.join(wanted)}; correct it.")
            paths = [root / files[key] for key in wanted]
            name = stem(paths[0])
            if name.startswith("._"):  # macOS resource forks, listed by careless scripts
                continue
            if missing := [str(path) for path in paths if not path.is_file()]:
                problems = dataset.problems if section == "training" else dataset.image_problems
                problems[name] = f"{' and '.join(missing)}: listed in dataset.json but not there"
            elif section == "training":
                dataset.cases.append(make_case(name, (paths[0],), paths[1]))
            else:
                dataset.unlabelled.append(make_case(name, (paths[0],)))
    return dataset


def _check_order(source: Path, table: Any, modalities: Sequence[str]) -> None:
    """Refuse a channel order that is not the wanted one: a network fed T2w for T1gd is wrong without any error."""
    try:
        found = [str(table[str(index)]) for index in range(len(table))]
    except (KeyError, TypeError) as error:
        raise InputError(
            f'{source}: modality must name the channels in order, as in {{"0": "FLAIR"}}, but is {table}; correct it.'
        ) from error
    if [canonical_modality(name) for name in found] != [canonical_modality(name) for name in modalities]:
        raise InputError(
            f"{source}: the image channels are {', '.join(found)}, but {', '.join(modalities)} are wanted; "
            "reorder the volumes, or set modalities to the file's own order and train with that."
        )


def _declared_labels(source: Path, table: Any) -> dict[int, str] | None:
    try:
        return {int(value): str(tissue) for value, tissue in table.items()} if table else None
    except (AttributeError, ValueError) as error:
        raise InputError(
            f'{source}: labels must map ids to tissues, as in {{"1": "edema"}}, but is {table}; correct it.'
        ) from error


def _subject_folders(root: Path) -> dict[Path, str]:
    """``train`` and ``valid``'s subject folders that hold an image or a label, each with its part of the split."""
    return {
        folder: part
        for name, part in _GIVEN_PARTS.items()
        if (root / name).is_dir()
        for folder in (root / name).iterdir()
        if folder.is_dir() and (_volume(folder, "img") or _volume(folder, "label"))
    }


def _subjects(root: Path, folders: dict[Path, str]) -> Dataset:
    dataset = Dataset(root, "subjects", given_split={})
    labelled = any(_volume(folder, "label") for folder in folders)
    times = Counter(folder.name for folder in folders)
    if twice := [name for name, count in times.items() if count > 1]:
        # Numbered from 001 in either folder, as published sets are; nothing in the files can tell a repeated patient.
        logger.warning("%s: %s in both train and valid, taken for different patients", root, listed(twice))
    for folder, part in folders.items():
        name = folder.name if times[folder.name] == 1 else f"{folder.parent.name}_{folder.name}"
        image, label = _volume(folder, "img"), _volume(folder, "label")
        if image is None or (labelled and label is None):
            dataset.problems[f"{folder.parent.name}/{folder.name}"] = (
                f"{folder}: {'label' if image else 'img'}.nii.gz is missing"
            )
        elif label is None:
            dataset.unlabelled.append(make_case(name, (image,)))
        else:
            dataset.cases.append(make_case(name, (image,), label))
            dataset.given_split[name] = part
    if set(dataset.given_split.values()) != set(_GIVEN_PARTS.values()):
        # One folder alone is no split: its cases are split as any others.
        return Dataset(root, "subjects", dataset.cases, dataset.unlabelled, problems=dataset.problems)
    return dataset


def _volume(folder: Path, name: str) -> Path | None:
    return next((path for ending in (".nii.gz", ".nii") if (path := folder / (name + ending)).is_file()), None)


def _unknown_layout(root: Path) -> InputError:
    entries = sorted((entry for entry in root.iterdir() if not entry.name.startswith(".")), key=lambda e: e.name)
    if not entries:
        return InputError(f"{root}: the folder is empty; wanted: {KNOWN_LAYOUTS}.")
    if nested := [entry for entry in entries if (entry / "dataset.json").is_file()]:
        return InputError(f"{root}: dataset.json is one folder below; set dataset_dir to {nested[0]}.")
    found = listed([entry.name + ("/" if entry.is_dir() else "") for entry in entries])
    if any(entry.name == "imagesTr" for entry in entries):
        return InputError(f"{root}: found {found}, but no dataset.json, which lists the cases; restore it.")
    return InputError(f"{root}: no dataset.json and no known layout, only {found}; wanted: {KNOWN_LAYOUTS}.")
