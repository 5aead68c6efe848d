"""Folders of label maps from any tool, matched by case: predictions and the reference that they are scored against.

Known are flat folders (``CASE.nii.gz`` as nnU-Net writes, ``CASE_seg.nii.gz`` as this bundle does, ``CASE-seg.nii.gz``
as BraTS from 2023), Decathlon and nnU-Net data sets with a folder ``labelsTr``, and per-patient BraTS folders. ``.nii``
serves as well as ``.nii.gz``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.brats_folders import find_groups
from scripts.errors import InputError
from scripts.files import read_json
from scripts.grids import AFFINE_TOLERANCE_MM, affine_difference_mm
from scripts.label_files import open_label
from scripts.labels import Scheme, refuse_declared_otherwise
from scripts.naming import MODALITY_ALIASES, is_nifti, listed, natural_key, stem
from scripts.volumes import affine_problem, times

LABELS_OF_TRAINING = "labelsTr"
# Of the Decathlon and of nnU-Net, whose description of the data set lies beside them.
LABELS_OF_DATASETS = (LABELS_OF_TRAINING, "labelsTs")
_LABEL_ENDING = re.compile(r"[_-]segm?$", re.IGNORECASE)
# Probabilities and uncertainty of configs/inference.json, and a case's images, which BraTS keeps beside its label.
_BY_PRODUCT_ENDING = re.compile(r"_(prob|unc)$")
_IMAGE_ENDING = re.compile(
    rf"[_-]({'|'.join(alias for aliases in MODALITY_ALIASES.values() for alias in aliases)})$", re.IGNORECASE
)


@dataclass(frozen=True)
class Pair:
    """A case to score: a prediction and its reference, label maps both."""

    case: str
    prediction: Path
    reference: Path


def find_labels(folder: str | os.PathLike[str], option: str) -> dict[str, Path]:
    """Case to label map for every case of a folder, in natural order.

    Args:
        folder: in one of the known layouts.
        option: the option that named it, for messages.

    Raises:
        InputError: the folder is not there, holds no label map, two of one case, or names of two kinds.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; check {option}.")
    if (root / LABELS_OF_TRAINING).is_dir():
        root = root / LABELS_OF_TRAINING
    found: dict[str, Path] = {}
    for case, file in _flat(root) or _of_patients(root):
        if case in found:
            raise InputError(f"{found[case]} and {file.name}: two label maps of case {case}; leave one of them there.")
        found[case] = file
    if not found:
        raise InputError(
            f"{root}: holds no label maps; wanted in {option}: CASE.nii.gz, CASE_seg.nii.gz, CASE-seg.nii.gz, a "
            f"folder {LABELS_OF_TRAINING}, or per-patient BraTS folders."
        )
    return dict(sorted(found.items(), key=lambda entry: natural_key(entry[0])))


def refuse_other_scheme(folder: str | os.PathLike[str], scheme: Scheme, option: str) -> None:
    """Hold the ids that a folder's dataset.json declares, where it has one, against a scheme.

    The Decathlon maps an id to its tissue, nnU-Net (version 2, which leaves the file beside its predictions as well) a
    tissue to its id; its lists of ids, which stand for regions, tell of no scheme.

    Args:
        folder: of label maps, a data set, or a data set's ``labelsTr`` or ``labelsTs``.
        scheme: what the ids are taken for.
        option: by which it is chosen, for the message.

    Raises:
        InputError: the ids are those of another scheme, or the file cannot be read.
    """
    root = Path(folder).expanduser()
    file = root / "dataset.json"
    if not file.is_file() and root.resolve().name in LABELS_OF_DATASETS:
        file = root.resolve().parent / "dataset.json"
    if not file.is_file():
        return
    description = read_json(file, "data set description")
    table = description.get("labels") if isinstance(description, dict) else None
    entries = table.items() if isinstance(table, dict) else ()
    declared = {int(key): str(value) for key, value in entries if str(key).isdecimal()}
    declared |= {value: str(key) for key, value in entries if isinstance(value, int)}
    if declared:
        refuse_declared_otherwise(scheme, declared, str(file), option)


