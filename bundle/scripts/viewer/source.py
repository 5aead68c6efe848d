"""Which files make up a case that a user names by a path, and what its data set says of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.files import read_json
from scripts.layouts import find_dataset
from scripts.naming import MODALITIES, Case, Dataset, canonical_modality, listed, stem


@dataclass(frozen=True)
class Source:
    """The files of one case.

    Attributes:
        name: the case's.
        images: one 4-D or 3-D file, or one 3-D file a modality.
        label: the label map that lies with them, or None.
        modalities: names of the channels.
        named: whether those names are known, and not only the usual ones.
        declared_labels: id to tissue name from dataset.json, or None.
        naming: the label ids that the file names speak for, or None.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None
    modalities: tuple[str, ...]
    named: bool
    declared_labels: dict[int, str] | None = None
    naming: str | None = None


def find_source(
    case: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], modalities: Sequence[str] | None = None
) -> Source:
    """The files of a case given by its image, by one file a modality, or by a folder that holds it alone.

    Args:
        case: path or paths.
        modalities: names of the channels, in the files' order; None takes those of the data set.

    Raises:
        InputError: there is no such file, or the folder holds no case or several.
    """
    if not isinstance(case, str | os.PathLike):
        files = tuple(Path(file).expanduser() for file in case)
        if not files:
            raise InputError("the list of image files is empty; give one file a modality, or one 4-D file.")
        if len(files) == 1:
            return find_source(files[0], modalities)
        names = tuple(modalities or _names_of(files))
        return Source(stem(files[0]), files, None, names, True)
    path = Path(case).expanduser()
    if path.is_dir():
        dataset = _find(path, modalities)
        everything = [*dataset.cases, *dataset.unlabelled]
        if len(everything) != 1:
            problems = dataset.problems | dataset.image_problems
            if not everything and problems:
                raise InputError(f"{next(iter(problems.values()))}; give the missing file or name the image itself.")
            raise InputError(
                f"{path}: holds {len(everything)} cases, but one was wanted; give one case's image or folder, or name "
                "it by --dataset_dir with --case or --sample."
            )
        return _describe(everything[0], dataset, modalities)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file or folder; check the path.")
    root = path.resolve().parent.parent
    # Others, as nnU-Net's, do not list the files: such an image is one as any other.
    if isinstance(_description(root).get("training"), list):
        dataset = _find(root, modalities)
        for found in (*dataset.cases, *dataset.unlabelled):
            if found.image[0].resolve() == path.resolve():
                return _describe(found, dataset, modalities)
    return Source(stem(path), (path,), None, tuple(modalities or MODALITIES), modalities is not None)


def case_of_dataset(
    dataset_dir: str | os.PathLike[str],
    name: str | None = None,
    sample: int = 0,
    modalities: Sequence[str] | None = None,
) -> Source:
    """One case of a data set, by its name or by its place in natural order of the names, the labelled cases first.

    Args:
        dataset_dir: a folder in a known layout, or ``phantom``.
        name: the case's; None goes by ``sample``.
        sample: from 0.
        modalities: names of the channels, or None for the data set's own.

    Raises:
        InputError: there is no such case.
    """
    # Only imported here: a case that is named by its path does not wait for the phantom's generator.
    from scripts import phantom

    dataset = _find(phantom.resolve(dataset_dir), modalities)
    everything = [*dataset.cases, *dataset.unlabelled]
    if not everything:
        raise InputError(f"{dataset.root}: holds no case that can be shown; check the folder.")
    if name is not None:
        chosen = [case for case in everything if case.name == name]
        if not chosen:
            raise InputError(
                f"{dataset.root}: there is no case '{name}'; choose among {listed([case.name for case in everything])}."
            )
        return _describe(chosen[0], dataset, modalities)
    if not 0 <= sample < len(everything):
        raise InputError(
            f"{dataset.root}: sample {sample} is out of range, the folder holds {len(everything)} cases; choose 0 to "
            f"{len(everything) - 1}."
        )
    return _describe(everything[sample], dataset, modalities)


def _find(folder: Path, modalities: Sequence[str] | None) -> Dataset:
    return find_dataset(folder, _modalities(folder, modalities))


def _modalities(folder: Path, modalities: Sequence[str] | None) -> tuple[str, ...]:
    """Names as given, else as dataset.json has them, in our spelling where we have one."""
    if modalities is not None:
        return tuple(modalities)
    table = _description(folder).get("modality")
    # Whoever reads the data set refuses a table with other keys, and says so.
    if not isinstance(table, dict) or not all(key.isdecimal() for key in table):
        return MODALITIES
    return tuple(_shown(str(table[key])) for key in sorted(table, key=int))


def _description(folder: Path) -> dict[str, Any]:
    """What a folder's dataset.json says; empty where there is none, or no table in it."""
    file = folder / "dataset.json"
    found = read_json(file, "data set description") if file.is_file() else {}
    return found if isinstance(found, dict) else {}


def _shown(name: str) -> str:
    """Our spelling of a modality that we know, the given one else."""
    known = canonical_modality(name)
    return known if known in MODALITIES else name


def _names_of(files: Sequence[Path]) -> list[str]:
    """The modality that each file is named after, as in ``case_t1ce.nii.gz``; the whole name where there is none."""
    ends = [_shown(stem(file).replace("-", "_").rsplit("_", 1)[-1]) for file in files]
    return ends if set(ends) <= set(MODALITIES) and len(set(ends)) == len(ends) else [stem(file) for file in files]


def _describe(case: Case, dataset: Dataset, modalities: Sequence[str] | None) -> Source:
    return Source(
        case.name,
        case.image,
        case.label,
        _modalities(dataset.root, modalities),
        True,
        dataset.declared_labels,
        dataset.naming,
    )
