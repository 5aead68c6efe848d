"""The learning rate: its course over the epochs, and that of a larger batch than the one it was found for."""

from __future__ import annotations

import functools
import math

import torch
from torch.optim.lr_scheduler import LambdaLR

from scripts import distributed
from scripts.errors import InputError

RULES = ("none", "linear", "sqrt")
SCHEDULES = ("cosine", "poly")
# Of the peak, in the first epoch of a warm-up.
WARMUP_START = 0.1
# Chen et al. 2018, arXiv 1606.00915; nnU-Net's PolyLRScheduler.
POLY_EXPONENT = 0.9


def scheduler(optimizer: torch.optim.Optimizer, schedule: str, warmup_epochs: int, epochs: int) -> LambdaLR:
    """The schedule of a training, to be stepped after each epoch.

    Each epoch's rate follows from its number alone, so a continued training with other rates or more epochs needs to
    know nothing but where it is.

    Args:
        optimizer: its rates are the peak.
        schedule: ``cosine``: half a cosine down to 0 (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts);
            ``poly``: ``(1 - share of the epochs) ** 0.9``, nnU-Net's (Isensee et al. 2021).
        warmup_epochs: first the rate rises linearly over these, from a tenth of the peak.
        epochs: of the whole training, the warm-up included.

    Raises:
        InputError: the schedule is unknown, or the warm-up is no number of epochs.
    """
    if schedule not in SCHEDULES:
        raise InputError(f"schedule '{schedule}' is unknown; choose one of {', '.join(SCHEDULES)}.")
    if isinstance(warmup_epochs, bool) or not isinstance(warmup_epochs, int) or warmup_epochs < 0:
        raise InputError(
            f"warmup_epochs {warmup_epochs} is not a number of epochs; choose 0 (none) or more, such as 2."
        )
    return LambdaLR(optimizer, functools.partial(factor, schedule=schedule, warmup_epochs=warmup_epochs, epochs=epochs))


def factor(epoch: int, schedule: str, warmup_epochs: int, epochs: int) -> float:
    """Share of the peak rate in an epoch.

    Args:
        epoch: counted from 0; 0 is returned after the last.
        schedule: ``cosine`` or ``poly``.
        warmup_epochs: as in :func:`scheduler`; a training that is shorter ends within its warm-up.
        epochs: of the whole training.
    """
    warmup_epochs = min(warmup_epochs, epochs)
    if epoch < warmup_epochs:
        return WARMUP_START + (1 - WARMUP_START) * (epoch / warmup_epochs)
    done = min((epoch - warmup_epochs) / max(1, epochs - warmup_epochs), 1.0)
    return 0.5 * (1 + math.cos(math.pi * done)) if schedule == "cosine" else (1 - done) ** POLY_EXPONENT


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
