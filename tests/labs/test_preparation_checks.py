"""Lab 01's exercises: each check hints on nothing and on each wrong answer, and passes the right one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import RandFlip, RandFlipd

from labs.labkit.checks import NotYet
from labs.labkit.preparation_checks import DETERMINISTIC, RANDOM, check_flip, check_order, check_resize_modes

BOTH = ("image", "label")
RIGHT_ORDER = [*DETERMINISTIC, *RANDOM]


def data() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 4, (1, 6, 7, 8)).repeat(4, 1).repeat(4, 2).repeat(4, 3)
    return {"image": torch.randn(2, *ids.shape[1:]), "label": torch.from_numpy(ids.astype(np.uint8))}


@pytest.mark.parametrize(
    ("flip", "clue"),
    [
        (..., "no answer yet"),
        (RandFlip(prob=0.5), "ends in a d"),
        (RandFlipd(keys="image", prob=0.5, spatial_axis=0), "came apart"),
        (RandFlipd(keys=BOTH, prob=0.0), "never flips"),
        (RandFlipd(keys=BOTH, prob=1.0, spatial_axis=0), "every time"),
    ],
    ids=["unanswered", "array form", "one key", "never", "always"],
)
def test_flip_hints(flip, clue: str) -> None:
    with pytest.raises(NotYet, match=clue):
        check_flip(flip)


def test_flip_passes(capsys: pytest.CaptureFixture[str]) -> None:
    check_flip(RandFlipd(keys=BOTH, prob=0.5, spatial_axis=0))
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("modes", "clue"),
    [
        (..., "no answer yet"),
        ("nearest", "two modes"),
        (("area", "area"), "no tissue has"),
        (("trilinear", "trilinear"), "no tissue has"),
        (("nearest", "nearest"), "the image may be interpolated"),
        (("area", "wrong"), "no such mode"),
    ],
    ids=str,
)
def test_resize_modes_hint(modes, clue: str) -> None:
    with pytest.raises(NotYet, match=clue):
        check_resize_modes(modes, data())


@pytest.mark.parametrize("modes", [("area", "nearest"), ["trilinear", "nearest-exact"]])
def test_resize_modes_pass(modes, capsys: pytest.CaptureFixture[str]) -> None:
    check_resize_modes(modes, data())
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("order", "clue"),
    [
        (..., "no answer yet"),
        (RIGHT_ORDER[:-1], "once"),
        (["orient", "load", *RIGHT_ORDER[2:-1], "orient"], "once"),
        ([RIGHT_ORDER[1], "load", *RIGHT_ORDER[2:]], "no voxels yet"),
        ([*DETERMINISTIC[:-1], RANDOM[0], "normalise", *RANDOM[1:]], "random piece"),
        (["load", "normalise", RANDOM[0], *DETERMINISTIC[1:-1], *RANDOM[1:]], "cache ends"),
    ],
    ids=["unanswered", "one missing", "one twice", "load late", "normalise late", "resample late"],
)
def test_order_hints(order, clue: str) -> None:
    with pytest.raises(NotYet, match=clue):
        check_order(order)


@pytest.mark.parametrize("order", [RIGHT_ORDER, [*DETERMINISTIC, *reversed(RANDOM)]])
def test_order_passes(order: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    check_order(order)
    assert "Right" in capsys.readouterr().out
