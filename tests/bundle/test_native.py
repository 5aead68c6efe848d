"""From the network's grid back to the file's: what MONAI's Invertd followed by a threshold gives, in fewer voxels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import (
    CastToTyped,
    Compose,
    CropForegroundd,
    Invertd,
    Lambdad,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    Resized,
    Spacingd,
)
from scripts.brain_box import is_brain
from scripts.errors import InputError
from scripts.labels import SCHEMES, labels_to_regions, nest_regions, regions_to_labels
from scripts.native import LabelMap, LabelsOfMasksd, RegionMasks, ToNativeGridd, refuse_no_numbers
from scripts.postprocessing import region_masks
from scripts.predictions import save_volume
from scripts.rules import Rules
from scripts.uncertainty import entropy_bits
from tiny import AFFINE, make_case, save
from workflow import BUNDLE

SWAPPED = np.array([[0, 2.0, 0, 3.0], [0, 0, 3.0, -4.0], [-2.0, 0, 0, 9.0], [0, 0, 0, 1.0]])


def recipe(spacing: list[float], *overrides: str) -> Compose:
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / name) for name in ("train.json", *overrides)])
    parser["spacing"] = spacing
    if any("distmis" in name for name in overrides):
        parser["reshape"] = [32, 32, 16]
    return parser.get_parsed_content("validate::preprocessing")


def monais(spacing: list[float]) -> Compose:
    """The default recipe in MONAI's own transforms.

    Their resampling leaves residues of 1e-13 where whole voxels lie beside the brain, which count as brain when
    normalised over what is not 0; ours leaves zeros.
    """
    return Compose([
        LoadImaged("image", ensure_channel_first=True),
        CropForegroundd("image", "image", select_fn=is_brain, allow_smaller=True),
        Orientationd("image", "RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        Spacingd("image", spacing),
        Lambdad("image", lambda image: image * (image.abs() > 1e-3)),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        CastToTyped("image", torch.float32),
    ])  # fmt: skip


def probabilities(item: dict[str, Any]) -> torch.Tensor:
    """Smooth ones on the network's grid, not nested everywhere."""
    coarse = torch.rand(1, 3, 5, 6, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, item["image"].shape[1:], mode="trilinear")[0]


def inverted(chain: Compose, item: dict[str, Any], probability: torch.Tensor) -> MetaTensor:
    return Invertd("pred", chain, "image", nearest_interp=False)(item | {"pred": MetaTensor(probability)})["pred"]


