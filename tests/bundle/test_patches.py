"""Random patches: what is drawn, and that every way of gathering gives the same voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import RandomizableTrait
from scripts import compiled
from scripts import gather as gathering
from scripts.errors import InputError
from scripts.gather import gather, placement
from scripts.patches import Draw, LocateTumourd, PatchRecipe, RandPatchd, locate_classes, rotation

SIZE = (12, 10, 8)
STILL = {"flip_prob": 0.0, "gain": 0.0, "shift": 0.0}


def volume(shape=(20, 18, 14), channels=4, seed=0):
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.integers(-9000, 9000, (*shape, channels)).astype(np.int16))
    return image, torch.from_numpy(rng.integers(0, 4, shape).astype(np.uint8))


def patch(image, label, draw, size=SIZE, way=gather):
    out = torch.full((*size, image.shape[3]), torch.nan)
    ids = torch.full(size, 99, dtype=torch.uint8)
    way(image, label, draw, draw.gain, out, ids)
    return out, ids


def still(start, flip=(False, False, False), matrix=None, channels=4):
    return Draw(start, flip, matrix, np.ones(channels), np.zeros(channels))


def test_a_still_patch_is_the_slice():
    image, label = volume()
    out, ids = patch(image, label, still((3, 2, 4)))
    assert torch.equal(out, image[3:15, 2:12, 4:12].float())
    assert torch.equal(ids, label[3:15, 2:12, 4:12])


def test_flips_mirror_image_and_label_alike():
    image, label = volume()
    out, ids = patch(image, label, still((3, 2, 4), flip=(True, False, True)))
    assert torch.equal(out, image[3:15, 2:12, 4:12].float().flip(0, 2))
    assert torch.equal(ids, label[3:15, 2:12, 4:12].flip(0, 2))


def test_outside_of_the_volume_is_blank():
    image, label = volume((6, 18, 14))
    draw = still((-3, 2, 4))
    draw.offset[:] = 0.5
    out, ids = patch(image, label, draw)
    assert (out[:3] == 0.5).all() and (out[9:] == 0.5).all() and (ids[:3] == 0).all() and (ids[9:] == 0).all()
    assert torch.equal(out[3:9], image[:, 2:12, 4:12].float() + 0.5)


def test_gain_and_offset_are_a_channels_own():
    image, label = volume()
    draw = Draw((0, 0, 0), (False,) * 3, None, np.array([1.0, 2, 3, 4]), np.array([0.0, 10, 20, 30]))
    out, _ = patch(image, label, draw)
    for channel in range(4):
        wanted = image[:12, :10, :8, channel].float() * (channel + 1) + 10 * channel
        torch.testing.assert_close(out[..., channel], wanted)


def test_a_quarter_turn_is_rot90():
    image, label = volume((15, 15, 9))
    draw = still((0, 0, 0), matrix=rotation((0, 0, np.pi / 2)))
    out, ids = patch(image, label, draw, size=(15, 15, 9))
    # Edge voxels may round to just outside of the volume.
    inner = (slice(1, -1), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(out[inner], image.float().rot90(1, (1, 0))[inner], atol=0.2, rtol=1e-4)
    assert torch.equal(ids[inner], label.rot90(1, (1, 0))[inner])


def test_magnification_spreads_the_centre():
    image = torch.zeros(21, 21, 21, 1, dtype=torch.int16)
    image[8:13, 8:13, 8:13] = 1000
    draw = still((0, 0, 0), matrix=np.eye(3) / 2, channels=1)
    out, _ = patch(image, torch.zeros(21, 21, 21, dtype=torch.uint8), draw, size=(21, 21, 21))
    along = out[10, 10, :, 0]
    assert (image[10, 10] > 0).sum() == 5
    assert (along > 0).sum() == 11 and (along == 1000).sum() == 9


def test_a_rotation_turns_millimetres():
    recipe = PatchRecipe(SIZE, rotate_prob=1.0)
    spacing_mm = np.array([1.0, 1.5, 3.0])
    matrix = recipe.draw(np.random.default_rng(0), (40, 40, 40), 1, {}, spacing_mm).matrix
    in_mm = np.diag(spacing_mm) @ matrix @ np.diag(1 / spacing_mm)
    np.testing.assert_allclose(in_mm @ in_mm.T, np.eye(3), atol=1e-12)


def test_the_middle_of_the_patch_stays():
    draw = still((3, 5, 2), flip=(True, True, False), matrix=rotation((0.3, -0.2, 0.5)) * 0.8)
    origin, linear = placement(draw, SIZE)
    middle = (np.array(SIZE) - 1) / 2
    np.testing.assert_allclose(origin + linear @ middle, np.array(draw.start) + middle)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("turning", [0.0, 1.0])
def test_the_kernel_and_pytorch_agree(channels, turning):
    if compiled.library("patches") is None:
        pytest.skip("no C compiler here")
    rng = np.random.default_rng(channels)
    for trial in range(20):
        image, label = volume(tuple(rng.integers(1, 30, 3)), channels, seed=trial)
        recipe = PatchRecipe(SIZE, rotate_prob=turning, scale_prob=turning)
        draw = recipe.draw(rng, label.shape, channels, locate_classes(label.numpy()), (1, 1.5, 2))
        ours, ids = patch(image, label, draw)
        reference, reference_ids = patch(image, label, draw, way=gathering._resample if turning else gathering._crop)
        # Of values up to 9000; nearest neighbours may differ where a voxel lies half-way.
        torch.testing.assert_close(ours, reference, atol=0.5, rtol=1e-4)
        assert (ids != reference_ids).float().mean() < 2e-3


def test_a_slab_of_one_voxel_can_be_turned():
    for seed in range(20):
        image, label = volume((30, 30, 1), seed=seed)
        recipe = PatchRecipe(SIZE, rotate_prob=1.0, scale_prob=1.0)
        draw = recipe.draw(np.random.default_rng(seed), label.shape, 4, locate_classes(label.numpy()))
        reference, _ = patch(image, label, draw, way=gathering._resample)
        torch.testing.assert_close(patch(image, label, draw)[0], reference, atol=0.5, rtol=1e-4)


def test_labels_of_another_type_are_read_as_numbers():
    image, label = volume(channels=1)
    for dtype in (torch.int32, torch.float32):
        assert torch.equal(patch(image, label.to(dtype), still((3, 2, 4), channels=1))[1], label[3:15, 2:12, 4:12])


def test_any_layout_gives_the_same_patch():
    image, label = volume()
    channels_first = image.permute(3, 0, 1, 2).float().contiguous().permute(1, 2, 3, 0)
    draw = still((-2, 2, 4), flip=(True, True, False))
    torch.testing.assert_close(patch(channels_first, label, draw)[0], patch(image, label, draw)[0])


def test_patches_stay_inside_where_they_fit_and_are_centred_where_not():
    recipe = PatchRecipe(SIZE, tumour_crops=0.0)
    rng = np.random.default_rng(0)
    starts = np.array([recipe.draw(rng, (20, 10, 5), 1, {}).start for _ in range(400)])
    assert set(starts[:, 0]) == set(range(9))
    assert set(starts[:, 1]) == {0} and set(starts[:, 2]) == {-1}


def test_every_class_is_centred_on_as_often():
    label = np.zeros((40, 40, 40), np.uint8)
    label[10:30, 10:30, 10:30] = 1
    label[18:24, 18:24, 18:24] = 2
    label[20, 20, 20] = 3
    locations = locate_classes(label)
    recipe = PatchRecipe((4, 4, 4), tumour_crops=1.0)
    rng = np.random.default_rng(0)
    centres = [tuple(np.array(recipe.draw(rng, label.shape, 1, locations).start) + 2) for _ in range(3000)]
    counts = np.bincount([label[centre] for centre in centres], minlength=4)
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:] / 3000, 1 / 3, atol=0.04)


def test_tumour_crops_is_their_share():
    locations = {1: np.array([[35, 35, 35]])}
    recipe = PatchRecipe((4, 4, 4), tumour_crops=0.25)
    rng = np.random.default_rng(0)
    on_tumour = np.mean([recipe.draw(rng, (40, 40, 40), 1, locations).start == (33, 33, 33) for _ in range(4000)])
    assert abs(on_tumour - 0.25) < 0.03


def test_locations_are_all_of_a_small_class_and_steps_of_a_large_one():
    label = np.zeros((20, 20, 20), np.uint8)
    label[5:15, 5:15, 5:15] = 4
    label[3, 4, 5] = 1
    locations = locate_classes(label, most=100)
    assert locations[1].tolist() == [[3, 4, 5]]
    assert len(locations[4]) == 100 and (label[tuple(locations[4].T)] == 4).all()
    assert locate_classes(np.zeros((3, 3, 3), np.uint8)) == {}


def case(seed=0):
    image, label = volume(seed=seed)
    affine = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0]))
    return {
        "image": MetaTensor(image.permute(3, 0, 1, 2).float().contiguous(), affine=affine),
        "label": MetaTensor(label[None], affine=affine),
        "case": "A",
    }


def test_the_transform_gives_what_the_recipe_draws():
    transform = RandPatchd(num_samples=3, patch_size=list(SIZE), tumour_crops=0.5)
    transform.set_random_state(seed=5)
    patches = transform(LocateTumourd()(case()))
    assert len(patches) == 3
    for item in patches:
        assert item["image"].shape == (4, *SIZE) and item["image"].dtype == torch.float32
        assert item["label"].shape == (1, *SIZE) and item["label"].dtype == torch.uint8
        assert item["case"] == "A" and "locations" not in item
    transform.set_random_state(seed=5)
    for first, again in zip(patches, transform(case()), strict=True):
        assert torch.equal(first["image"], again["image"])
    assert not torch.equal(patches[0]["image"], patches[1]["image"])


def test_a_caching_data_set_keeps_the_locations_and_draws_anew():
    assert isinstance(RandPatchd(patch_size=SIZE), RandomizableTrait)
    cached = CacheDataset([case()], [LocateTumourd(), RandPatchd(patch_size=SIZE)], progress=False)
    assert "locations" in cached._cache[0]
    assert not torch.equal(cached[0][0]["image"], cached[0][0]["image"])


@pytest.mark.parametrize(
    ("knob", "named"),
    [
        ({"tumour_crops": 1.5}, "tumour_crops"),
        ({"scale_range": (0, 1)}, "scale_range"),
        ({"patch_size": (0, 4, 4)}, "patch"),
    ],
)
def test_a_recipe_outside_of_its_range_is_refused(knob, named):
    with pytest.raises(InputError, match=named):
        PatchRecipe(**({"patch_size": SIZE} | knob))


def test_without_a_compiler_pytorch_does_the_work(monkeypatch):
    compiled.library.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("BRATS_CACHE_DIR", "/nonexistent")
    try:
        assert compiled.library("patches") is None
        image, label = volume()
        assert torch.equal(patch(image, label, still((3, 2, 4)))[0], image[3:15, 2:12, 4:12].float())
    finally:
        compiled.library.cache_clear()
