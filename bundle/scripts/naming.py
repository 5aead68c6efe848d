"""What cases, patients and modalities are called across data sets, and the two records that describe a data set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

MODALITIES = ("FLAIR", "T1w", "T1gd", "T2w")
# Every spelling of the Decathlon (FLAIR, T1w, t1gd, T2w), of BraTS to 2022 and of BraTS from 2023, in lower case.
MODALITY_ALIASES = {
    "FLAIR": ("flair", "t2f"),
    "T1w": ("t1w", "t1n", "t1"),
    "T1gd": ("t1gd", "t1ce", "t1c"),
    "T2w": ("t2w", "t2"),
}

_CANONICAL = {alias: name for name, aliases in MODALITY_ALIASES.items() for alias in aliases}
# From BraTS 2023 a trailing -NNN is the time point: BraTS-GLI-00001-000 and -001 are one patient.
_TIME_POINT = re.compile(r"^(?P<patient>BraTS(-[A-Z]+)+-\d+)-\d+$", re.IGNORECASE)
_COPY = re.compile(r"_copy\d+$")
_NIFTI_ENDING = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """One study.

    Attributes:
        name: unique in the data set.
        patient: studies of one patient (time points, copies) share it, and so share one side of a split.
        image: one file (4-D, or 3-D where there is one modality), or one 3-D file a modality, in the order asked for.
        label: the label map, or None.
    """

    name: str
    patient: str
    image: tuple[Path, ...]
    label: Path | None


@dataclass(frozen=True)
class Dataset:
    """What a folder holds.

    Attributes:
        root: the folder.
        layout: ``decathlon``, ``brats``, ``subjects`` or ``files``.
        cases: those with a label, in natural order of their names.
        unlabelled: those without, likewise.
        declared_labels: id to tissue name from dataset.json, or None.
        naming: the label ids that file names speak for: ``brats2018``, ``brats2023``, ``brats-ped``, or None.
        given_split: case name to ``training`` or ``validation`` where the folders say so, or None.
        problems: name to one sentence for each labelled case with a file missing or ambiguous; it is in no list.
        image_problems: the same for cases without a label, which a training does not need.
    """

    root: Path
    layout: str
    cases: list[Case] = field(default_factory=list)
    unlabelled: list[Case] = field(default_factory=list)
    declared_labels: dict[int, str] | None = None
    naming: str | None = None
    given_split: dict[str, str] | None = None
    problems: dict[str, str] = field(default_factory=dict)
    image_problems: dict[str, str] = field(default_factory=dict)


def make_case(name: str, image: tuple[Path, ...], label: Path | None = None) -> Case:
    """A :class:`Case` whose patient is read off its name."""
    return Case(name, patient_of(name), image, label)


def canonical_modality(name: str) -> str:
    """One spelling for each modality: ``t1ce`` and ``T1c`` are ``T1gd``; any other name stays, in lower case."""
    return _CANONICAL.get(name.lower(), name.lower())


def patient_of(case: str) -> str:
    """The patient a case name belongs to: the name without a copy's number and without a BraTS time point."""
    case = original(case)
    match = _TIME_POINT.match(case)
    return match["patient"] if match else case


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI file; macOS's ``._*`` resource forks and hidden files are not."""
    return not path.name.startswith(".") and bool(_NIFTI_ENDING.search(path.name))


def stem(path: Path) -> str:
    """The file name without ``.nii`` or ``.nii.gz``."""
    return _NIFTI_ENDING.sub("", path.name)


def original(name: str) -> str:
    """Name of the case that ``name`` is a copy of, or itself."""
    return _COPY.sub("", name)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts case_2 before case_10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def listed(names: Sequence[str], most: int = 5) -> str:
    """The names, with commas; only the first ``most`` of many."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
