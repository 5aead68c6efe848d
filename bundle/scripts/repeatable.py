"""Epochs that can be repeated: every random number of an epoch follows from the seed, the epoch and the rank alone.

So a training that is continued draws what an uninterrupted one would have drawn, and no generator's state need be kept:
neither those hidden in transforms and worker processes, nor one a rank, of which the next start may have more.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd

from scripts import distributed


class SeedEpoch:
    """Trainer handler: seeds all random generators at the start of each epoch, before its first batch is asked for.

    Args:
        loader: the training's loader; its dataset's transforms are seeded, and its epoch is set where it counts them.
        seed: of the training.
    """

    def __init__(self, loader: Any, seed: int) -> None:
        self.loader = loader
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Register at the start of each epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed the epoch that starts."""
        seed = epoch_seed(self.seed, engine.state.epoch, distributed.rank())
        random.seed(seed)
        np.random.seed(seed)
        # Also seeds the order of a loader that shuffles, and the worker processes that it starts.
        torch.manual_seed(seed)
        set_rnd(self.loader.dataset, seed)
        if hasattr(self.loader, "set_epoch"):
            self.loader.set_epoch(engine.state.epoch - 1)


def epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """A seed of 32 bits, unrelated for neighbouring epochs and ranks (numpy's SeedSequence mixes them)."""
    return int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1)[0])