def pair_up(
    predictions: Mapping[str, Path],
    references: Mapping[str, Path],
    predicted_only: bool,
    folders: tuple[str | os.PathLike[str], str | os.PathLike[str]],
) -> list[Pair]:
    """Pairs of the same case.

    Args:
        predictions: case to file.
        references: case to file.
        predicted_only: leave out the cases of the reference that were not predicted.
        folders: of the predictions and of the reference, for the message.

    Raises:
        InputError: a prediction has no reference, or, unless ``predicted_only``, a reference no prediction: leaving
            cases out silently would raise the mean.
    """
    problems = []
    if unknown := [case for case in predictions if case not in references]:
        problems.append(
            f"{len(unknown)} predicted, but not in the reference ({listed(unknown)}): remove them from the "
            "predictions, or add their labels"
        )
    missing = [case for case in references if case not in predictions]
    if missing and not predicted_only:
        problems.append(
            f"{len(missing)} in the reference, but not predicted ({listed(missing)}): predict them, or leave them out "
            "with --predicted_only"
        )
    if problems:
        raise InputError(
            f"{folders[0]} (--prediction_dir) has {len(predictions)} cases and {folders[1]} (--reference_dir) "
            f"{len(references)}, which are to be the same: {'; '.join(problems)}."
        )
    return [Pair(case, file, references[case]) for case, file in predictions.items()]


def refuse(problems: Mapping[str, str], total: int) -> None:
    """Raise with every unusable case: one alone as its sentence, several on a line each below a headline.

    Raises:
        InputError: there is a problem.
    """
    if len(problems) == 1:
        raise InputError(next(iter(problems.values())))
    if problems:
        lines = "\n".join(f"  {case}: {problem}" for case, problem in problems.items())
        raise InputError(f"{len(problems)} of {total} cases cannot be scored; mend or leave them out:\n{lines}")


def check_grids(pair: Pair) -> None:
    """Hold the headers of both files against each other.

    Raises:
        InputError: a file cannot be read, is not 3-D or has an affine without an inverse, or their shapes or affines
            differ.
    """
    prediction, reference = open_label(pair.prediction), open_label(pair.reference)
    for file, image in ((pair.prediction, prediction), (pair.reference, reference)):
        if problem := affine_problem(image.affine):
            raise InputError(f"{file}: {problem}; write it anew with the affine of the case's image.")
    # An axis of 1 beyond the third is no other grid.
    if prediction.shape[:3] != reference.shape[:3]:
        raise InputError(
            f"{pair.prediction}: has shape {times(prediction.shape)}, but its reference {pair.reference} has "
            f"{times(reference.shape)}; resample the prediction to the reference's grid."
        )
    difference = affine_difference_mm(prediction.affine, reference.affine)
    if difference > AFFINE_TOLERANCE_MM:
        raise InputError(
            f"{pair.prediction}: has another affine than its reference {pair.reference} (they differ by up to "
            f"{difference:.3g} mm); resample the prediction to the reference's grid."
        )


def _flat(root: Path) -> list[tuple[str, Path]]:
    """Cases of the files that lie in the folder itself, less what is known to lie beside label maps.

    Raises:
        InputError: some are named as label maps (``CASE_seg``) and others plainly: which are meant cannot be told.
    """
    files = [path for path in sorted(root.iterdir()) if is_nifti(path) and path.is_file()]
    files = [path for path in files if not _BY_PRODUCT_ENDING.search(stem(path))]
    named = [path for path in files if _LABEL_ENDING.search(stem(path))]
    cases = {case for case, _ in _cases(named)}
    plain = [path for path in files if path not in named and _IMAGE_ENDING.sub("", stem(path)) not in cases]
    if named and plain:
        raise InputError(
            f"{root}: holds {len(named)} label maps named as such ({named[0].name}) and {len(plain)} files that are "
            f"not ({listed([path.name for path in plain])}); name all alike, or move away what is no label map."
        )
    return _cases(named or files)


def _of_patients(root: Path) -> list[tuple[str, Path]]:
    """Cases of per-patient folders, below each other or not, with images beside the labels or without."""
    groups = find_groups(root)
    beside = [(case, file) for (_, case), parts in groups.items() for file in parts.get("seg", [])]
    taken = {file for _, file in beside}
    # Where labels lie beside images, other label maps of a case with images are predictions, and no truth.
    with_images = {case for _, case in groups} if beside else set()
    files = [path for path in sorted(root.rglob("*")) if is_nifti(path) and _LABEL_ENDING.search(stem(path))]
    alone = _cases(path for path in files if path not in taken and not _is_hidden(path.relative_to(root)))
    return beside + [(case, file) for case, file in alone if case not in with_images]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _cases(files: Iterable[Path]) -> list[tuple[str, Path]]:
    return [(_LABEL_ENDING.sub("", stem(file)), file) for file in files]
