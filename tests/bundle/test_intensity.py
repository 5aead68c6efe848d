"""Changes of a patch's intensities: what is drawn, and that each effect is its formula, in C as in PyTorch."""

from __future__ import annotations

import itertools
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import AdjustContrast, Resize
from scipy.ndimage import gaussian_filter1d
from scripts import compiled, intensity, intensity_compiled, intensity_torch
from scripts.errors import InputError
from scripts.intensity_draw import SWITCHES, Intensity, IntensityRecipe, about_one
from scripts.patches import PatchRecipe
from tiny import TINY
from workflow import BUNDLE, run

SIZE = (13, 10, 8)
ALL = dict.fromkeys(SWITCHES, 1.0)
RANGES = [field.name for field in fields(PatchRecipe) if field.name.endswith("_range")]
NNUNET = dict(zip(SWITCHES, (0.1, 0.2, 0.15, 0.15, 0.25, 0.1, 0.3), strict=False))


def neutral(channels: int = 4, **changes) -> Intensity:
    ones = np.ones(channels)
    nothing = Intensity(0.0, 0, np.zeros((channels, 3)), ones, ones, ones, ones, ones, np.zeros(channels, bool))
    return replace(nothing, **{key: np.array(v) if isinstance(v, list) else v for key, v in changes.items()})


def patch(size: tuple[int, int, int] = SIZE, channels: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0.2, 1, (*size, channels)).astype(np.float32))


def changed(before: torch.Tensor, drawn: Intensity, blank: float = 99.0) -> torch.Tensor:
    """``blank`` is a value that no voxel has, where it is not given."""
    after = before.clone()
    intensity.change(after, drawn, np.full(before.shape[3], blank))
    return after


