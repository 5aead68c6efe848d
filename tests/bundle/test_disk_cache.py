"""Cases that were preprocessed before are those that are preprocessed now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from scripts import disk_cache
from scripts.disk_cache import DiskCacheDataset
from scripts.errors import InputError
from scripts.patches import LocateTumourd, RandPatchd
from tiny import make_case, save
from workflow import BUNDLE


def dataset(folder: Path) -> DiskCacheDataset:
    """One case of voxels of 1.5 x 1.5 x 3 mm, of which patches are rotated."""
    image, label = make_case(0)
    item: dict[str, Any] = {"case": "BRATS_001", "image": str(folder / "image.nii.gz"), "label": str(folder / "l.nii")}
    if not (folder / "l.nii").exists():
        save(image, Path(item["image"]))
        save(label, Path(item["label"]))
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "train.json"))
    parser["spacing"] = [1.5, 1.5, 3.0]
    known = parser.get_parsed_content("deterministic_transforms")
    patches = RandPatchd(patch_size=(16, 16, 16), rotate_prob=1.0)
    made = DiskCacheDataset([item], Compose([*known, LocateTumourd(), patches]), str(folder / "cache"))
    made.transform.set_random_state(seed=3)
    return made


def test_a_case_that_is_read_gives_the_patch_of_one_that_is_made(tmp_path: Path) -> None:
    """A rotation turns millimetres, so it has to know the voxels' size."""
    made, read = (dataset(tmp_path)[0][0] for _ in range(2))
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert torch.equal(made["image"], read["image"]) and torch.equal(made["label"], read["label"])
    assert made.keys() == read.keys() and read["case"] == "BRATS_001"


def test_volumes_keep_their_affine(tmp_path: Path) -> None:
    for _ in range(2):
        case = dataset(tmp_path)._cachecheck(dataset(tmp_path).data[0])
        assert case["image"].pixdim.tolist() == case["label"].pixdim.tolist() == [1.5, 1.5, 3.0]


@pytest.mark.parametrize("left", [0, 5000])
def test_a_damaged_file_is_made_anew(tmp_path: Path, left: int, caplog: pytest.LogCaptureFixture) -> None:
    first = dataset(tmp_path)[0][0]
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    again = dataset(tmp_path)[0][0]
    assert "its case is prepared anew" in caplog.text
    assert torch.equal(first["image"], again["image"])
    assert len(file.read_bytes()) == len(whole)


def test_a_full_disk_leaves_no_half_of_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(content: Any, file: Path) -> None:
        file.write_bytes(b"half of a case")
        raise RuntimeError("[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing file")

    monkeypatch.setattr(disk_cache.torch, "save", full)
    with pytest.raises((InputError, RuntimeError), match="preprocessed cases cannot be written .the disk is full"):
        dataset(tmp_path)[0]
    assert not list((tmp_path / "cache").iterdir())
