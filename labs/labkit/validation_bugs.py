"""Lab 02: two published validations that raised no error and scored nothing, and the exercises about them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import AsDiscrete
from numpy.typing import NDArray
from scripts.metrics import region_dice

from .batches import dealt
from .checks import answered, require, right

TRIALS = 20


def threshold_rows(
    probabilities: NDArray[Any], truth: torch.Tensor, rules: dict[str, AsDiscrete], regions: Sequence[str]
) -> list[list[Any]]:
    """Voxels that a rule calls tumour, and the Dice of each region, a line a rule.

    Args:
        probabilities: (H, W, D, R) from the network.
        truth: 0/1 masks (1, R, H, W, D).
        rules: what the line says to what decides.
        regions: channel order.
    """
    values = torch.as_tensor(np.moveaxis(probabilities, -1, 0).astype(np.float32))
    rows = []
    for name, rule in rules.items():
        masks = rule(values)[None]
        dice = region_dice(masks.float(), truth)[0].tolist()
        rows.append([name, int(masks[0, regions.index("WT")].sum()), *dice])
    return rows


def check_threshold(fixed: Any) -> None:
    """Exercise: mend ``AsDiscrete(threshold=True)``."""
    answered(fixed, "the mended transform")
    require(isinstance(fixed, AsDiscrete), "the answer is an AsDiscrete object; only its argument was wrong.")
    require(
        not isinstance(fixed.threshold, bool) and fixed.threshold is not None,
        "threshold is a number to compare with. What number is True, in Python?",
    )
    probe = torch.tensor([0.0, 0.4, 0.6, 1.0])
    require(
        fixed(probe).tolist() == [0, 0, 1, 1],
        "a voxel is tumour when the network thinks that more likely than not. Which probability is that?",
    )
    right("True is 1 in arithmetic, and a sigmoid reaches 1.0 almost nowhere; a half is 'more likely than not'.")


def shards(cases: int, processes: int) -> list[list[int]]:
    """The cases that PyTorch's ``DistributedSampler`` gives each process, in file order."""
    return dealt(cases, processes, shuffle=False)


def check_gathered_mean(gathered_mean: Any, dice: Sequence[float]) -> None:
    """Exercise: the mean over cases from what all processes scored, padding and all.

    Args:
        gathered_mean: function of a list of (case, Dice) pairs.
        dice: of each case.
    """
    require(
        callable(gathered_mean) and len(inspect.signature(gathered_mean).parameters) == 1,
        "write a function of one argument, the list of (case, dice) pairs.",
    )
    random = np.random.default_rng(0)
    trials = [list(dice), [0.5, 0.5, 0.9], *(random.random(int(random.integers(2, 9))).tolist() for _ in range(TRIALS))]
    for scores in trials:
        processes = len(scores) + int(random.integers(1, 5))
        pairs = [(case, scores[case]) for shard in shards(len(scores), processes) for case in shard]
        random.shuffle(pairs)
        found = gathered_mean(pairs)
        answered(found, "the mean")
        require(isinstance(found, int | float | np.floating), f"it returned {type(found).__name__}, not a number.")
        naive = float(np.mean([score for _, score in pairs]))
        require(
            not np.isclose(found, naive) or np.isclose(naive, np.mean(scores)),
            "that is the mean over pairs; a case that two processes scored counts twice in it.",
        )
        require(bool(np.isclose(found, np.mean(scores))), "each case counts once, however often it was scored.")
    right("Each case counts once, on whatever number of processes. The bundle gathers so, and pads nothing.")