@pytest.fixture(params=["compiled", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every effect is tested in both languages."""
    if request.param == "torch":
        monkeypatch.setattr(intensity_compiled, "fits", lambda patch: False)
    elif compiled.library("intensity") is None:
        pytest.skip("no C compiler here")
    return request.param


def test_noise_is_normal_and_made_of_its_seed_alone(way: str) -> None:
    before = patch((40, 40, 41))
    noise = noise_of(before, seed=2**63 + 5)
    flat = noise.view(-1, 4)
    assert flat.mean(0).abs().max() < 0.02 and (flat.std(0) - 1).abs().max() < 0.02
    assert abs((flat**3).mean()) < 0.03 and abs((flat**4).mean() - 3) < 0.06
    # Neither channels nor neighbours know of one another.
    assert np.abs(np.corrcoef(flat.T) - np.eye(4)).max() < 0.02
    assert np.abs(np.corrcoef(flat[1:, 0], flat[:-1, 0])[0, 1]) < 0.02
    assert torch.equal(noise_of(before, seed=2**63 + 5), noise)
    assert np.abs(np.corrcoef(noise_of(before, seed=2**63 + 6).flatten(), noise.flatten())[0, 1]) < 0.02


def noise_of(before: torch.Tensor, seed: int) -> torch.Tensor:
    return (changed(before, neutral(noise_std=0.1, noise_seed=seed)) - before).double() / 0.1


def test_the_generator_gives_its_known_answers() -> None:
    # Of the reference implementation, https://prng.di.unimi.it/splitmix64.c, from the state 1234567.
    found = intensity_torch.splitmix64(1234567, 3, torch.device("cpu")).tolist()
    assert [number % 2**64 for number in found] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_blur_is_scipys_gaussian_of_each_channel_and_axis(way: str) -> None:
    before = patch()
    sigma = np.random.default_rng(1).uniform(0.5, 1, (4, 3))
    sigma[2] = 0
    after = changed(before, neutral(blur_sigma=sigma)).numpy()
    for channel in (0, 1, 3):
        wanted = before[..., channel].double().numpy()
        for axis, value in enumerate(sigma[channel]):
            # batchgeneratorsv2's kernel: the odd number of taps nearest to 6 sigma + 0.5.
            radius = min((1, 2, 3), key=lambda r: abs(2 * r + 1 - (6 * value + 0.5)))
            wanted = gaussian_filter1d(wanted, value, axis, mode="mirror", radius=radius)
        np.testing.assert_allclose(after[..., channel], wanted, atol=1e-6)
    assert np.array_equal(after[..., 2], before[..., 2])


@pytest.mark.parametrize(("sigma", "taps"), [(0.5, 3), (0.6, 5), (0.75, 5), (0.9, 5), (1.0, 7), (5.0, 31)])
def test_a_kernel_has_as_many_taps_as_batchgeneratorsv2s(sigma: float, taps: int) -> None:
    weights = intensity.blur_weights(np.full((1, 3), sigma))
    assert weights.shape == (3, taps // 2 + 1, 1)
    np.testing.assert_allclose(2 * weights.sum(1) - weights[:, 0], 1)


def test_a_blur_wider_than_the_patch_is_mirrored_to_and_fro(way: str) -> None:
    before = patch((3, 1, 2), channels=1)
    wanted = before[..., 0].double().numpy()
    for axis in range(3):
        wanted = gaussian_filter1d(wanted, 4.0, axis, mode="mirror", radius=12)
    after = changed(before, neutral(1, blur_sigma=np.full((1, 3), 4.0)))
    np.testing.assert_allclose(after[..., 0], wanted, atol=1e-6)


def test_brightness_multiplies(way: str) -> None:
    factors = [0.75, 1.0, 1.1, 1.25]
    after = changed(patch(), neutral(brightness=factors))
    torch.testing.assert_close(after, patch() * torch.tensor(factors))


def test_contrast_spreads_about_the_mean_within_the_range(way: str) -> None:
    factors, x = np.array([0.75, 1.0, 1.1, 1.25]), patch().double().numpy()
    after = changed(patch(), neutral(contrast=factors)).numpy()
    mean, low, high = (f(x, axis=(0, 1, 2)) for f in (np.mean, np.min, np.max))
    np.testing.assert_allclose(after, np.clip(mean + factors * (x - mean), low, high), atol=1e-6)
    assert (after == high.astype(np.float32)).sum() > 1


def test_low_resolution_is_nearest_down_and_linear_up(way: str) -> None:
    shares = [0.5, 0.63, 1.0, 0.8]
    after = changed(patch(), neutral(resolution=shares))
    for channel, share in enumerate(shares):
        size = [round(n * share) for n in SIZE]
        small = Resize(size, mode="nearest-exact")(patch()[..., channel][None])
        wanted = Resize(SIZE, mode="trilinear", align_corners=False)(small).as_tensor()[0]
        torch.testing.assert_close(after[..., channel], wanted, atol=1e-6, rtol=0)


def test_a_patch_of_one_voxel_has_no_lower_resolution(way: str) -> None:
    before = patch((1, 1, 1))
    assert torch.equal(changed(before, neutral(resolution=[0.3] * 4)), before)


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_is_monais_with_mean_and_deviation_kept(way: str, inverted: bool) -> None:
    exponents = [0.7, 0.9, 1.2, 1.5]
    after = changed(patch(), neutral(**{"inverted_gamma" if inverted else "gamma": exponents}))
    for channel, exponent in enumerate(exponents):
        theirs = AdjustContrast(exponent, invert_image=inverted, retain_stats=True)(patch()[..., channel])
        torch.testing.assert_close(after[..., channel], theirs.as_tensor(), atol=1e-4, rtol=0)
    torch.testing.assert_close(after.std((0, 1, 2)), patch().std((0, 1, 2)), atol=1e-5, rtol=0)


def test_a_constant_channel_stays_finite(way: str) -> None:
    before = patch()
    before[..., 1] = 0.7
    after = changed(before, neutral(contrast=[1.2] * 4, inverted_gamma=[1.4] * 4, gamma=[0.7] * 4))
    torch.testing.assert_close(after[..., 1], before[..., 1])
    assert torch.isfinite(after).all()


@pytest.mark.parametrize(("side", "brain"), [(64, 1), (64, 2), (64, 5), (64, 20), (64, 100), (96, 2), (128, 5)])
def test_gamma_is_its_formula_in_a_patch_that_is_nearly_blank(way: str, side: int, brain: int) -> None:
    """A blank of one value is most of the sums here: what rounding does to it, it does to every voxel alike."""
    rng = np.random.default_rng(brain)
    before = torch.full((side**3, 2), 0.06)
    before[torch.from_numpy(rng.choice(side**3, brain, replace=False))] = patch((brain, 1, 1), 2).view(brain, 2)
    exponents = np.array([0.7, 1.3])
    for sign, name in ((1, "gamma"), (-1, "inverted_gamma")):
        after = changed(before.view(side, side, side, 2), neutral(2, **{name: exponents})).view(-1, 2).numpy()
        x = sign * before.double().numpy()
        y = ((x - x.min(0)) / (x.max(0) - x.min(0))) ** exponents
        wanted = sign * (x.mean(0) + x.std(0, ddof=1) * (y - y.mean(0)) / y.std(0, ddof=1))
        np.testing.assert_allclose(after, wanted, atol=1e-4)


def test_blank_voxels_keep_what_they_have_and_the_others_change(way: str) -> None:
    before = patch()
    before[:4] = 0.25
    # Blank is where all channels are; a voxel at which one is 0 by chance belongs to the brain.
    before[6, 5, 4, 2] = 0.25
    recipe = IntensityRecipe(**(ALL | {"modality_dropout_prob": 0.0}))
    for seed in range(5):
        after = changed(before, recipe.draw_intensity(np.random.default_rng(seed), 4), blank=0.25)
        assert (after[:4] == 0.25).all()
        assert (after[4:] != before[4:]).all()


def test_statistics_are_those_of_the_whole_patch(way: str) -> None:
    """As in nnU-Net, which augments the blank as well and sets it to 0 again."""
    before = patch() + 3
    before[:4] = 0
    after = changed(before, neutral(contrast=[1.2] * 4), blank=0.0)
    mean = before.mean((0, 1, 2))
    low, high = before.amin((0, 1, 2)), before.amax((0, 1, 2))
    torch.testing.assert_close(after[4:], (mean + 1.2 * (before[4:] - mean)).clamp(low, high))


def test_a_dropped_channel_is_a_missing_modality(way: str) -> None:
    """0 everywhere, blank included, as :func:`scripts.transforms.normalize_brain` makes a constant one."""
    before = patch()
    before[:4] = 0.25
    after = changed(before, neutral(dropped=[False, True, False, True], noise_std=0.1), blank=0.25)
    assert (after[..., [1, 3]] == 0).all()
    assert (after[:4, ..., [0, 2]] == 0.25).all()


@pytest.mark.parametrize("channels", [1, 3, 4, 16])
def test_the_kernel_and_pytorch_agree(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled.library("intensity") is None:
        pytest.skip("no C compiler here")
    recipe = IntensityRecipe(**(ALL | {"modality_dropout_prob": 0.0}))
    rng = np.random.default_rng(channels)
    for trial in range(12):
        before = patch(tuple(rng.integers(2, 24, 3)), channels, seed=trial)
        drawn = recipe.draw_intensity(rng, channels)
        rng.random()
        ours = changed(before, drawn)
        with monkeypatch.context() as other:
            other.setattr(intensity_compiled, "fits", lambda patch: False)
            # A gamma curve is steep at a channel's lowest value.
            torch.testing.assert_close(ours, changed(before, drawn), atol=1e-3, rtol=1e-3)


def test_what_the_kernel_cannot_take_is_left_to_pytorch() -> None:
    assert not intensity_compiled.fits(patch(channels=17))
    assert not intensity_compiled.fits(patch().double())
    assert not intensity_compiled.fits(patch().permute(2, 1, 0, 3))
    after = changed(patch(channels=17), neutral(17, brightness=[2.0] * 17))
    torch.testing.assert_close(after, 2 * patch(channels=17))


def test_each_probability_is_its_own() -> None:
    rng, count = np.random.default_rng(0), 4000
    draws = [
        IntensityRecipe(**NNUNET).draw_intensity(np.random.default_rng(rng.integers(2**63)), 4) for _ in range(count)
    ]
    made = [drawn for drawn in draws if drawn is not None]
    shares = {
        "noise_prob": np.mean([drawn.noise_std > 0 for drawn in made]),
        # Half of the channels each: none of four, once in sixteen times.
        "blur_prob": np.mean([drawn.blur_sigma.any() for drawn in made]) * 16 / 15,
        "brightness_prob": np.mean([(drawn.brightness != 1).all() for drawn in made]),
        "contrast_prob": np.mean([(drawn.contrast != 1).all() for drawn in made]),
        "low_resolution_prob": np.mean([(drawn.resolution != 1).any() for drawn in made]) * 16 / 15,
        "inverted_gamma_prob": np.mean([(drawn.inverted_gamma != 1).all() for drawn in made]),
        "gamma_prob": np.mean([(drawn.gamma != 1).all() for drawn in made]),
    }
    for name, share in shares.items():
        assert abs(share * len(made) / count - NNUNET[name]) < 0.025, name
    assert not any(drawn.dropped.any() for drawn in made)


def test_draws_stay_in_their_ranges() -> None:
    recipe, rng = IntensityRecipe(**ALL), np.random.default_rng(0)
    draws = [recipe.draw_intensity(np.random.default_rng(rng.integers(2**63)), 4) for _ in range(2000)]
    inside = {
        "noise_std": recipe.noise_range,
        "brightness": recipe.brightness_range,
        "contrast": recipe.contrast_range,
        "inverted_gamma": recipe.gamma_range,
        "gamma": recipe.gamma_range,
    }
    for name, (low, high) in inside.items():
        values = np.concatenate([np.ravel(getattr(drawn, name)) for drawn in draws])
        assert low <= values.min() < low + 0.02 and high - 0.02 < values.max() <= high, name
        if name != "noise_std":
            # Half of them below 1, each half uniform.
            assert abs((values < 1).mean() - 0.5) < 0.02, name
            np.testing.assert_allclose(values.mean(), 0.5 * (low + 1) / 2 + 0.5 * (1 + high) / 2, atol=0.01)
    sigma = np.concatenate([drawn.blur_sigma[drawn.blur_sigma.any(1)] for drawn in draws])
    assert 0.5 <= sigma.min() < 0.51 and 0.99 < sigma.max() <= 1 and abs(len(sigma) / 8000 - 0.5) < 0.02
    shares = np.concatenate([drawn.resolution for drawn in draws])
    assert shares.min() >= 0.5 and abs((shares != 1).mean() - 0.5) < 0.02
    assert len({drawn.noise_seed for drawn in draws}) == 2000


def test_a_range_may_lie_on_one_side_of_1() -> None:
    rng = np.random.default_rng(0)
    assert about_one(rng, [(1.0, 1.5)], 1000).min() >= 1
    assert about_one(rng, [(0.7, 1.0)], 1000).max() <= 1


@pytest.mark.parametrize(("channels", "most"), [(2, 1), (4, 1), (4, 3)])
def test_dropout_leaves_a_channel_and_favours_none(channels: int, most: int) -> None:
    recipe, rng = IntensityRecipe(modality_dropout_prob=0.5, modality_dropout_most=most), np.random.default_rng(0)
    draws = [recipe.draw_intensity(np.random.default_rng(rng.integers(2**63)), channels) for _ in range(2000)]
    made = np.stack([drawn.dropped for drawn in draws if drawn is not None])
    assert abs(len(made) / 2000 - 0.5) < 0.03
    counts = np.bincount(made.sum(1), minlength=channels + 1)
    assert counts[0] == 0 and counts[most + 1 :].sum() == 0
    np.testing.assert_allclose(counts[1 : most + 1] / len(made), 1 / most, atol=0.04)
    np.testing.assert_allclose(made.mean(0), (1 + most) / 2 / channels, atol=0.05)


def test_all_probabilities_0_draw_nothing() -> None:
    assert IntensityRecipe().draw_intensity(np.random.default_rng(0), 4) is None
    assert PatchRecipe(SIZE).draw(np.random.default_rng(0), (20, 20, 20), 4, {}).intensity is None


def test_the_other_draws_do_not_know_of_these() -> None:
    """Patches stay where they lie when an effect is switched on, the later ones of a case too."""
    plain, full = PatchRecipe(SIZE, rotate_prob=0.5), PatchRecipe(SIZE, rotate_prob=0.5, **ALL)
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(5):
        ours, theirs = (recipe.draw(rng, (30, 30, 30), 4, {}) for recipe, rng in ((full, one), (plain, two)))
        assert (ours.start, ours.flip) == (theirs.start, theirs.flip)
        assert np.array_equal(ours.gain, theirs.gain) and np.array_equal(ours.offset, theirs.offset)
        assert (ours.matrix is None) == (theirs.matrix is None)
        assert ours.intensity is not None and theirs.intensity is None


def test_the_draws_of_an_earlier_version_are_the_same() -> None:
    """Recorded before there were changes of intensity: a training repeated by its seed sees the same patches."""
    rng = np.random.default_rng(5)
    recipe = PatchRecipe((12, 10, 8), tumour_crops=0.0, rotate_prob=0.5, scale_prob=0.5)
    draws = [recipe.draw(rng, (20, 18, 14), 4, {}) for _ in range(3)]
    assert [draw.start for draw in draws] == [(6, 7, 0), (7, 5, 0), (1, 2, 0)]
    assert [draw.flip for draw in draws] == [(False, True, True), (False, True, False), (False, True, False)]
    offsets = [0.06420059610960502, 0.09873129848916981, -0.06193213791866373]
    np.testing.assert_allclose([draw.offset.sum() for draw in draws], offsets, rtol=1e-12)


def test_an_effect_changes_what_it_names_alone() -> None:
    both = {
        name: IntensityRecipe(**(ALL | {name: 0.0})).draw_intensity(np.random.default_rng(1), 4) for name in SWITCHES
    }
    full = IntensityRecipe(**ALL).draw_intensity(np.random.default_rng(1), 4)
    for name, drawn in both.items():
        differs = [
            f.name for f in fields(Intensity) if not np.array_equal(getattr(full, f.name), getattr(drawn, f.name))
        ]
        assert len(differs) == 1, (name, differs)


def test_patches_of_a_case_differ() -> None:
    rng = np.random.default_rng(1)
    recipe = PatchRecipe(SIZE, **ALL)
    seeds = {recipe.draw(rng, (20, 20, 20), 4, {}).intensity.noise_seed for _ in range(50)}
    assert len(seeds) == 50


@pytest.mark.parametrize(
    ("knob", "named"),
    [
        *(({name: value}, name) for name, value in itertools.product((*SWITCHES, "channel_prob"), (-0.1, 1.5))),
        ({"noise_range": (-0.1, 0.1)}, "noise_range"),
        ({"blur_range": (1.0, 0.5)}, "blur_range"),
        ({"blur_range": (0.5, 9.0)}, "blur_range"),
        ({"brightness_range": (1.1, 1.2)}, "brightness_range"),
        ({"contrast_range": (0.0, 1.2)}, "contrast_range"),
        ({"gamma_range": (1.5, 0.7)}, "gamma_range"),
        ({"low_resolution_range": (0.5, 1.5)}, "low_resolution_range"),
        ({"modality_dropout_most": 0}, "modality_dropout_most"),
        ({"modality_dropout_most": 1.5}, "modality_dropout_most"),
        ({"modality_dropout_most": True}, "modality_dropout_most"),
        ({"noise_prob": "often"}, "noise_prob"),
        # No two numbers, or none that a draw or single precision can hold.
        *(
            ({name: value}, name)
            for name, value in itertools.product(
                RANGES, (0.1, (0.1,), (0.8, 1.0, 1.2), ("0.8", "1"), (0.8, np.nan), (0.8, np.inf), (0.8, 1e39))
            )
        ),
    ],
)
def test_a_knob_outside_of_its_range_is_refused(knob: dict, named: str) -> None:
    with pytest.raises(InputError, match=f"^{named} is .*[;,]"):
        PatchRecipe(SIZE, **knob)


def test_dropping_every_channel_is_refused() -> None:
    recipe = PatchRecipe(SIZE, modality_dropout_prob=0.1)
    with pytest.raises(InputError, match="at least one of the 1 channels must stay"):
        recipe.draw(np.random.default_rng(0), (20, 20, 20), 1, {})


@pytest.mark.parametrize("data", ["cache", "store"])
def test_a_training_with_everything_on_runs(tiny_decathlon: Path, tmp_path: Path, data: str) -> None:
    knobs = dict.fromkeys(SWITCHES, 0.9) | ({"store_dir": str(tmp_path / "store")} if data == "store" else {})
    configs = ("train.json", f"data/{data}.json", "recipe/augment.json")
    run(tmp_path, *configs, dataset_dir=str(tiny_decathlon), **knobs, **TINY)
    line = (tmp_path / "runs" / "run" / "metrics.jsonl").read_text().splitlines()[0]
    assert np.isfinite(json.loads(line)["train_loss"])


def test_the_override_turns_on_what_nnunet_does() -> None:
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / name) for name in ("train.json", "recipe/augment.json")])
    transforms = parser.get_parsed_content("random_transforms")
    recipe = transforms[1].recipe
    wanted = PatchRecipe((64, 64, 64), rotate_prob=0.2, scale_prob=0.2, gain=0.0, shift=0.0, **NNUNET)
    assert recipe == wanted


def test_train_json_alone_turns_on_nothing() -> None:
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "train.json"))
    assert parser.get_parsed_content("random_transforms")[1].recipe == PatchRecipe((64, 64, 64))
