"""What lab 01 measures and draws, on cases small enough to know the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from monai.transforms import NormalizeIntensity, RandomizableTrait
from scripts.errors import InputError
from scripts.labels import get_scheme
from scripts.patches import PatchRecipe

from labs.labkit import preparation, preparation_figures
from labs.labkit.data import listed

MSD = get_scheme("msd")


@pytest.fixture(scope="module")
def traced(tiny_decathlon: Path) -> list[preparation.Step]:
    transforms = preparation.bundle_transforms("deterministic_transforms", spacing=[3.0, 3.0, 3.0])
    return preparation.trace(transforms, listed(tiny_decathlon)[0])


def test_the_steps_are_those_of_the_recipe(traced: list[preparation.Step]) -> None:
    names = [step.name for step in traced]
    assert names[0] == "LoadImaged" and names.index("CropToBraind") < names.index("NormalizeBraind")
    rows = [preparation.step_row(step) for step in traced]
    assert rows[0][1:5] == ["4 x 24 x 28 x 20", "2 x 2 x 3", "LPS", "int16"]
    assert rows[-1][2:5] == ["3 x 3 x 3", "RAS", "float32"]
    assert rows[0][5] == pytest.approx(4 * 24 * 28 * 20 * 2 / 1e6)


def test_a_step_keeps_what_a_later_one_overwrites(traced: list[preparation.Step]) -> None:
    spaced, normalised = traced[-3].image, traced[-2].image
    assert float(spaced.max()) > 100 > float(normalised.max())


def test_the_random_part_of_the_recipe_is_random() -> None:
    knobs = {"patch_size": [8, 8, 8], "crops_per_case": 1, "tumour_crops": 0.5}
    locate, patches = preparation.bundle_transforms("random_transforms", **knobs)
    assert isinstance(patches, RandomizableTrait) and not isinstance(locate, RandomizableTrait)


def test_two_calls_of_an_array_form_part_in_half_of_the_draws() -> None:
    assert preparation.flips_apart(400, seed=0) == pytest.approx(0.5, abs=0.08)


def test_statistics_tell_brain_from_air() -> None:
    image = torch.tensor([0.0, 0.0, 2.0, 4.0])
    assert preparation.brain_statistics(image - 1, image != 0) == (2.0, 1.0, -1.0)


def test_a_value_after_a_crop_is_monais(traced: list[preparation.Step]) -> None:
    """A crop as large as the volume is the volume, and MONAI's normalisation of it is known."""
    image = traced[-3].image[:1]
    value = float(image[image != 0].median())
    found = preparation.values_after_crop(image, value, image.shape[1:], draws=3, seed=0)
    place = torch.nonzero(image == value)[0].tolist()
    wanted = NormalizeIntensity(nonzero=True, channel_wise=True)(image.clone())[tuple(place)]
    assert found == pytest.approx([float(wanted)] * 3, abs=1e-4)


def test_smaller_crops_spread_more(traced: list[preparation.Step]) -> None:
    image = traced[-3].image[:1]
    spread = [np.ptp(preparation.values_after_crop(image, 500.0, [side] * 3, draws=40, seed=0)) for side in (12, 5)]
    assert 0 < spread[0] < spread[1]


def test_dice_is_one_on_itself_and_leaves_out_absent_regions() -> None:
    label = np.zeros((4, 4, 4), np.uint8)
    label[:2] = 1
    assert preparation.region_dice(label, label, MSD) == {"WT": 1.0}
    half = label.copy()
    half[0] = 0
    assert preparation.region_dice(half, label, MSD) == {"WT": pytest.approx(2 / 3)}


def test_there_and_back_is_the_file_again_at_its_own_spacing(tiny_decathlon: Path) -> None:
    case = listed(tiny_decathlon)[0]
    same, coarse = (
        preparation.there_and_back(preparation.bundle_transforms("deterministic_transforms", spacing=spacing), case)
        for spacing in ([0, 0, 0], [5, 5, 5])
    )
    loaded = preparation.trace(preparation.bundle_transforms("deterministic_transforms", spacing=[0, 0, 0])[:1], case)
    label = loaded[0].label
    assert torch.equal(same.as_tensor(), label.as_tensor()) and torch.allclose(same.affine, label.affine)
    assert coarse.shape == label.shape and not torch.equal(coarse.as_tensor(), label.as_tensor())


@pytest.mark.parametrize(("tumour_crops", "share"), [(1.0, 1.0), (0.0, 1 / 8)])
def test_centred_patches_hold_tumour(tumour_crops: float, share: float) -> None:
    """One tumour voxel in a corner, and patches of half the side: one place in eight holds it if places are two."""
    label = np.zeros((5, 5, 5), np.uint8)
    label[0, 0, 0] = 1
    recipe = PatchRecipe((4, 4, 4), tumour_crops=tumour_crops)
    assert preparation.share_with_tumour(recipe, label, draws=400, seed=0) == pytest.approx(share, abs=0.05)


def test_figures_draw_what_they_are_given(traced: list[preparation.Step]) -> None:
    label = np.asarray(traced[-1].label)
    image = np.asarray(traced[-1].image)
    at = preparation_figures.largest_slice(label)
    assert (label[0, :, :, at] > 0).sum() == (label[0] > 0).sum(axis=(0, 1)).max()
    drawn = [
        preparation_figures.steps_figure(traced, 0, "FLAIR"),
        preparation_figures.pair_figure({"a": (image[0, :, :, at], label[0, :, :, at])}, MSD, "title"),
        preparation_figures.histogram_figure({"a": image[0].ravel(), "b": image[1].ravel()}, "title"),
        preparation_figures.spread_figure({"small": np.array([0.1, 0.2]), "large": np.array([0.1])}, 0.1, "title"),
        preparation_figures.patches_figure([{"image": image, "label": label}] * 2, MSD, 2, "title"),
    ]
    panels = [sum(bool(axis.images) for axis in figure.axes) for figure in drawn]
    assert panels == [len(traced), 1, 0, 0, 2]
    assert len(drawn[2].axes[0].patches) == 2 and len(drawn[3].axes[0].collections) == 2
    for figure in drawn:
        plt.close(figure)


def test_a_blank_image_is_refused() -> None:
    with pytest.raises(InputError, match="nearly blank"):
        preparation.values_after_crop(torch.zeros(1, 9, 9, 9), 1.0, [4] * 3, draws=1, seed=0)
