"""From a file through preprocessing and back: nothing moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Invertd
from patients import patients
from scripts.labels import get_scheme, labels_to_regions
from scripts.metrics import region_dice
from tiny import make_case, save
from workflow import BUNDLE


def preprocessing(spacing: list[float]) -> Any:
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "train.json"))
    parser["spacing"] = spacing
    return parser.get_parsed_content("validate::preprocessing")


def round_trip(image: str | list[str], label: str, scheme_name: str, spacing: list[float]) -> tuple[list[float], Any]:
    """Dice per region of the truth, predicted on the network's grid and inverted; and the inverted affine."""
    scheme, chain = get_scheme(scheme_name), preprocessing(spacing)
    item = chain({"image": image, "label": label})
    perfect = labels_to_regions(item["label"], scheme).as_tensor()
    item["pred"] = MetaTensor(perfect, meta=item["image"].meta, applied_operations=item["image"].applied_operations)
    back = Invertd(keys="pred", transform=chain, orig_keys="image", nearest_interp=False)(item)["pred"]
    stored = np.asarray(nib.load(label).dataobj).astype(np.uint8)
    truth = labels_to_regions(torch.as_tensor(stored)[None], scheme)
    return region_dice((back.as_tensor() > 0.5).float()[None], truth[None])[0].tolist(), back.affine.numpy()


@pytest.mark.parametrize(
    "axes", [(-2.0, -2.0, 3.0), (2.0, 2.0, 3.0), (-2.0, 2.0, -3.0)], ids=["LPS", "RAS", "LAI"]
)  # fmt: skip
def test_synthetic_case_comes_back_exactly(axes: tuple[float, ...], tmp_path: Path) -> None:
    affine = np.diag([*axes, 1.0])
    affine[:3, 3] = (31, -17, 5)
    image, label = make_case(0)
    paths = [str(save(volume, tmp_path / f"{n}.nii.gz", affine)) for n, volume in (("image", image), ("label", label))]
    dice, back = round_trip(*paths, "msd", [0.0, 0.0, 0.0])
    assert dice == [1.0, 1.0, 1.0]
    assert np.array_equal(back, nib.load(paths[0]).affine)


def test_oblique_grid_and_swapped_axes_come_back(tmp_path: Path) -> None:
    affine = np.array([[0, 2.0, 0, 3.0], [0.1, 0, 3.0, -4.0], [2.0, 0, -0.1, 9.0], [0, 0, 0, 1.0]])
    image, label = make_case(1)
    paths = [str(save(volume, tmp_path / f"{n}.nii.gz", affine)) for n, volume in (("image", image), ("label", label))]
    dice, back = round_trip(*paths, "msd", [0.0, 0.0, 0.0])
    assert dice == [1.0, 1.0, 1.0]
    assert np.allclose(back, nib.load(paths[0]).affine, atol=1e-5)


def test_image_and_label_stay_together(tmp_path: Path) -> None:
    """A transform that lost the label's affine would flip the image alone (a silent fault of older code)."""
    image, label = make_case(2)
    paths = {
        "image": str(save(image, tmp_path / "i.nii.gz")),
        "label": str(save(label, tmp_path / "l.nii.gz")),
    }
    item = preprocessing([0.0, 0.0, 0.0])(paths)
    bright = (item["image"][2] > 2).float()  # the enhancing part in T1gd
    enhancing = (item["label"][0] == 3).float()
    assert region_dice(bright[None, None].as_tensor(), enhancing[None, None].as_tensor()).item() > 0.9


def test_normalisation_is_over_the_brain_alone(tmp_path: Path) -> None:
    image, label = make_case(3)
    paths = {"image": str(save(image, tmp_path / "i.nii.gz")), "label": str(save(label, tmp_path / "l.nii.gz"))}
    item = preprocessing([0.0, 0.0, 0.0])(paths)
    for channel in item["image"].as_tensor():
        brain = channel[channel != 0]
        assert brain.mean().item() == pytest.approx(0, abs=1e-4)
        assert brain.std(unbiased=False).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("case", ["BraTS2021_00006", "BraTS2021_01477"])
def test_real_patient_at_1_mm_comes_back(case: str) -> None:
    folder = patients("BraTS2021") / case
    image = [str(folder / f"{case}_{name}.nii.gz") for name in ("flair", "t1", "t1ce", "t2")]
    label = str(folder / f"{case}_seg.nii.gz")
    dice, affine = round_trip(image, label, "brats2018", [0.0, 0.0, 0.0])
    assert min(dice) >= 0.97
    assert np.array_equal(affine, nib.load(label).affine)


@pytest.mark.parametrize("case", ["BRATS_001", "BRATS_005"])
def test_real_patient_at_2_mm_comes_back(case: str) -> None:
    folder = patients("Task01_BrainTumour_2mm")
    label = str(folder / "labelsTr" / f"{case}.nii.gz")
    dice, affine = round_trip(str(folder / "imagesTr" / f"{case}.nii.gz"), label, "msd", [2.0, 2.0, 2.0])
    assert min(dice) >= 0.97
    assert np.array_equal(affine, nib.load(label).affine)
