"""From a folder to a datalist: the command, the functions that configs call, and every refusal."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from patients import patients
from scripts import cases
from scripts.errors import InputError
from tiny import AFFINE, make_case, save, write_brats_folders, write_decathlon

PARTS = ("training", "validation", "test")


@pytest.fixture
def decathlon(tmp_path: Path) -> Path:
    """Eight labelled cases that a test may spoil."""
    return write_decathlon(tmp_path / "Task01", cases=8)


def put_value(file: Path, value: int, where: tuple[object, ...] = (0, 0, slice(0, 2))) -> None:
    voxels = np.asarray(nib.load(file).dataobj).copy()
    voxels[where] = value
    save(voxels, file)


def names(datalist: dict[str, list[dict[str, str]]]) -> list[str]:
    return sorted(entry["case"] for part in PARTS for entry in datalist[part])


def subjects(folder: Path, training: int, validation: int) -> Path:
    for index in range(training + validation):
        image, label = make_case(index)
        here = folder / ("train" if index < training else "valid") / f"subject_{index:03d}"
        save(image, here / "img.nii.gz")
        save(label, here / "label.nii.gz")
    return folder


def test_the_datalist_of_a_decathlon_folder(tiny_decathlon: Path) -> None:
    datalist = cases.prepare_datalist(tiny_decathlon)
    assert datalist["dataset_dir"] == str(tiny_decathlon.resolve())
    assert (datalist["layout"], datalist["label_scheme"]) == ("decathlon", "msd")
    assert datalist["modalities"] == ["FLAIR", "T1w", "T1gd", "T2w"]
    assert (datalist["seed"], datalist["ratios"], datalist["skipped"]) == (42, [0.7, 0.15, 0.15], [])
    assert [len(datalist[part]) for part in PARTS] == [6, 1, 1]
    entry = datalist["training"][0]
    assert entry["image"] == f"imagesTr/{entry['case']}.nii.gz" and entry["label"] == f"labelsTr/{entry['case']}.nii.gz"


@pytest.mark.parametrize(("style", "scheme"), [("2021", "brats2018"), ("2023", "brats2023")])
def test_the_datalist_of_brats_folders(tmp_path: Path, style: str, scheme: str) -> None:
    datalist = cases.prepare_datalist(write_brats_folders(tmp_path, cases=4, style=style))
    assert datalist["label_scheme"] == scheme
    entry = datalist["test"][0]
    assert len(entry["image"]) == 4 and entry["image"][0].startswith(f"{entry['case']}/{entry['case']}")
    (item,) = cases.items(datalist, "test")
    assert [Path(path).is_absolute() and Path(path).is_file() for path in item["image"]] == [True] * 4


def test_subject_folders_need_a_scheme_and_keep_their_validation_part(tmp_path: Path) -> None:
    folder = subjects(tmp_path, 5, 2)
    with pytest.raises(InputError, match="fit more than one scheme"):
        cases.prepare_datalist(folder)
    datalist = cases.prepare_datalist(folder, label_scheme="msd")
    assert [entry["case"] for entry in datalist["validation"]] == ["subject_005", "subject_006"]
    assert [len(datalist[part]) for part in PARTS] == [4, 2, 1]


def test_items_follow_the_data_to_another_place(decathlon: Path, tmp_path: Path) -> None:
    datalist = cases.prepare_datalist(decathlon)
    moved = decathlon.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="2 files of the datalist's validation part"):
        cases.items(datalist, "validation")
    for item in cases.items(datalist, "validation", moved):
        assert Path(item["image"]).is_file() and Path(item["label"]).parent == moved.resolve() / "labelsTr"
        assert item["patient"] == item["case"]


def test_copies_are_made_after_the_split(tiny_decathlon: Path) -> None:
    single = cases.prepare_datalist(tiny_decathlon)
    copied = cases.prepare_datalist(tiny_decathlon, replicate=3)
    for part in PARTS:
        assert len(copied[part]) == 3 * len(single[part])
        assert {entry["patient"] for entry in copied[part]} == {entry["patient"] for entry in single[part]}
    assert len(set(names(copied))) == 24
    first = copied["training"][0]
    assert first["case"] == f"{first['patient']}_copy001" and first["image"] == f"imagesTr/{first['patient']}.nii.gz"
    with pytest.raises(InputError, match="replicate is 0"):
        cases.prepare_datalist(tiny_decathlon, replicate=0)


def spoil_three(folder: Path) -> None:
    truncated = folder / "imagesTr" / "BRATS_002.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    put_value(folder / "labelsTr" / "BRATS_004.nii.gz", 7)
    (folder / "labelsTr" / "BRATS_006.nii.gz").unlink()


def test_all_bad_cases_are_listed_at_once(decathlon: Path) -> None:
    spoil_three(decathlon)
    with pytest.raises(InputError) as caught:
        cases.prepare_datalist(decathlon)
    headline, *lines = str(caught.value).splitlines()
    assert "3 of 8 cases are unusable" in headline and "--skip_bad_cases" in headline
    assert sorted(line.split(":")[0].strip() for line in lines) == ["BRATS_002", "BRATS_004", "BRATS_006"]
    listed = "\n".join(lines)
    assert "cannot be read" in listed and "label value 7 (2 voxels)" in listed and "not there" in listed


def test_bad_cases_can_be_left_out(decathlon: Path, caplog: pytest.LogCaptureFixture) -> None:
    spoil_three(decathlon)
    with caplog.at_level(logging.WARNING):
        datalist = cases.prepare_datalist(decathlon, skip_bad_cases=True)
    bad = ["BRATS_002", "BRATS_004", "BRATS_006"]
    assert names(datalist) == [f"BRATS_{number:03d}" for number in (1, 3, 5, 7, 8)]
    assert sorted(entry["case"] for entry in datalist["skipped"]) == bad
    assert all(name in caplog.text for name in bad) and "left out 3 of 8" in caplog.text


def test_nothing_but_bad_cases_cannot_be_left_out(decathlon: Path) -> None:
    for image in (decathlon / "imagesTr").iterdir():
        image.write_bytes(b"")
    with pytest.raises(InputError, match="8 of 8 cases are unusable"):
        cases.prepare_datalist(decathlon, skip_bad_cases=True)


def test_a_brats_case_with_three_modalities(tmp_path: Path) -> None:
    folder = write_brats_folders(tmp_path, cases=5)
    next(folder.glob("*00002/*_t1ce.nii.gz")).unlink()
    with pytest.raises(InputError, match="1 of 5 cases are unusable(.|\n)*BraTS2021_00002: .*no file for T1gd"):
        cases.prepare_datalist(folder)
    assert len(names(cases.prepare_datalist(folder, skip_bad_cases=True))) == 4


@pytest.mark.parametrize("scheme", ["brats2018", "brats2023", "binary"])
def test_a_forced_scheme_that_the_description_denies(tiny_decathlon: Path, scheme: str) -> None:
    with pytest.raises(InputError, match=f"'{scheme}' contradicts .*dataset.json.*'msd'"):
        cases.prepare_datalist(tiny_decathlon, label_scheme=scheme)


def test_a_forced_scheme_that_the_values_deny(tmp_path: Path) -> None:
    folder = write_brats_folders(tmp_path, cases=4, style="2023")
    with pytest.raises(InputError, match="'brats2018' contradicts the data: 4 of 4 label files hold 3"):
        cases.prepare_datalist(folder, label_scheme="brats2018", skip_bad_cases=True)


def test_old_names_with_new_ids_are_refused_until_forced(tmp_path: Path) -> None:
    folder = write_brats_folders(tmp_path, cases=4)
    for label in folder.rglob("*_seg.nii.gz"):
        voxels = np.asarray(nib.load(label).dataobj)
        save(np.where(voxels == 4, 3, voxels).astype(np.uint8), label)
    with pytest.raises(InputError, match="BraTS up to 2022"):
        cases.prepare_datalist(folder)
    assert cases.prepare_datalist(folder, label_scheme="brats2023")["label_scheme"] == "brats2023"


def test_an_unknown_scheme(tiny_decathlon: Path) -> None:
    with pytest.raises(InputError, match="'brats21' is unknown; choose one of"):
        cases.prepare_datalist(tiny_decathlon, label_scheme="brats21")


def test_images_without_labels_are_no_training_data(tmp_path: Path) -> None:
    folder = write_brats_folders(tmp_path, cases=2, labelled=False)
    with pytest.raises(InputError, match="none of its 2 cases has a label"):
        cases.prepare_datalist(folder)
    assert [item["case"] for item in cases.image_items(folder, ("FLAIR", "T1w", "T1gd", "T2w"), False)] == [
        "BraTS2021_00000",
        "BraTS2021_00001",
    ]


def test_images_to_segment_are_the_unlabelled_or_else_all(tiny_decathlon: Path, decathlon: Path) -> None:
    modalities = ("FLAIR", "T1w", "T1gd", "T2w")
    items = cases.image_items(tiny_decathlon, modalities, False)
    assert [item["case"] for item in items] == ["BRATS_009", "BRATS_010"]
    assert all("label" not in item and Path(item["image"]).is_file() for item in items)
    assert len(cases.image_items(decathlon, modalities, False)) == 8
    assert len(cases.image_items(decathlon / "imagesTr", modalities, False)) == 8


def test_a_bad_image_to_segment(decathlon: Path) -> None:
    save(make_case(0)[0][..., 0], decathlon / "imagesTr" / "BRATS_003.nii.gz", AFFINE)
    modalities = ("FLAIR", "T1w", "T1gd", "T2w")
    with pytest.raises(InputError, match="1 of 8(.|\n)*BRATS_003: .*is a 3-D image"):
        cases.image_items(decathlon, modalities, False)
    assert len(cases.image_items(decathlon, modalities, True)) == 7


def test_a_whole_set_can_be_the_test_part(tiny_decathlon: Path) -> None:
    datalist = cases.whole_datalist(tiny_decathlon, "auto", False, ("FLAIR", "T1w", "T1gd", "T2w"))
    assert [len(datalist[part]) for part in PARTS] == [0, 0, 8]
    assert len(cases.items(datalist, "test")) == 8


def test_one_modality(tmp_path: Path) -> None:
    for index in range(4):
        image, label = make_case(index)
        here = tmp_path / "train" / f"subject_{index}"
        save(image[..., 0], here / "img.nii.gz")
        save((label > 0).astype(np.uint8), here / "label.nii.gz")
    datalist = cases.prepare_datalist(tmp_path, modalities=["CT"])
    assert datalist["label_scheme"] == "binary" and len(names(datalist)) == 4


def run(*arguments: object) -> int:
    return cases.main([str(argument) for argument in arguments])


def test_the_command(tiny_decathlon: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "datalist.json"
    assert run("--dataset_dir", tiny_decathlon, "--output", output, "--seed", 7, "--ratios", 0.5, 0.25, 0.25) == 0
    printed = capsys.readouterr().out
    for shown in (
        "8 with label (8 patients), 2 without",
        "24x28x20 (8 cases)",
        "2 x 2 x 3 (8 cases)",
        "scheme msd",
        "enhancing tumour",
        "problems     none",
        "4 training, 2 validation, 2 test",
        str(output),
    ):
        assert shown in printed
    edema = sum(int((make_case(index)[1] == 1).sum()) for index in range(8))
    assert f"{edema:,} voxels in 8 cases" in printed
    expected = cases.prepare_datalist(tiny_decathlon, ratios=(0.5, 0.25, 0.25), seed=7)
    assert cases.load_datalist(output) == expected


def test_the_command_makes_folds_and_copies(tiny_decathlon: Path, tmp_path: Path) -> None:
    output = tmp_path / "datalist.json"
    assert run("--dataset_dir", tiny_decathlon, "--output", output, "--folds", 7, "--fold", 2, "--replicate", 2) == 0
    datalist = cases.load_datalist(output)
    assert (datalist["folds"], datalist["fold"]) == (7, 2)
    assert [len(datalist[part]) for part in PARTS] == [12, 2, 2]


def test_the_command_refuses_bad_cases_and_writes_nothing(
    decathlon: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil_three(decathlon)
    output = tmp_path / "datalist.json"
    assert run("--dataset_dir", decathlon, "--output", output) == 1
    shown = capsys.readouterr()
    assert "problems     in 3 cases" in shown.out and shown.err.startswith("error: ") and "BRATS_004" in shown.err
    assert not output.exists()
    assert run("--dataset_dir", decathlon, "--output", output, "--skip_bad_cases") == 0
    assert len(json.loads(output.read_text(encoding="utf-8"))["skipped"]) == 3


def test_the_command_refuses_an_absent_folder_and_an_unwritable_output(
    tiny_decathlon: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--dataset_dir", tmp_path / "absent", "--output", tmp_path / "x.json") == 1
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert run("--dataset_dir", tiny_decathlon, "--output", tmp_path / "file" / "x.json") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cannot be written" in error


def test_too_few_cases_for_the_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 patients are too few"):
        cases.prepare_datalist(write_decathlon(tmp_path, cases=2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": None}, "lacks training"),
        ({"label_scheme": "other"}, "'other' is unknown"),
        ({"test": [{"case": "x", "image": "a"}]}, "lacks case, patient, image or label"),
        (
            {"test": [{"case": "x", "patient": "x", "image": 1, "label": "b"}]},
            "image 1, where a path, or a list of them,",
        ),
        ({"test": [{"case": "x", "patient": "x", "image": ["a", 1], "label": "b"}]}, "image 1, where a path"),
        ({"test": [{"case": "x", "patient": "x", "image": [], "label": "b"}]}, r"image \[\], where a path"),
        ({"test": [{"case": "x", "patient": "x", "image": "a", "label": None}]}, "label None, where a text is wanted"),
        ({"test": [{"case": "x", "patient": [], "image": "a", "label": "b"}]}, r"patient \[\], where a text is wanted"),
    ],
)
def test_what_is_no_datalist(tiny_decathlon: Path, tmp_path: Path, change: dict[str, object], message: str) -> None:
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps(cases.prepare_datalist(tiny_decathlon) | change), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        cases.load_datalist(file)


def test_a_datalist_that_leaks_a_patient(tiny_decathlon: Path, tmp_path: Path) -> None:
    datalist = cases.prepare_datalist(tiny_decathlon)
    datalist["test"].append(datalist["training"][0])
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps(datalist), encoding="utf-8")
    with pytest.raises(InputError, match="is in both training and test"):
        cases.load_datalist(file)


@pytest.mark.parametrize(
    ("folder", "scheme", "count", "shape"),
    [("Task01_BrainTumour_2mm", "msd", 10, "120x120x78"), ("BraTS2021", "brats2018", 2, "240x240x155")],
)
def test_real_patients(
    folder: str, scheme: str, count: int, shape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = patients(folder)
    output = tmp_path / "datalist.json"
    ratios = (0.7, 0.15, 0.15) if count > 2 else (0.5, 0.5, 0)
    assert run("--dataset_dir", real, "--output", output, "--ratios", *ratios) == 0
    printed = capsys.readouterr().out
    assert f"{shape} ({count} cases)" in printed and "problems     none" in printed
    datalist = cases.load_datalist(output)
    assert datalist["label_scheme"] == scheme and len(names(datalist)) == count


def test_training_needs_no_unlabelled_image_and_inference_no_label(tmp_path: Path) -> None:
    """Many delete the Decathlon's imagesTs, which dataset.json goes on listing."""
    folder = write_decathlon(tmp_path, cases=8, unlabelled=2)
    (folder / "imagesTs" / "BRATS_009.nii.gz").unlink()
    (folder / "labelsTr" / "BRATS_002.nii.gz").unlink()
    with pytest.raises(InputError, match="1 of 8 cases is unusable|1 of 8 cases are unusable") as caught:
        cases.prepare_datalist(folder)
    assert "BRATS_002" in str(caught.value) and "BRATS_009" not in str(caught.value)
    with pytest.raises(InputError, match="1 of 2 cases") as caught:
        cases.image_items(folder, cases.MODALITIES, False)
    assert "BRATS_009" in str(caught.value) and "BRATS_002" not in str(caught.value)
    assert [item["case"] for item in cases.image_items(folder, cases.MODALITIES, True)] == ["BRATS_010"]
