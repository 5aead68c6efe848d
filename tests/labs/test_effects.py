"""What the panel does to a slice is what MONAI's transforms do to its volume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import AdjustContrast, Affine, RandGaussianNoise, ScaleIntensity, ShiftIntensity
from scripts.errors import InputError

from labs.labkit.effects import Effects, change_intensity, move

RNG = np.random.default_rng(3)
VOLUME = RNG.normal(size=(1, 20, 24, 16)).astype(np.float32)
RANGE = (float(VOLUME.min()), float(VOLUME.max()))
SLICE = VOLUME[0, :, :, 5]
IDS = RNG.integers(0, 4, SLICE.shape).astype(np.uint8)


def of_volume(transform) -> np.ndarray:
    """The slice out of the whole volume after a MONAI transform."""
    return np.asarray(transform(torch.from_numpy(VOLUME)))[0, :, :, 5]


def test_nothing_changes_unless_asked() -> None:
    moved, ids = move(SLICE, IDS, Effects())
    assert np.array_equal(moved, SLICE) and np.array_equal(ids, IDS)
    assert np.array_equal(change_intensity(SLICE, Effects(), RANGE), SLICE)


@pytest.mark.parametrize(
    ("effects", "transform"),
    [
        (Effects(gain=0.3), ScaleIntensity(minv=None, maxv=None, factor=0.3)),
        (Effects(shift=-0.7), ShiftIntensity(offset=-0.7)),
        (Effects(gamma=0.5), AdjustContrast(gamma=0.5)),
        (Effects(gamma=2.2), AdjustContrast(gamma=2.2)),
    ],
    ids=["gain", "shift", "gamma below 1", "gamma above 1"],
)
def test_intensity_is_monais_of_the_whole_volume(effects: Effects, transform) -> None:
    changed = change_intensity(SLICE, effects, RANGE)
    assert np.allclose(changed, of_volume(transform), atol=1e-5)
    assert not np.allclose(changed, SLICE, atol=1e-2)


def test_gain_shift_and_gamma_follow_one_another() -> None:
    volume = ShiftIntensity(offset=0.4)(ScaleIntensity(minv=None, maxv=None, factor=-0.2)(torch.from_numpy(VOLUME)))
    wanted = np.asarray(AdjustContrast(gamma=1.7)(volume))[0, :, :, 5]
    assert np.allclose(change_intensity(SLICE, Effects(gain=-0.2, shift=0.4, gamma=1.7), RANGE), wanted, atol=1e-5)


def test_noise_is_monais_of_that_seed() -> None:
    noisy = change_intensity(SLICE, Effects(noise=0.5, seed=4), RANGE)
    wanted = RandGaussianNoise(prob=1.0, std=0.5, sample_std=False).set_random_state(seed=4)(
        torch.from_numpy(SLICE)[None]
    )
    assert np.allclose(noisy, np.asarray(wanted)[0])
    assert np.array_equal(noisy, change_intensity(SLICE, Effects(noise=0.5, seed=4), RANGE))
    assert not np.allclose(noisy, change_intensity(SLICE, Effects(noise=0.5, seed=5), RANGE))


@pytest.mark.parametrize(("degrees", "magnification"), [(20.0, 1.0), (0.0, 1.3), (-33.0, 0.8)])
def test_rotation_and_magnification_are_monais(degrees: float, magnification: float) -> None:
    scale = (1 / magnification,) * 2
    affine = Affine(np.deg2rad(degrees), scale_params=scale, padding_mode="zeros", image_only=True)
    moved, ids = move(SLICE, IDS, Effects(degrees=degrees, magnification=magnification))
    assert np.allclose(moved, np.asarray(affine(torch.from_numpy(SLICE)[None], mode="bilinear"))[0], atol=1e-4)
    nearest = np.asarray(affine(torch.from_numpy(IDS)[None].float(), mode="nearest"))[0]
    # A voxel exactly between two may fall either way.
    assert (ids == nearest).mean() > 0.98


def test_magnification_above_one_enlarges() -> None:
    square = np.zeros((21, 21), np.uint8)
    square[8:13, 8:13] = 1
    _, larger = move(square.astype(np.float32), square, Effects(magnification=1.4))
    assert larger.sum() == pytest.approx(25 * 1.4**2, rel=0.1)


def test_millimetres_turn_on_oblong_voxels() -> None:
    """On voxels of 1 by 2 mm a disc stays a disc; voxels turned instead would make a tilted ellipse of it."""
    rows, columns = np.mgrid[-80:81, -40:41]
    disc = (rows**2 + (2 * columns) ** 2 <= 60**2).astype(np.uint8)
    _, turned = move(disc.astype(np.float32), disc, Effects(degrees=45), steps_mm=(1.0, 2.0))
    assert (turned != disc).sum() <= 0.05 * disc.sum()
    _, sheared = move(disc.astype(np.float32), disc, Effects(degrees=45))
    assert (sheared != disc).sum() > 0.3 * disc.sum()


def test_flip_mirrors_columns_of_image_and_ids() -> None:
    moved, ids = move(SLICE, IDS, Effects(flip=True))
    assert np.array_equal(moved, SLICE[:, ::-1]) and np.array_equal(ids, IDS[:, ::-1])


@pytest.mark.parametrize("wrong", [{"gamma": 0.0}, {"magnification": -1.0}, {"noise": -0.1}])
def test_an_impossible_setting_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Effects(**wrong)