@pytest.mark.parametrize("spacing", [[2.0, 2.0, 2.0], [3.0, 1.5, 4.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("affine", [AFFINE, np.abs(AFFINE), SWAPPED], ids=["LPS", "RAS", "swapped"])
def test_labels_are_those_of_monais_chain(tmp_path: Path, affine: np.ndarray, spacing: list[float]) -> None:
    file = str(save(make_case(0)[0], tmp_path / "image.nii.gz", affine))
    ours, theirs = recipe(spacing), monais(spacing)
    item, their_item = ours({"image": file}), theirs({"image": file})
    torch.testing.assert_close(item["image"].as_tensor(), their_item["image"].as_tensor(), rtol=1e-4, atol=1e-4)
    assert torch.equal(item["image"].affine, their_item["image"].affine)
    probability = probabilities(item)
    wanted = inverted(theirs, their_item, probability)
    found = ToNativeGridd("pred", ours, LabelMap("msd"))(item | {"pred": probability})["pred"]
    assert torch.equal(found.affine, wanted.affine) and found.dtype == torch.uint8
    expected = regions_to_labels(wanted.as_tensor() > 0.5, SCHEMES["msd"])
    unsure = ((wanted.as_tensor() - 0.5).abs() < 1e-5).any(0, keepdim=True)
    assert torch.equal(found.as_tensor()[~unsure], expected[~unsure]) and unsure.float().mean() < 0.01
    assert set(found.unique().tolist()) == {0, 1, 2, 3}
    # The inverse of our own chain, probabilities and all, agrees too.
    torch.testing.assert_close(inverted(ours, item, probability).as_tensor(), wanted.as_tensor(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "where", [None, (0, 0, 0), (-1, 4, -1), (6, 5, 3)], ids=["nowhere", "corner", "edge", "inside"]
)
def test_a_small_lesion_is_found_as_in_the_whole(tmp_path: Path, where: tuple[int, ...] | None) -> None:
    """Only the surroundings of the lesion are interpolated; its soft edge lies within them."""
    chain = recipe([3.0, 1.5, 4.0])
    item = chain({"image": str(save(make_case(0)[0], tmp_path / "image.nii.gz"))})
    probability = 0.49 * torch.rand(3, *item["image"].shape[1:], generator=torch.Generator().manual_seed(0))
    if where is not None:
        probability[(slice(None), *where)] = 0.99
    wanted = nest_regions(inverted(chain, item, probability).as_tensor() > 0.5).to(torch.uint8)
    found = ToNativeGridd("pred", chain, RegionMasks())(item | {"pred": probability})["pred"]
    assert torch.equal(found.as_tensor(), wanted) and found.shape == (3, 24, 28, 20)
    assert found.any() == (where is not None)
    np.testing.assert_allclose(found.affine.numpy(), AFFINE, atol=1e-9)
    assert not found.applied_operations


@pytest.mark.parametrize("override", ["original", "distmis", "binary"])
def test_every_recipe_is_inverted(tmp_path: Path, override: str) -> None:
    """Whether its interpolation comes before, after or without the moves of voxels."""
    chain = recipe([2.0, 2.0, 2.0], f"recipe/{override}.json")
    item = chain({"image": str(save(make_case(0)[0], tmp_path / "image.nii.gz"))})
    probability = probabilities(item)
    wanted = nest_regions(inverted(chain, item, probability).as_tensor() > 0.5).to(torch.uint8)
    found = ToNativeGridd("pred", chain, RegionMasks())(item | {"pred": probability})["pred"]
    assert torch.equal(found.as_tensor(), wanted)


def test_a_chain_without_interpolation(tmp_path: Path) -> None:
    chain = Compose([LoadImaged("image", ensure_channel_first=True), Orientationd("image", "RAS", labels=None)])
    item = chain({"image": str(save(make_case(0)[0], tmp_path / "image.nii.gz"))})
    probability = probabilities(item)
    decide = RegionMasks(rules=Rules(thresholds={"TC": 0.7, "WT": 0.6, "ET": 0.8}))
    found = ToNativeGridd("pred", chain, decide)(item | {"pred": probability})["pred"]
    above = probability > torch.tensor([0.7, 0.6, 0.8]).reshape(3, 1, 1, 1)
    assert torch.equal(found.as_tensor(), nest_regions(above).flip(1, 2).to(torch.uint8))


@pytest.mark.parametrize("low", [0.2, 0.8])
def test_each_region_is_looked_for_above_its_own_threshold(tmp_path: Path, low: float) -> None:
    """A lesion that only the lowest threshold sees is in the box that is interpolated."""
    chain = recipe([3.0, 1.5, 4.0])
    item = chain({"image": str(save(make_case(0)[0], tmp_path / "image.nii.gz"))})
    probability = 0.1 * torch.rand(3, *item["image"].shape[1:], generator=torch.Generator().manual_seed(0))
    probability[1, 4:7, 4:7, 2:4] = 0.45
    rules = Rules(thresholds={"WT": low, "ET": 0.3})
    wanted = nest_regions(inverted(chain, item, probability).as_tensor() > rules.threshold_of(("TC", "WT", "ET")))
    found = ToNativeGridd("pred", chain, RegionMasks(rules=rules))(item | {"pred": probability})["pred"]
    assert torch.equal(found.as_tensor(), wanted.to(torch.uint8)) and found.any() == (low == 0.2)


@pytest.mark.parametrize("spacing", [[3.0, 1.5, 4.0], [0.0, 0.0, 0.0]])
def test_rules_see_the_whole_volume_in_the_files_voxels(tmp_path: Path, spacing: list[float]) -> None:
    """What is decided in a box on the way is what is decided on the whole probabilities, and both outputs agree."""
    chain = recipe(spacing)
    item = chain({"image": str(save(make_case(0)[0], tmp_path / "image.nii.gz"))})
    probability = probabilities(item)
    above = dict.fromkeys(("TC", "WT", "ET"), 0.8)
    rules = Rules(above, min_component_mm3={"WT": 500.0, "TC": 300.0, "ET": 200.0})
    whole = inverted(chain, item, probability).as_tensor()
    # Voxels of the file are 2 x 2 x 3 mm.
    wanted = region_masks(whole, ("TC", "WT", "ET"), rules, 12.0).to(torch.uint8)
    kept = region_masks(whole, ("TC", "WT", "ET"), Rules(above), 12.0)
    assert all(0 < few.sum() < many.sum() for few, many in zip(wanted, kept, strict=True))
    item["pred"] = probability
    found = ToNativeGridd("pred", chain, RegionMasks(rules=rules))(item)["pred"]
    labels = ToNativeGridd("pred", chain, LabelMap("msd", rules=rules))(item)["pred"]
    assert torch.equal(found.as_tensor(), wanted)
    assert torch.equal(labels_to_regions(labels.as_tensor(), SCHEMES["msd"], dtype=torch.uint8), wanted)


def test_kept_probabilities_are_those_decided_on(tmp_path: Path) -> None:
    chain = recipe([3.0, 1.5, 4.0])
    item = chain({"image": str(save(make_case(0)[0], tmp_path / "image.nii.gz"))})
    item["pred"] = probabilities(item)
    out = ToNativeGridd("pred", chain, RegionMasks(), keep_probabilities=True)(item)
    assert torch.equal(out["pred"].as_tensor(), nest_regions(out["prob"].as_tensor() > 0.5).to(torch.uint8))
    torch.testing.assert_close(out["prob"], inverted(chain, item, item["pred"]))
    assert torch.equal(out["prob"].affine, out["pred"].affine)


def test_kept_probabilities_of_a_sheared_grid_are_none_above_one(tmp_path: Path) -> None:
    """Interpolated between ones, MONAI's grid sampling exceeds one, whose entropy is no number."""
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.1
    chain = recipe([1.5, 1.5, 1.5])
    item = chain({"image": str(save(make_case(0)[0], tmp_path / "image.nii.gz", sheared))})
    item["pred"] = torch.ones(3, *item["image"].shape[1:])
    assert inverted(chain, item, item["pred"]).max() > 1
    out = ToNativeGridd("pred", chain, RegionMasks(), keep_probabilities=True)(item)
    assert out["prob"].max() == 1
    assert entropy_bits(out["prob"].as_tensor()).isfinite().all()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_output_that_is_no_number_is_no_brain_without_tumour(tmp_path: Path, keep: bool, value: float) -> None:
    chain = recipe([2.0, 2.0, 2.0])
    item = chain({"image": str(save(make_case(0)[0], tmp_path / "image.nii.gz"))}) | {"case": "BRATS_007"}
    spoilt = probabilities(item)
    spoilt[2, 3, 3, 3] = value
    finish = ToNativeGridd("pred", chain, LabelMap("msd"), keep_probabilities=keep)
    with pytest.raises(InputError, match="^BRATS_007: the network's output is no number .*; use precision fp32"):
        finish(item | {"pred": spoilt})
    del item["case"]
    with pytest.raises(InputError, match="image.nii.gz: the network's output is no number"):
        finish(item | {"pred": spoilt.half()})


def test_half_floats_of_a_large_volume_are_numbers() -> None:
    """Their sum is none in their own type."""
    refuse_no_numbers(torch.ones(3, 40, 40, 40, dtype=torch.float16), "BRATS_007")


def test_labels_are_made_of_the_masks_and_the_image_is_left_alone(tmp_path: Path) -> None:
    chain = Compose([
        LoadImaged("image", ensure_channel_first=True), Resized("image", (16, 16, 16)),
    ])  # fmt: skip
    item = chain({"image": str(save(make_case(0)[0], tmp_path / "image.nii.gz"))})
    before = item["image"].clone()
    out = ToNativeGridd("pred", chain, RegionMasks())(item | {"pred": probabilities(item)})
    out = LabelsOfMasksd("pred", "labels", "brats2018")(out)
    assert torch.equal(out["labels"].as_tensor(), regions_to_labels(out["pred"].as_tensor(), SCHEMES["brats2018"]))
    assert out["labels"].shape == (1, 24, 28, 20) and torch.equal(out["labels"].affine, out["pred"].affine)
    assert torch.equal(out["image"], before) and out["image"].applied_operations == item["image"].applied_operations
    assert len(out["image"].applied_operations) == 1


def test_labels_reach_the_file(tmp_path: Path) -> None:
    file = save(make_case(0)[0], tmp_path / "image.nii.gz", SWAPPED)
    chain = recipe([2.0, 2.0, 2.0])
    item = chain({"image": str(file)})
    labels = ToNativeGridd("pred", chain, LabelMap("msd"))(item | {"pred": probabilities(item)})["pred"]
    save_volume(labels.as_tensor()[0].numpy(), str(file), tmp_path / "seg.nii.gz")
    written = nib.load(tmp_path / "seg.nii.gz")
    assert np.array_equal(written.affine, nib.load(file).affine)
    assert np.array_equal(np.asarray(written.dataobj), labels.as_tensor()[0].numpy())
