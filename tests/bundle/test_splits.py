"""Splits are by patient, the same everywhere for one seed, and never leave a part empty in silence."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from scripts.errors import InputError
from scripts.naming import Case, make_case
from scripts.splits import PARTS, split_cases

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"


def made(count: int, pattern: str = "BRATS_{:03d}") -> list[Case]:
    return [make_case(pattern.format(index), ()) for index in range(count)]


def names(split: dict[str, list[Case]]) -> dict[str, list[str]]:
    return {part: [case.name for case in cases] for part, cases in split.items()}


def counts(split: dict[str, list[Case]]) -> tuple[int, ...]:
    return tuple(len(split[part]) for part in PARTS)


def test_the_decathlon_is_split_338_73_73() -> None:
    split = split_cases(made(484))
    assert counts(split) == (338, 73, 73)
    assert len({case.name for cases in split.values() for case in cases}) == 484


@pytest.mark.parametrize(
    ("total", "ratios", "wanted"),
    [
        (484, (0.99, 0.01, 0.0), (479, 5, 0)),
        (70, (0.7, 0.15, 0.15), (48, 11, 11)),  # 10.5 rounds up
        (10, (0.8, 0.1, 0.1), (8, 1, 1)),
        (3, (0.7, 0.15, 0.15), (1, 1, 1)),
    ],
)
def test_rounding(total: int, ratios: tuple[float, ...], wanted: tuple[int, ...]) -> None:
    assert counts(split_cases(made(total), ratios)) == wanted


def test_seed_decides_and_file_order_does_not() -> None:
    cases = made(40)
    shuffled = random.Random(0).sample(cases, len(cases))
    assert names(split_cases(cases, seed=3)) == names(split_cases(shuffled, seed=3))
    assert names(split_cases(cases, seed=3)) != names(split_cases(cases, seed=4))


def test_the_split_of_a_seed_never_changes() -> None:
    # Written down once: a new Python, NumPy or operating system must not move a patient.
    split = names(split_cases(made(8)))
    assert (split["validation"], split["test"]) == (["BRATS_003"], ["BRATS_007"])


def test_time_points_and_copies_stay_together() -> None:
    cases = [make_case(f"BraTS-GLI-{patient:05d}-{time:03d}", ()) for patient in range(20) for time in range(3)]
    cases += [make_case(f"{case.name}_copy001", ()) for case in cases]
    split = split_cases(cases)
    patients = [{case.patient for case in split[part]} for part in PARTS]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 20
    assert counts(split) == (14 * 6, 3 * 6, 3 * 6)


def test_folds_share_a_test_part_and_cover_the_rest() -> None:
    cases = made(23)
    splits = [split_cases(cases, folds=5, fold=fold) for fold in range(5)]
    assert len({tuple(names(split)["test"]) for split in splits}) == 1
    assert names(splits[0])["test"] == names(split_cases(cases))["test"]
    validated = [name for split in splits for name in names(split)["validation"]]
    assert sorted(validated + names(splits[0])["test"]) == sorted(case.name for case in cases)
    for split in splits:
        assert not set(names(split)["validation"]) & set(names(split)["training"])
        assert sum(counts(split)) == 23


def test_a_given_validation_part_stays() -> None:
    cases = made(20)
    given = {case.name: "validation" if index < 4 else "training" for index, case in enumerate(cases)}
    split = split_cases(cases, given=given)
    assert names(split)["validation"] == [case.name for case in cases[:4]]
    assert counts(split) == (13, 4, 3)


def test_a_patient_on_both_given_sides_is_refused() -> None:
    cases = [make_case(f"BraTS-GLI-{number}", ()) for number in ("00001-000", "00001-001", "00002-000", "00003-000")]
    given = {case.name: "validation" if case.name.endswith("001") else "training" for case in cases}
    with pytest.raises(InputError, match="patient BraTS-GLI-00001 has cases in both"):
        split_cases(cases, given=given)


@pytest.mark.parametrize("total", [0, 1, 2])
def test_too_few_patients(total: int) -> None:
    with pytest.raises(InputError, match=f"^{total} patient.* too few .*nothing is left for .*training"):
        split_cases(made(total))


def test_many_cases_of_few_patients_are_still_too_few() -> None:
    with pytest.raises(InputError, match="2 patients are too few"):
        split_cases([make_case(f"BraTS-GLI-0000{patient}-{time:03d}", ()) for patient in (1, 2) for time in range(9)])


@pytest.mark.parametrize("fold", [0, 4])
def test_too_few_patients_for_the_folds(fold: int) -> None:
    with pytest.raises(InputError, match="5 patients are too few for 5 folds"):
        split_cases(made(5), folds=5, fold=fold)


@pytest.mark.parametrize(
    "ratios", [(0.7, 0.2, 0.2), (0.7, 0.3), (1.0, 0.0, 0.0), (0.8, 0.3, -0.1), (float("nan"), 0.5, 0.5)]
)
def test_ratios_must_add_up(ratios: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="add up to 1"):
        split_cases(made(20), ratios)


@pytest.mark.parametrize(("folds", "fold"), [(5, 5), (5, None), (None, 0), (1, 0), (5, -1)])
def test_folds_must_make_sense(folds: int | None, fold: int | None) -> None:
    with pytest.raises(InputError, match="at least 2 folds"):
        split_cases(made(20), folds=folds, fold=fold)


def test_folds_that_are_test_parts_score_each_patient_once() -> None:
    splits = [names(split_cases(made(50), folds=5, fold=fold, fold_part="test")) for fold in range(5)]
    assert sorted(name for split in splits for name in split["test"]) == [case.name for case in made(50)]
    assert all([len(split[part]) for part in PARTS] == [34, 6, 10] for split in splits)
    assert all(len({name for part in PARTS for name in split[part]}) == 50 for split in splits)


@pytest.mark.parametrize(("folds", "part"), [(None, "test"), (5, "training")])
def test_a_fold_part_must_make_sense(folds: int | None, part: str) -> None:
    with pytest.raises(InputError, match="fold_part"):
        split_cases(made(20), folds=folds, fold=None if folds is None else 0, fold_part=part)


def test_the_committed_folds_of_the_decathlon_are_what_the_command_makes() -> None:
    committed = json.loads((BUNDLE / "docs/task01_folds.json").read_text(encoding="utf-8"))["test"]
    cases = [make_case(f"BRATS_{number:03d}", ()) for number in range(1, 485)]
    made = [names(split_cases(cases, (0.9, 0.1, 0.0), 42, 5, fold, fold_part="test"))["test"] for fold in range(5)]
    assert made == committed


def test_folds_contradict_a_given_split() -> None:
    cases = made(9)
    given = {case.name: "validation" if index < 3 else "training" for index, case in enumerate(cases)}
    with pytest.raises(InputError, match="train and valid fix"):
        split_cases(cases, folds=3, fold=0, given=given)
