"""Splitting cases into training, validation and test parts, by patient.

Patients are put in the order of SHA-256 of ``<seed>:<patient>``: the same seed gives the same split whatever the order
of the files, the operating system and the versions of Python and NumPy, and a patient added later moves few others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from scripts.errors import InputError
from scripts.naming import Case, listed, natural_key

PARTS = ("training", "validation", "test")
RATIOS = (0.7, 0.15, 0.15)


def split_cases(
    cases: Sequence[Case],
    ratios: Sequence[float] = RATIOS,
    seed: int = 42,
    folds: int | None = None,
    fold: int | None = None,
    given: Mapping[str, str] | None = None,
    fold_part: str = "validation",
) -> dict[str, list[Case]]:
    """Share out the cases; all of a patient's lie on one side.

    The validation and the test part get their ratio of the patients, rounded half up, at least one each; training gets
    the rest: 484 patients at 0.7/0.15/0.15 are 338/73/73. A test ratio of 0 means no test part. With ``folds``, the
    test part is set aside first, the same for each fold; the rest is dealt into ``folds`` parts, of which ``fold``
    validates. With ``fold_part`` ``test`` all patients are dealt, and the fold is the test part: over all folds every
    patient is scored once, by a model that was neither trained nor chosen on it; validation gets its ratio of the
    others. With ``given``, the test part is taken from its training part and its validation part stays as it is.

    Args:
        cases: any order.
        ratios: shares of training, validation and test; their sum is 1.
        seed: another one gives another split.
        folds: number of folds, or None for a single split.
        fold: the one to hold out, from 0.
        given: case name to ``training`` or ``validation``, from the data set's own folders.
        fold_part: what the held-out fold is, ``validation`` or ``test``.

    Returns:
        ``training``, ``validation`` and ``test``, each in natural order of the names.

    Raises:
        InputError: ratios or folds make no sense, a part would be empty, or ``given`` has a patient on both sides.
    """
    train_ratio, val_ratio, test_ratio = _checked_ratios(ratios)
    _check_folds(folds, fold, given, fold_part)
    patients = sorted({case.patient for case in cases}, key=lambda name: _rank(name, seed))
    total = len(patients)
    pool = patients
    if given is not None:
        side = _given_sides(cases, given)
        pool = [patient for patient in patients if side[patient] == "training"]
    if folds is not None and fold_part == "test":
        test = pool[fold::folds] if total >= folds else []
        rest = [patient for number, patient in enumerate(pool) if number % folds != fold]
    else:
        n_test = _share(test_ratio, total)
        test, rest = pool[:n_test], pool[n_test:]
    if given is not None:
        validation = [patient for patient in patients if side[patient] == "validation"]
        training = rest
    elif folds is not None and fold_part == "validation":
        validation = rest[fold::folds] if len(rest) >= folds else []
        training = [patient for number, patient in enumerate(rest) if number % folds != fold]
    else:
        n_val = _share(val_ratio, total if folds is None else len(rest))
        validation, training = rest[:n_val], rest[n_val:]
    split = {"training": set(training), "validation": set(validation), "test": set(test)}
    wanted = [part for part in PARTS if part != "test" or test_ratio > 0 or fold_part == "test"]
    if empty := [part for part in wanted if not split[part]]:
        how = f"{folds} folds and a test part" if folds else f"the ratios {train_ratio:g}/{val_ratio:g}/{test_ratio:g}"
        raise InputError(
            f"{total} patient{'s are' if total != 1 else ' is'} too few for {how}: nothing is left for "
            f"{' and '.join(empty)}; add patients or change the split."
        )
    return {
        part: sorted((case for case in cases if case.patient in names), key=lambda case: natural_key(case.name))
        for part, names in split.items()
    }


def _checked_ratios(ratios: Sequence[float]) -> tuple[float, float, float]:
    numbers = tuple(float(ratio) for ratio in ratios)
    if len(numbers) != 3 or not abs(sum(numbers) - 1) <= 1e-6 or min(numbers[:2]) <= 0 or numbers[2] < 0:
        raise InputError(
            f"split ratios {listed([f'{number:g}' for number in numbers])} are unusable; give shares of training, "
            "validation and test that add up to 1, such as 0.7 0.15 0.15 (only that of test may be 0)."
        )
    return numbers


def _check_folds(folds: int | None, fold: int | None, given: Mapping[str, str] | None, fold_part: str) -> None:
    if fold_part not in ("validation", "test"):
        raise InputError(f"fold_part '{fold_part}' is unknown; choose validation or test.")
    if folds is None and fold_part == "test":
        raise InputError("fold_part test holds out a fold, but folds is not given; give folds and fold too.")
    if folds is None and fold is None:
        return
    if folds is None or fold is None or folds < 2 or not 0 <= fold < folds:
        raise InputError(
            f"folds {folds} with fold {fold} is unusable; give at least 2 folds and a fold from 0 to folds - 1."
        )
    if given is not None:
        raise InputError(
            f"{folds} folds were asked for, but the data set's folders train and valid fix the validation part; "
            "leave folds out, or put all subjects under train."
        )


def _given_sides(cases: Sequence[Case], given: Mapping[str, str]) -> dict[str, str]:
    """The part of each patient."""
    side: dict[str, str] = {}
    for case in cases:
        if side.setdefault(case.patient, given[case.name]) != given[case.name]:
            raise InputError(
                f"patient {case.patient} has cases in both train and valid, so validation would be on patients seen "
                "in training; move them to one side."
            )
    return side


def _share(ratio: float, total: int) -> int:
    """Patients that a part gets; 1e-9 keeps an exact half (0.15 x 70) from falling to the error of binary fractions."""
    return max(1, math.floor(ratio * total + 0.5 + 1e-9)) if ratio > 0 else 0


def _rank(patient: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()
