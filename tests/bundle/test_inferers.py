"""Inference on the brain's box: what is computed, what it equals, and what it says of the rest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import Compose, Invertd, LoadImaged, Orientationd, Spacingd
from scripts.boxes import grown, largest_window, nonzero_box, one_pass_sides
from scripts.errors import InputError
from scripts.inferers import OUTSIDE_LOGIT, BrainBoxInferer, flip_mean
from tiny import AFFINE, make_case, save
from workflow import BUNDLE

PATCH = (16, 16, 16)
EVERYWHERE = slice(None)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """A UNet of total stride 4 with instance normalisation: its output depends on all that it is shown."""
    torch.manual_seed(0)
    return UNet(3, 2, 3, (4, 8, 16), (2, 2), num_res_units=1).eval().requires_grad_(False)


def brain(shape: tuple[int, int, int], *starts_and_stops: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """A two-channel image (2, H, W, D) that is 0 outside a box, and inside of it seldom."""
    image = torch.zeros(2, *shape)
    box = tuple(slice(*side) for side in starts_and_stops)
    inside = image[(EVERYWHERE, *box)]
    inside.copy_(torch.randn(inside.shape, generator=torch.Generator().manual_seed(seed)))
    return image


def test_box_holds_every_voxel_that_any_channel_has() -> None:
    image = torch.zeros(3, 7, 8, 9)
    image[0, 2, 3, 8] = -1.0
    image[2, 5, 1, 4] = 1e-30
    assert nonzero_box(image) == (slice(2, 6), slice(1, 4), slice(4, 9))
    assert nonzero_box(torch.zeros(3, 7, 8, 9)) is None


def test_sides_of_one_pass_are_those_of_the_patch_or_multiples_of_the_stride() -> None:
    assert one_pass_sides((10, 17, 32), (16, 16, 16), 4) == (16, 20, 32)
    # The network is known to take the patch, whatever its size.
    assert one_pass_sides((100, 150, 153), (120, 120, 152), 16) == (120, 160, 160)


def test_grown_box_stays_in_the_volume_and_holds_the_old_one() -> None:
    assert grown((slice(4, 8), slice(0, 4), slice(9, 12)), (20, 20, 12), (8, 8, 8)) == (
        slice(2, 10), slice(0, 8), slice(4, 12),
    )  # fmt: skip
    assert grown((slice(2, 5),), (6,), (16,)) == (slice(0, 6),)


@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_windows_are_as_few_as_the_limit_allows(overlap: float) -> None:
    sides, patch, limit = (48, 64, 32), (16, 16, 16), 32 * 32 * 32

    def count(window: tuple[int, ...]) -> int:
        return math.prod(
            math.ceil((side - w) / int(w * (1 - overlap))) + 1 for side, w in zip(sides, window, strict=True)
        )

    window = largest_window(sides, patch, 16, limit, overlap)
    assert math.prod(window) <= limit
    choices = itertools.product(*(range(16, side + 1, 16) for side in sides))
    assert count(window) == min(count(choice) for choice in choices if math.prod(choice) <= limit)
    # The whole box where it fits, the patch where nothing larger does.
    assert largest_window(sides, patch, 16, 10**9, overlap) == sides
    assert largest_window(sides, patch, 16, 16**3, overlap) == patch


def test_one_pass_is_the_plain_network_on_the_padded_box(network: torch.nn.Module) -> None:
    image = brain((40, 36, 30), (5, 27), (9, 20), (8, 30))
    logits = BrainBoxInferer(PATCH, one_pass_ratio=4, size_multiple=4)(image[None], network)
    # 22 x 11 x 22 grow to 24 x 16 x 24: within the volume, as far as it reaches.
    plain = network(image[None, :, 4:28, 7:23, 6:30])
    torch.testing.assert_close(logits[..., 5:27, 9:20, 8:30], plain[..., 1:23, 2:13, 2:24])
    outside = torch.ones_like(logits, dtype=torch.bool)
    outside[..., 5:27, 9:20, 8:30] = False
    assert (logits[outside] == OUTSIDE_LOGIT).all() and logits[outside].sigmoid().max() < 1e-8


def test_a_box_at_the_edge_of_its_volume_is_padded_with_zeros(network: torch.nn.Module) -> None:
    image = brain((20, 12, 18), (0, 18), (0, 12), (0, 18))
    logits = BrainBoxInferer(PATCH, one_pass_ratio=4, size_multiple=4)(image[None], network)
    padded = torch.nn.functional.pad(image[None], (1, 1, 2, 2))
    torch.testing.assert_close(logits[..., :18, :, :], network(padded)[..., :18, 2:14, 1:19])


@pytest.mark.parametrize("ratio", [1.0, 2.5])
def test_a_large_box_takes_monais_windows(network: torch.nn.Module, ratio: float) -> None:
    image = brain((50, 60, 40), (3, 43), (5, 55), (2, 36))
    logits = BrainBoxInferer(PATCH, one_pass_ratio=ratio, size_multiple=4, overlap=0.5)(image[None], network)
    window = largest_window((40, 52, 36), PATCH, 4, int(ratio * 16**3), 0.5)
    assert window == PATCH if ratio == 1 else math.prod(window) > 1.5 * 16**3
    box = image[None, :, 3:43, 5:55, 2:36]
    expected = SlidingWindowInferer(window, sw_batch_size=2, overlap=0.5, mode="gaussian")(box, network)
    torch.testing.assert_close(logits[..., 3:43, 5:55, 2:36], expected)


def test_sliding_window_is_monais_over_the_volume(network: torch.nn.Module) -> None:
    image = brain((40, 36, 30), (5, 27), (9, 20), (8, 30))[None]
    expected = SlidingWindowInferer(PATCH, sw_batch_size=2, overlap=0.25, mode="gaussian")(image, network)
    assert torch.equal(BrainBoxInferer(PATCH, mode="sliding_window")(image, network), expected)


def test_a_brain_that_fills_a_volume_of_the_patchs_size_is_the_sliding_windows_case(network: torch.nn.Module) -> None:
    image = brain((14, 16, 11), (0, 14), (0, 16), (0, 11))[None]
    by_box, by_window = (BrainBoxInferer(PATCH, mode)(image, network) for mode in ("brain_box", "sliding_window"))
    torch.testing.assert_close(by_box, by_window)


def test_each_case_of_a_batch_has_its_own_box(network: torch.nn.Module) -> None:
    first = brain((30, 30, 30), (0, 10), (4, 22), (20, 30))
    second = brain((30, 30, 30), (9, 30), (9, 29), (1, 17), seed=1)
    blank = torch.zeros_like(first)
    inferer = BrainBoxInferer(PATCH, one_pass_ratio=2.5, size_multiple=4)
    logits = inferer(torch.stack([first, blank, second]), network)
    torch.testing.assert_close(logits[0], inferer(first[None], network)[0])
    torch.testing.assert_close(logits[2], inferer(second[None], network)[0])
    assert (logits[1] == OUTSIDE_LOGIT).all()


def test_blank_image_has_no_tumour(network: torch.nn.Module) -> None:
    logits = BrainBoxInferer(PATCH)(torch.zeros(1, 2, 40, 9, 20), network)
    assert logits.shape == (1, 3, 40, 9, 20) and (logits == OUTSIDE_LOGIT).all()


def test_flips_are_averaged_each_flipped_back(network: torch.nn.Module) -> None:
    image = brain((16, 16, 16), (0, 16), (0, 16), (0, 16))[None]
    flips = [[], [2], [4], [2, 4]]
    expected = torch.stack([network(image.flip(flip)).flip(flip) for flip in flips]).mean(0)
    torch.testing.assert_close(BrainBoxInferer(PATCH, tta_axes=[2, 0])(image, network), expected)
    torch.testing.assert_close(BrainBoxInferer(PATCH, "sliding_window", tta_axes=[0, 2])(image, network), expected)


def test_flips_change_nothing_for_a_network_that_commutes_with_them() -> None:
    image = torch.randn(2, 2, 6, 7, 8)
    calls = []

    def pointwise(shown: torch.Tensor) -> torch.Tensor:
        calls.append(shown)
        return shown.square()

    torch.testing.assert_close(flip_mean(image, pointwise, (0, 1, 2)), image.square())
    assert len(calls) == 8


def test_metadata_passes_through_so_that_the_way_back_to_the_file_is_known(
    tmp_path: Path, network: torch.nn.Module
) -> None:
    volume = make_case(0)[0][..., :2].astype("float32")
    chain = Compose([
        LoadImaged("image", ensure_channel_first=True),
        Orientationd("image", "RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        Spacingd("image", (3.0, 3.0, 3.0)),
    ])  # fmt: skip
    item = chain({"image": str(save(volume, tmp_path / "case.nii.gz"))})
    batch = list_data_collate([item])["image"]
    by_box, by_window = (
        BrainBoxInferer(PATCH, mode, one_pass_ratio=8, size_multiple=4)(batch, network)
        for mode in ("brain_box", "sliding_window")
    )
    assert isinstance(by_box, MetaTensor) and by_box.dtype == batch.dtype
    assert torch.equal(by_box.affine, by_window.affine) and by_box.meta.keys() == by_window.meta.keys()
    item["pred"] = decollate_batch(by_box)[0]
    native = Invertd("pred", chain, orig_keys="image", nearest_interp=False)(item)["pred"]
    assert native.shape == (3, *volume.shape[:3])
    assert torch.allclose(native.affine, torch.as_tensor(AFFINE, dtype=native.affine.dtype))


def test_low_precision_logits_come_in_the_images_type(network: torch.nn.Module) -> None:
    image = brain((20, 20, 20), (2, 18), (2, 18), (2, 18))[None]
    logits = BrainBoxInferer(PATCH)(image, lambda shown: network(shown).bfloat16())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, BrainBoxInferer(PATCH)(image, network), rtol=0.01, atol=0.01)


def test_network_is_compiled_once_and_used(network: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def compile_(module: torch.nn.Module, dynamic: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        assert not dynamic
        compiled.append(module)
        return lambda image: module(image) + 1

    monkeypatch.setattr(torch, "compile", compile_)
    image = brain((16, 16, 16), (0, 16), (0, 16), (0, 16))[None]
    inferer = BrainBoxInferer(PATCH, compile=True)
    for _ in range(2):
        torch.testing.assert_close(inferer(image, network), network(image) + 1)
    assert compiled == [network]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mode": "whole"}, "inference_mode 'whole' is unknown; choose brain_box or sliding_window"),
        ({"one_pass_ratio": 0.5}, "one_pass_ratio 0.5 is below 1"),
        ({"tta_axes": [0, 3]}, "tta_axes [0, 3] are no spatial axes"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        BrainBoxInferer(PATCH, **arguments)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("configs", "section"), [(["train.json"], "validate::inferer"), (["inference.json"], "inferer")]
)
def test_knobs_reach_the_inferer(configs: list[str], section: str, tmp_path: Path) -> None:
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / config) for config in [*configs, "network/swinunetr.json"]])
    parser.update({
        "bundle_root": str(BUNDLE), "ckpt_dir": str(tmp_path), "inference_mode": "sliding_window",
        "one_pass_ratio": 2.0, "window_overlap": 0.5, "tta_axes": [0],
    })  # fmt: skip
    inferer = parser.get_parsed_content(section)
    assert (inferer.mode, inferer.one_pass_voxels, inferer.overlap) == ("sliding_window", 2 * 64**3, 0.5)
    assert inferer.tta_axes == (0,) and not inferer.compile
    # Before any training inference.json takes the shipped recipe's; a training with this network has 32 in its own.
    assert inferer.size_multiple == (32 if configs == ["train.json"] else 16)
