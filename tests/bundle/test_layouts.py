"""Every layout is recognised by the names of its files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripts.errors import InputError
from scripts.layouts import find_dataset
from scripts.naming import natural_key, patient_of
from tiny import write_brats_folders

BRATS_2021 = ("_flair", "_t1", "_t1ce", "_t2", "_seg")
BRATS_2023 = ("-t2f", "-t1n", "-t1c", "-t2w", "-seg")
ORDER = ["FLAIR", "T1w", "t1gd", "T2w"]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def brats_case(folder: Path, name: str, endings: tuple[str, ...] = BRATS_2021, suffix: str = ".nii.gz") -> None:
    touch(folder / name, *(name + ending + suffix for ending in endings))


def decathlon(folder: Path, modality: list[str] | None = ORDER, **changes: object) -> Path:
    touch(folder, "imagesTr/a_1.nii.gz", "labelsTr/a_1.nii.gz", "imagesTr/a_10.nii.gz", "labelsTr/a_10.nii.gz")
    touch(folder, "imagesTs/a_2.nii.gz")
    names = ("a_10", "a_1")
    description = {
        "modality": {str(index): name for index, name in enumerate(modality)} if modality else None,
        "labels": {"0": "background", "1": "edema"},
        "training": [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names],
        "test": ["./imagesTs/a_2.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(description | changes), encoding="utf-8")
    return folder


def test_decathlon(tiny_decathlon: Path) -> None:
    dataset = find_dataset(tiny_decathlon)
    assert (dataset.layout, len(dataset.cases), len(dataset.unlabelled)) == ("decathlon", 8, 2)
    assert dataset.cases[0].name == dataset.cases[0].patient == "BRATS_001"
    assert dataset.cases[0].image == (tiny_decathlon.resolve() / "imagesTr" / "BRATS_001.nii.gz",)
    assert dataset.cases[0].label == tiny_decathlon.resolve() / "labelsTr" / "BRATS_001.nii.gz"
    assert dataset.unlabelled[0].label is None
    assert dataset.declared_labels[3] == "enhancing tumour"
    assert dataset.given_split is None and not dataset.problems


def test_decathlon_is_in_natural_order_and_takes_test_entries_as_dicts(tmp_path: Path) -> None:
    dataset = find_dataset(decathlon(tmp_path, test=[{"image": "imagesTs/a_2.nii.gz"}]))
    assert [case.name for case in dataset.cases] == ["a_1", "a_10"]
    assert [case.name for case in dataset.unlabelled] == ["a_2"]


def test_resource_forks_are_no_cases(tmp_path: Path) -> None:
    fork = {"image": "./imagesTr/._a_1.nii.gz", "label": "./labelsTr/._a_1.nii.gz"}
    touch(tmp_path, *fork.values())
    real = {"image": "./imagesTr/a_1.nii.gz", "label": "./labelsTr/a_1.nii.gz"}
    assert [case.name for case in find_dataset(decathlon(tmp_path, training=[fork, real])).cases] == ["a_1"]


def test_brats_resource_forks_are_no_modalities(tmp_path: Path) -> None:
    brats_case(tmp_path, "x")
    brats_case(tmp_path, "._x")
    assert [case.name for case in find_dataset(tmp_path).cases] == ["x"]


def test_decathlon_names_every_missing_file(tmp_path: Path) -> None:
    (decathlon(tmp_path) / "labelsTr" / "a_10.nii.gz").unlink()
    dataset = find_dataset(tmp_path)
    assert [case.name for case in dataset.cases] == ["a_1"]
    assert "labelsTr" in dataset.problems["a_10"] and "not there" in dataset.problems["a_10"]


@pytest.mark.parametrize("names", [["flair", "T1", "T1ce", "T2"], ["t2f", "t1n", "T1c", "t2w"]])
def test_modalities_have_many_spellings(tmp_path: Path, names: list[str]) -> None:
    assert len(find_dataset(decathlon(tmp_path, names)).cases) == 2


@pytest.mark.parametrize("names", [["T1w", "FLAIR", "T1gd", "T2w"], ORDER[:3], None])
def test_another_channel_order_is_refused(tmp_path: Path, names: list[str] | None) -> None:
    with pytest.raises(InputError, match="dataset.json: .*FLAIR"):
        find_dataset(decathlon(tmp_path, names))


def test_an_order_asked_for_is_taken(tmp_path: Path) -> None:
    order = ["T1w", "FLAIR", "T1gd", "T2w"]
    assert len(find_dataset(decathlon(tmp_path, order), order).cases) == 2


@pytest.mark.parametrize(
    "changes", [{"training": "all"}, {"labels": ["edema"]}, {"training": ["./imagesTr/a_1.nii.gz"]}]
)
def test_malformed_descriptions_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="dataset.json"):
        find_dataset(decathlon(tmp_path, **changes))


def test_a_description_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="not valid JSON"):
        find_dataset(tmp_path)


@pytest.mark.parametrize(("style", "endings"), [("2021", BRATS_2021), ("2023", BRATS_2023)])
def test_brats_folders_are_stacked_by_name(tmp_path: Path, style: str, endings: tuple[str, ...]) -> None:
    dataset = find_dataset(write_brats_folders(tmp_path, cases=2, style=style))
    assert dataset.layout == "brats"
    assert dataset.naming == {"2021": "brats2018", "2023": "brats2023"}[style]
    for case in dataset.cases:
        assert [path.name for path in case.image] == [case.name + ending + ".nii.gz" for ending in endings[:4]]
        assert case.label.name == case.name + endings[4] + ".nii.gz"


def test_brats_nested_by_grade_and_unpacked(tmp_path: Path) -> None:
    brats_case(tmp_path / "HGG", "Brats18_2013_2_1", suffix=".nii")
    brats_case(tmp_path / "LGG", "Brats18_TCIA09_10_1", suffix=".nii")
    assert [case.name for case in find_dataset(tmp_path).cases] == ["Brats18_2013_2_1", "Brats18_TCIA09_10_1"]


def test_the_folder_of_one_brats_case(tmp_path: Path) -> None:
    brats_case(tmp_path, "BraTS2021_00006", BRATS_2021[:4])
    dataset = find_dataset(tmp_path / "BraTS2021_00006")
    assert [case.name for case in dataset.unlabelled] == ["BraTS2021_00006"] and not dataset.cases


def test_fewer_modalities_can_be_asked_for(tmp_path: Path) -> None:
    brats_case(tmp_path, "x", ("_t1ce", "_flair", "_seg"))
    (case,) = find_dataset(tmp_path, ["T1gd", "FLAIR"]).cases
    assert [path.name for path in case.image] == ["x_t1ce.nii.gz", "x_flair.nii.gz"]


def test_three_modalities_name_the_missing_one(tmp_path: Path) -> None:
    brats_case(tmp_path, "whole")
    brats_case(tmp_path, "torn", ("_flair", "_t1", "_t2", "_seg"))
    dataset = find_dataset(tmp_path)
    assert [case.name for case in dataset.cases] == ["whole"]
    assert "no file for T1gd" in dataset.problems["torn"]


def test_two_files_for_one_modality_are_a_problem(tmp_path: Path) -> None:
    brats_case(tmp_path, "x")
    touch(tmp_path / "x", "x_t1ce.nii")
    assert "x_t1ce.nii, x_t1ce.nii.gz" in find_dataset(tmp_path).problems["x"]


def test_the_misnamed_label_of_brats_2020(tmp_path: Path) -> None:
    brats_case(tmp_path, "BraTS20_Training_355", BRATS_2021[:4], ".nii")
    touch(tmp_path / "BraTS20_Training_355", "W39_1998.09.19_Segm.nii")
    (case,) = find_dataset(tmp_path).cases
    assert case.label.name == "W39_1998.09.19_Segm.nii"


def test_predictions_below_the_folder_are_no_truth(tmp_path: Path) -> None:
    brats_case(tmp_path, "x", BRATS_2021[:4])
    touch(tmp_path / "predictions", "x_seg.nii.gz")
    dataset = find_dataset(tmp_path)
    assert not dataset.cases and [case.name for case in dataset.unlabelled] == ["x"]


def test_paediatric_names_are_told_apart(tmp_path: Path) -> None:
    brats_case(tmp_path, "BraTS-PED-00001-000", BRATS_2023)
    assert find_dataset(tmp_path).naming == "brats-ped"


def test_one_name_in_two_folders_is_refused(tmp_path: Path) -> None:
    brats_case(tmp_path / "HGG", "x")
    brats_case(tmp_path / "LGG", "x")
    with pytest.raises(InputError, match="several cases are called x"):
        find_dataset(tmp_path)


def test_subject_folders_keep_their_split(tmp_path: Path) -> None:
    touch(tmp_path / "train" / "subject_001", "img.nii.gz", "label.nii.gz")
    touch(tmp_path / "valid" / "subject_002", "img.nii.gz", "label.nii.gz")
    dataset = find_dataset(tmp_path)
    assert dataset.layout == "subjects"
    assert dataset.given_split == {"subject_001": "training", "subject_002": "validation"}


def test_subject_folders_without_valid_have_no_split_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path / "train" / "subject_001", "img.nii.gz", "label.nii.gz")
    touch(tmp_path / "train" / "subject_002", "img.nii.gz")
    dataset = find_dataset(tmp_path)
    assert dataset.given_split is None and len(dataset.cases) == 1
    assert "label.nii.gz is missing" in dataset.problems["train/subject_002"]


def test_subjects_numbered_from_one_on_both_sides_are_different_patients(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        touch(tmp_path / part / "subject_001", "img.nii.gz", "label.nii.gz")
    dataset = find_dataset(tmp_path)
    assert dataset.given_split == {"train_subject_001": "training", "valid_subject_001": "validation"}
    assert len({case.patient for case in dataset.cases}) == 2


def test_a_flat_folder_of_files_is_unlabelled(tmp_path: Path) -> None:
    touch(tmp_path, "p10.nii.gz", "p9.nii", "._p9.nii", "notes.txt")
    dataset = find_dataset(tmp_path)
    assert dataset.layout == "files" and not dataset.cases
    assert [case.name for case in dataset.unlabelled] == ["p9", "p10"]


def test_folder_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_dataset(tmp_path / "absent")
    with pytest.raises(InputError, match="empty; wanted: Decathlon"):
        find_dataset(tmp_path)


def test_an_unknown_layout_says_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "scan.dcm", "more/scan.dcm")
    with pytest.raises(InputError, match=r"no known layout, only more/, scan.dcm; wanted: Decathlon"):
        find_dataset(tmp_path)


def test_images_without_their_description(tmp_path: Path) -> None:
    (decathlon(tmp_path) / "dataset.json").unlink()
    with pytest.raises(InputError, match="no dataset.json, which lists the cases"):
        find_dataset(tmp_path)


def test_one_folder_too_high_names_the_right_one(tmp_path: Path) -> None:
    decathlon(tmp_path / "Task01")
    with pytest.raises(InputError, match="set dataset_dir to .*Task01"):
        find_dataset(tmp_path)


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("BraTS-GLI-00001-000", "BraTS-GLI-00001"),
        ("BraTS-MEN-RT-0001-1", "BraTS-MEN-RT-0001"),
        ("BRATS_001_copy003", "BRATS_001"),
        ("BraTS-GLI-00001-001_copy12", "BraTS-GLI-00001"),
        ("BraTS2021_00006", "BraTS2021_00006"),
        ("Brats18_2013_2_1", "Brats18_2013_2_1"),
        ("BRATS_001", "BRATS_001"),
        ("subject-7", "subject-7"),
    ],
)
def test_patient_of_a_case(case: str, patient: str) -> None:
    assert patient_of(case) == patient


def test_natural_order() -> None:
    assert sorted(["c10", "c9", "C1", "10", "9x"], key=natural_key) == ["9x", "10", "C1", "c9", "c10"]
