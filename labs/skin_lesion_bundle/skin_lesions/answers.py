"""What a network says of every image of one pass, whichever process saw it."""

from __future__ import annotations

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys, evenly_divisible_all_gather, string_list_all_gather
from numpy.typing import NDArray

from skin_lesions.errors import InputError
from skin_lesions.scores import Floats


def require_finite(logits: Floats, where: str) -> None:
    """Refuse what a network answers after a training that diverged.

    Args:
        logits: (N, K).
        where: the model or the epoch, for the message.

    Raises:
        InputError: some are no finite numbers.
    """
    if lost := int((~np.isfinite(logits)).any(axis=1).sum()):
        raise InputError(
            f"{where}: this model's answers to {lost} of {len(logits)} images are no finite numbers, as after a "
            "training that diverged; train again with a smaller learning_rate."
        )


class Answers:
    """Evaluator handler: keeps names, logits and true classes, before the postprocessing changes them.

    Items carry ``name``, and ``label`` as the index of their class.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._logits: list[torch.Tensor] = []
        self._truth: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Register at the start, which forgets the pass before, and after each batch's forward pass."""
        engine.add_event_handler(Events.STARTED, self.clear)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.add)

    def clear(self, engine: Engine) -> None:
        """Forget all."""
        for kept in (self._names, self._logits, self._truth):
            kept.clear()

    def add(self, engine: Engine) -> None:
        """Keep those of this batch."""
        self._names += engine.state.batch["name"]
        self._logits.append(engine.state.output[CommonKeys.PRED].detach().float())
        self._truth.append(engine.state.output[CommonKeys.LABEL].detach().long())

    def gathered(self) -> tuple[list[str], Floats, NDArray[np.int64]]:
        """Names of N images, logits (N, K) and truth (N,) of all processes, each of which must ask.

        The images are in no order that means anything.
        """
        logits, truth = (
            evenly_divisible_all_gather(torch.cat(kept), concat=True).cpu().numpy()
            for kept in (self._logits, self._truth)
        )
        return string_list_all_gather(self._names), logits.astype(np.float64), truth
