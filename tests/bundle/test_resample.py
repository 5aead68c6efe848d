"""Brain box, resampling and normalisation are those of MONAI, forth and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import CropForegroundd, NormalizeIntensity, Orientationd, Spacingd
from scripts.brain_box import CropToBraind, is_brain, nonzero_extent
from scripts.errors import InputError
from scripts.resample import SeparableResample, SeparableSpacingd
from scripts.transforms import normalize_brain
from tiny import AFFINE, make_case

ROTATED = np.array([[0, 1.5, 0, 3.0], [0.15, 0, 2.0, -4.0], [1.0, 0, -0.3, 9.0], [0, 0, 0, 1.0]])
SHEARED = np.array([[1.0, 0.3, 0, 3.0], [0, 1.2, 0, -4.0], [0, 0, 2.0, 9.0], [0, 0, 0, 1.0]])
# (0, 0, 0) keeps the grid; 3 x 3 x 1 shrinks two axes and makes the third finer.
SPACINGS = [(1.5, 1.5, 2.0), (3.0, 3.0, 1.0), (2.0, 0.0, 2.0), (0.0, 0.0, 0.0), (1.1, 2.7, 3.3)]
LAYOUTS = {"file": (0, 3, 2, 1), "c": (0, 1, 2, 3), "middle": (0, 1, 3, 2)}


def case(affine: np.ndarray = AFFINE, layout: str = "file", dtype: type = np.int16) -> dict[str, MetaTensor]:
    """Image (4, H, W, D) and label (1, H, W, D) whose axes lie in memory as ``layout`` says."""
    image, label = make_case(0)
    order = LAYOUTS[layout]
    tensors = {}
    for key, volume in (("image", np.moveaxis(image, -1, 0).astype(dtype)), ("label", label[None])):
        stored = torch.from_numpy(np.ascontiguousarray(volume.transpose(order)))
        tensors[key] = MetaTensor(stored.permute(*np.argsort(order)), affine=torch.from_numpy(affine))
    return tensors


def ours_and_monais(pixdim: tuple[float, ...], **how: object) -> tuple[dict, dict, SeparableSpacingd, Spacingd]:
    keys, mode = ("image", "label"), ("bilinear", "nearest")
    ours, monais = SeparableSpacingd(keys, pixdim, mode), Spacingd(keys, pixdim, mode=mode)
    return ours(case(**how)), monais(case(**how)), ours, monais


@pytest.mark.parametrize("pixdim", SPACINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("affine", [AFFINE, ROTATED], ids=["LPS", "oblique"])
def test_resampling_is_that_of_spacingd(pixdim: tuple[float, ...], layout: str, affine: np.ndarray) -> None:
    a, b, ours, monais = ours_and_monais(pixdim, affine=affine, layout=layout)
    torch.testing.assert_close(a["image"].as_tensor(), b["image"].as_tensor(), rtol=1e-5, atol=1e-3)
    assert a["image"].is_contiguous() and a["label"].dtype == torch.uint8
    assert torch.equal(a["image"].affine, b["image"].affine)
    # Labels differ where a sample lies half-way between two voxels, where MONAI's own choice is one of rounding.
    differ = (a["label"] != b["label"]).float().mean().item()
    assert differ == 0 if pixdim == (0.0, 0.0, 0.0) else differ < 0.02
    back, monais_back = ours.inverse(a), monais.inverse(b)
    for key in ("image", "label"):
        assert back[key].shape == monais_back[key].shape
        assert torch.equal(back[key].affine, monais_back[key].affine) and not back[key].applied_operations
    torch.testing.assert_close(
        back["image"].as_tensor(), monais_back["image"].as_tensor().float(), rtol=1e-5, atol=1e-3
    )


def test_what_is_not_separable_goes_monais_way() -> None:
    a, b, _, _ = ours_and_monais((1.5, 1.5, 2.0), affine=SHEARED)
    torch.testing.assert_close(a["image"].as_tensor(), b["image"].as_tensor(), rtol=1e-4, atol=1e-2)
    assert torch.equal(a["image"].affine, b["image"].affine)


def test_ties_go_to_the_even_voxel() -> None:
    line = MetaTensor(torch.arange(12, dtype=torch.uint8).view(1, 12, 1, 1).clone(), affine=torch.eye(4))
    target = torch.diag(torch.tensor([1.5, 1, 1, 1], dtype=torch.float64))
    taken = SeparableResample(mode="nearest")(line, target, (8, 1, 1)).flatten().tolist()
    assert taken == [0, 2, 3, 4, 6, 8, 9, 10]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.int32])
def test_the_box_is_that_of_cropforeground(layout: str, dtype: type) -> None:
    data = case(layout=layout, dtype=dtype)
    data["image"][0, 5, 9, 17] = -1 if dtype != np.uint8 else 1
    data["image"][3] = 0
    a = CropToBraind(("image", "label"), "image")(dict(data))
    b = CropForegroundd(("image", "label"), "image", select_fn=is_brain, allow_smaller=True)(dict(data))
    for key in ("image", "label"):
        assert torch.equal(a[key].as_tensor(), b[key].as_tensor()) and torch.equal(a[key].affine, b[key].affine)
    cropper = CropToBraind(("image", "label"), "image")
    cropped = cropper(dict(data))
    restored = cropper.inverse(cropped)
    for key in ("image", "label"):
        assert torch.equal(restored[key].affine, data[key].affine) and not restored[key].applied_operations
    assert torch.equal(restored["image"].as_tensor(), data["image"].as_tensor())


def test_minus_zero_is_blank() -> None:
    volume = torch.zeros(1, 4, 5, 6)
    volume[0, 0, 0, 0] = -0.0
    assert nonzero_extent(volume) is None
    volume[0, 2, 3, 4] = -1e-30
    start, end = nonzero_extent(volume)
    assert start.tolist() == [2, 3, 4] and end.tolist() == [3, 4, 5]


def test_a_blank_image_is_refused() -> None:
    blank = MetaTensor(torch.zeros(4, 4, 4, 4, dtype=torch.int16), meta={"filename_or_obj": "blank.nii.gz"})
    with pytest.raises(InputError, match="blank.nii.gz: is 0 everywhere"):
        CropToBraind("image", "image")({"image": blank})


def test_box_and_orientation_commute() -> None:
    """The box is cut before the axes are turned, which is the same and cheaper than after."""
    keys, codes = ("image", "label"), Orientationd(("image", "label"), "RAS", labels=None)
    crop = CropToBraind(keys, "image")
    first, second = codes(crop(case(ROTATED))), crop(codes(case(ROTATED)))
    for key in keys:
        assert torch.equal(first[key].as_tensor(), second[key].as_tensor())
        torch.testing.assert_close(first[key].affine, second[key].affine)


def test_normalisation_is_that_of_normalizeintensity() -> None:
    image = case(dtype=np.float32)["image"].as_tensor().contiguous()
    image[1], image[2][image[2] != 0] = 0, 5.0
    wanted = NormalizeIntensity(nonzero=True, channel_wise=True)(image.clone())
    normalize_brain(image)
    torch.testing.assert_close(image, torch.as_tensor(wanted), rtol=1e-5, atol=1e-6)
