"""The checks of lab 01's exercises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import RandFlipd, Resized

from .checks import answered, hint, require, right

# What the lab asks to put in order; the random steps are those of the second tuple.
DETERMINISTIC = ("load", "cut to the brain box", "orient", "resample", "normalise")
RANDOM = ("random crop", "random flip", "random gain and shift")
DRAWS = 24
SMALL = (16, 16, 16)


def check_flip(flip: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Exercise: a random flip that keeps image and label together.

    Args:
        flip: a transform in dictionary form, for the keys ``image`` and ``label``.

    Raises:
        NotYet: it is missing or wrong, with a hint.
    """
    answered(flip, "the flip")
    require(isinstance(flip, RandFlipd), "the dictionary form of RandFlip ends in a d.")
    marked = torch.arange(8.0).reshape(1, 2, 2, 2)
    flip.set_random_state(seed=0)
    moved = []
    for _ in range(DRAWS):
        data = flip({"image": marked.clone(), "label": marked.clone()})
        image, label = (torch.as_tensor(data[key]).as_subclass(torch.Tensor) for key in ("image", "label"))
        require(torch.equal(image, label), "image and label came apart; which entries does it name in keys?")
        mirrored = torch.equal(image, marked.flip(1))
        require(mirrored or torch.equal(image, marked), "it mirrors another axis; which number has the first one?")
        moved.append(mirrored)
    require(any(moved), "it never flips anything; look at prob and keys.")
    require(not all(moved), "it flips every time, so the network never sees the patient the right way round.")
    require(flip.prob == 0.5, "every other patient: which probability is that?")
    right(f"One draw for both keys: {sum(moved)} of {DRAWS} items were mirrored, image and label together.")


def check_resize_modes(modes: Sequence[str], data: Mapping[str, torch.Tensor]) -> None:
    """Exercise: how to interpolate an image and its label map.

    Args:
        modes: of ``image`` and ``label``.
        data: both, (C, H, W, D) and (1, H, W, D).

    Raises:
        NotYet: they are missing or wrong, with a hint.
    """
    answered(modes, "the pair of modes")
    pair = isinstance(modes, tuple | list) and len(modes) == 2 and all(isinstance(mode, str) for mode in modes)
    require(pair, "write two modes, the image's and the label's: ('...', '...').")
    try:
        resized = Resized(keys=("image", "label"), spatial_size=SMALL, mode=tuple(modes))(dict(data))
    except (ValueError, NotImplementedError, RuntimeError):
        hint("MONAI knows no such mode for volumes; help(Resized) lists them.")
    invented = set(np.unique(np.asarray(resized["label"]))) - set(np.unique(np.asarray(data["label"])))
    require(
        not invented, f"the label map now holds {len(invented)} values that no tissue has; what may a label not do?"
    )
    require("nearest" not in modes[0], "labels are right now, but the image may be interpolated, and looks better so.")
    right("The image is interpolated; the label map takes the nearest voxel's id, so every value still is a tissue.")


def check_order(order: Sequence[str]) -> None:
    """Exercise: the order of a training chain.

    Args:
        order: every step of ``DETERMINISTIC`` and ``RANDOM`` once.

    Raises:
        NotYet: it is missing or wrong, with a hint.
    """
    order = list(answered(order, "the order"))
    steps = (*DETERMINISTIC, *RANDOM)
    require(sorted(order) == sorted(steps), f"name each of the {len(steps)} steps once, spelled as in `shuffled`.")
    require(order[0] == "load", "there are no voxels yet; what comes first of all?")
    first_random = min(order.index(step) for step in RANDOM)
    require(
        order.index("normalise") < first_random,
        "normalise after something random, and its statistics are those of a random piece.",
    )
    late = [step for step in DETERMINISTIC if order.index(step) > first_random]
    require(not late, "a cache ends at the first random step; what comes after it is computed again in every epoch.")
    right(f"The first {len(DETERMINISTIC)} steps give the same result every time and may be stored; the rest may not.")
