"""Copies that rehearse a larger data set, and the patients that a split over copies puts on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from monai.data import partition_dataset
from scripts.naming import make_case, patient_of
from scripts.splits import split_cases

PATIENTS, COPIES = 484, 100
# The published split: 99 % training, 1 % validation, this seed.
RATIOS, SEED = (0.99, 0.01), 42


def replicated(patients: int = PATIENTS, copies: int = COPIES) -> list[str]:
    """Names of the published replication: every patient's files, copied under new names."""
    return [f"BRATS_{patient:03d}_copy{copy:03d}" for patient in range(1, patients + 1) for copy in range(copies)]


def published_split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Training and validation as published: the copies are shuffled and cut."""
    training, validation = partition_dataset(list(names), ratios=RATIOS, shuffle=True, seed=SEED)
    return training, validation


def split_by_patient(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Training and validation in the same shares, by the bundle's own split: a patient's copies stay together."""
    parts = split_cases([make_case(name, ()) for name in names], (*RATIOS, 0.0), SEED)
    return [case.name for case in parts["training"]], [case.name for case in parts["validation"]]


def patients(names: Iterable[str]) -> set[str]:
    """The patients behind case names."""
    return {patient_of(name) for name in names}


def in_both(training: Iterable[str], validation: Iterable[str]) -> int:
    """How many patients of validation are also trained on."""
    return len(patients(training) & patients(validation))
