"""A case without one of its modalities is refused, or its channel is blank from there on."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scripts.data import unlabelled_items
from scripts.errors import InputError
from scripts.missing_modalities import BlankAbsentd
from scripts.naming import MODALITIES
from tiny import TINY, write_brats_folders, write_decathlon
from workflow import run, workflow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three patients: whole, without T1gd, and with T1w alone."""
    root = write_brats_folders(tmp_path / "new", cases=3, style="2023", labelled=False)
    for index, endings in ((1, ["t1c"]), (2, ["t2f", "t1c", "t2w"])):
        name = f"BraTS-GLI-{index:05d}-000"
        for ending in endings:
            (root / name / f"{name}-{ending}.nii.gz").unlink()
    return root


def test_a_gap_is_refused_unless_it_may_be_blank(folder: Path) -> None:
    with pytest.raises(InputError, match="BraTS-GLI-00001-000: .*no file for T1gd"):
        unlabelled_items(str(folder), MODALITIES, False)
    items = unlabelled_items(str(folder), MODALITIES, False, "blank")
    assert [item["present"].tolist() for item in items] == [[1, 1, 1, 1], [1, 1, 0, 1], [0, 1, 0, 0]]
    endings = [[Path(file).name.split("-")[-1].split(".")[0] for file in item["image"]] for item in items]
    assert endings == [["t2f", "t1n", "t1c", "t2w"], ["t2f", "t1n", "t2f", "t2w"], ["t1n"] * 4]


def test_whole_cases_are_the_same_either_way(tmp_path: Path) -> None:
    root = str(write_brats_folders(tmp_path / "whole", cases=2))
    refused, blank = (unlabelled_items(root, MODALITIES, False, how) for how in ("refuse", "blank"))
    assert [item["image"] for item in refused] == [item["image"] for item in blank]
    assert [item["case"] for item in refused] == [item["case"] for item in blank]


def test_damaged_files_are_refused_all_the_same(folder: Path) -> None:
    file = next((folder / "BraTS-GLI-00002-000").iterdir())
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InputError, match="1 of 3 cases are unusable"):
        unlabelled_items(str(folder), MODALITIES, False, "blank")
    assert len(unlabelled_items(str(folder), MODALITIES, True, "blank")) == 2


def test_other_layouts_and_words_are_refused(tiny_decathlon: Path) -> None:
    with pytest.raises(InputError, match="needs a file a modality"):
        unlabelled_items(str(tiny_decathlon), MODALITIES, False, "blank")
    with pytest.raises(InputError, match="missing_modalities 'zero' is unknown; choose refuse or blank"):
        unlabelled_items(str(tiny_decathlon), MODALITIES, False, "zero")


def test_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    """Their label maps would be one file; also where one lacks a modality and the other does not."""
    for name in ("first", "second"):
        write_brats_folders(tmp_path / "new" / name, cases=1, style="2023", labelled=False)
    for gap in (False, True):
        if gap:
            next((tmp_path / "new" / "second").rglob("*-t1c.nii.gz")).unlink()
        with pytest.raises(InputError, match="several cases are called BraTS-GLI-00000-000; give each case a name"):
            unlabelled_items(str(tmp_path / "new"), MODALITIES, False, "blank")


def test_problems_of_cases_that_are_not_segmented_do_not_count(folder: Path) -> None:
    """Beside cases to segment lies a labelled one with two files of one modality."""
    write_brats_folders(folder / "old", cases=1, style="2023")
    (case,) = (folder / "old").iterdir()
    case.rename(case.with_name("old"))
    kept = sorted((folder / "old" / "old").glob("*-t1c.nii.gz"))[0]
    kept.with_name(kept.name.replace("t1c", "t1ce")).write_bytes(kept.read_bytes())
    items = unlabelled_items(str(folder), MODALITIES, False, "blank")
    assert [item["case"] for item in items] == [f"BraTS-GLI-{index:05d}-000" for index in range(3)]


def test_an_absent_folder_is_said_to_be_absent(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: there is no such folder; check dataset_dir"):
        unlabelled_items(str(tmp_path / "absent"), MODALITIES, False, "blank")


def test_absent_channels_are_zero() -> None:
    image = torch.randn(4, 3, 3, 3)
    before = image.clone()
    out = BlankAbsentd("image")({"image": image, "present": np.array([1, 1, 0, 1], np.float32)})["image"]
    assert not out[2].any() and torch.equal(out[[0, 1, 3]], before[[0, 1, 3]])
    assert torch.equal(BlankAbsentd("image")({"image": before})["image"], before)


def test_cases_with_gaps_are_segmented_on_their_own_grid(folder: Path, tmp_path: Path) -> None:
    run(tmp_path, "train.json", dataset_dir=str(write_decathlon(tmp_path / "data", cases=8)), **TINY)
    options = {"kind": "infer", "dataset_dir": str(folder), "missing_modalities": "blank"}
    job = workflow(tmp_path, "inference.json", output_dir=str(tmp_path / "out"), **options)
    job.initialize()
    shown = [item["image"].as_tensor() for item in job.content("dataset")]
    assert [[bool(channel.any()) for channel in image] for image in shown] == [
        [True] * 4, [True, True, False, True], [False, True, False, False],
    ]  # fmt: skip
    assert job.check_properties() == []
    job.run()
    for case in sorted(path.name for path in folder.iterdir()):
        source = nib.load(next((folder / case).iterdir()))
        labels = nib.load(tmp_path / "out" / f"{case}_seg.nii.gz")
        assert labels.shape == source.shape and np.array_equal(labels.affine, source.affine)
