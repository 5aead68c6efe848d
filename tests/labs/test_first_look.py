"""Lab 00: what it measures of a case, and what its checks say."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from labkit.checks import NotYet
from labkit.data import listed, modality_images
from labkit.first_look import (
    check_error_factor,
    check_regions,
    check_volume,
    modalities_figure,
    takes_up_contrast,
    tissue_intensities,
    voxel_ml,
)
from matplotlib.colors import to_hex
from nibabel.nifti1 import Nifti1Image
from scripts.figures import ORANGE, PURPLE, SKY_BLUE, YELLOW
from scripts.labels import Scheme, get_scheme


@pytest.fixture
def label() -> Nifti1Image:
    """40 voxels of 2 x 2 x 3 mm in the core, turned and shifted."""
    ids = np.zeros((8, 8, 8), np.uint8)
    ids[:2, :4, :5], ids[:2, :4, 5:] = 2, 1
    affine = np.array([[0, -2, 0, 9], [2, 0, 0, -4], [0, 0, 3, 1], [0, 0, 0, 1]], float)
    return nib.Nifti1Image(ids, affine)


def test_ratio_to_the_brain_around() -> None:
    ids = np.zeros((4, 4, 4), np.uint8)
    ids[0], ids[1] = 1, 3
    scans = {}
    for name, enhancing in {"T1w": 50.0, "T1gd": 200.0}.items():
        voxels = np.full(ids.shape, 100.0, np.float32)
        voxels[ids == 1], voxels[ids == 3], voxels[3] = 80.0, enhancing, 0.0
        scans[name] = nib.Nifti1Image(voxels, np.diag([2, 2, 3, 1]))
    found = tissue_intensities(scans, nib.Nifti1Image(ids, np.diag([2, 2, 3, 1])))
    assert found[1] == pytest.approx({"T1w": 0.8, "T1gd": 0.8}) and found[3]["T1gd"] == pytest.approx(2.0)
    assert takes_up_contrast(found) == 3


def test_volume_of_a_voxel(label: Nifti1Image) -> None:
    assert voxel_ml(label) == pytest.approx(0.012)


@pytest.mark.parametrize("name", ["msd", "brats2018", "brats2023"])
def test_regions(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    scheme = get_scheme(name)
    check_regions(*(set(scheme.regions[region]) for region in ("WT", "TC", "ET")), scheme)
    assert "Right." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wt", "tc", "et", "hint"),
    [
        (..., {2, 3}, {3}, "WT has no answer yet"),
        ({1, 2, 3}, {2, 3}, 3, "ET is a set of label ids"),
        ({1, 2, 3}, {1, 2}, {3}, "nested"),
        ({2, 3}, {2, 3}, {3}, "abnormal"),
        ({1, 2, 3}, {2, 3}, {2}, "look at the table again"),
        ({1, 2, 3}, {2, 3}, {2, 3}, "one tissue"),
        ({1, 2, 3}, {1, 2, 3}, {3}, "surgeon"),
    ],
)
def test_hints_on_regions(wt: object, tc: object, et: object, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_regions(wt, tc, et, get_scheme("msd"))


def test_core_volume(label: Nifti1Image, capsys: pytest.CaptureFixture[str]) -> None:
    check_volume(40 * 0.012, label, {2, 3})
    assert "40 voxels of 0.012 ml are 0.48 ml" in capsys.readouterr().out
    for wrong, hint in {40.0: "how large is one", 480.0: "cubic millimetres", 0.3: "times the volume of one"}.items():
        with pytest.raises(NotYet, match=hint):
            check_volume(wrong, label, {2, 3})
    with pytest.raises(NotYet, match="no answer yet"):
        check_volume(..., label, {2, 3})


def test_error_of_a_voxel_taken_for_a_millimetre(label: Nifti1Image) -> None:
    check_error_factor(12.0, label)
    for wrong, hint in {12 ** (1 / 3): "three edges", 3.0: "volume of one voxel"}.items():
        with pytest.raises(NotYet, match=hint):
            check_error_factor(wrong, label)
    with pytest.raises(NotYet, match="no answer yet"):
        check_error_factor(..., label)


def test_a_tissue_has_the_colour_that_the_viewer_gives_it(label: Nifti1Image) -> None:
    ids = np.zeros((8, 8, 8), np.uint8)
    ids[1:7, 1:7, 4] = np.arange(36).reshape(6, 6) % 5
    scheme = get_scheme("brats2024")
    assert scheme.labels[4] == "resection cavity"
    scan = nib.Nifti1Image(np.full(ids.shape, 100, np.float32), label.affine)
    scans = {"T1w": scan, "T1gd": scan}
    figure = modalities_figure(scans, nib.Nifti1Image(ids, label.affine), scheme, outlined=True)
    shown = {patch.get_label(): to_hex(patch.get_facecolor()).upper() for patch in figure.legends[0].get_patches()}
    assert shown == {"label 1": ORANGE, "label 2": SKY_BLUE, "label 3": PURPLE, "label 4": YELLOW}


def test_figure_has_a_panel_a_modality(tiny_decathlon: Path) -> None:
    case = listed(tiny_decathlon, 1)[0]
    scheme: Scheme = get_scheme("msd")
    figure = modalities_figure(modality_images(case), nib.load(case["label"]), scheme, outlined=True)
    assert figure.legends[0].get_texts()[0].get_text().startswith("label ")
