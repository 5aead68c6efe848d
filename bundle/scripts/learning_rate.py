"""The learning rate of a larger batch, where the one that was found for one process shall be carried over."""

from __future__ import annotations

import math

from scripts import distributed
from scripts.errors import InputError

RULES = ("none", "linear", "sqrt")


def scaled(learning_rate: float, rule: str, accumulation_steps: int) -> float:
    """``learning_rate`` for the batch of this job, which is ``processes * accumulation_steps`` times that of a process.

    Args:
        learning_rate: found for the batch of one process that steps after each.
        rule: ``none``; ``linear``, in proportion to the batch, for SGD and with a warm-up (Goyal et al. 2017, arXiv
            1706.02677); ``sqrt``, to its square root, which keeps the noise of Adam's steps (Malladi et al. 2022,
            arXiv 2205.10287).
        accumulation_steps: batches of a process in one step of the optimiser.

    Raises:
        InputError: the rule is unknown.
    """
    if rule not in RULES:
        raise InputError(f"scale_learning_rate '{rule}' is unknown; choose one of {', '.join(RULES)}.")
    factor = distributed.world_size() * accumulation_steps
    return learning_rate * {"none": 1.0, "linear": float(factor), "sqrt": math.sqrt(factor)}[rule]
