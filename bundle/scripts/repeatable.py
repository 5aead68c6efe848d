"""Steps that can be repeated: every random number follows from the seed, the epoch, the step and the rank alone.

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


class Reseed:
    """Trainer handler: seeds all random generators at the start of each epoch, and PyTorch's at each step.

    Args:
        loader: the training's loader; its dataset's transforms are seeded, and its epoch is set where it counts them.
        seed: of the training.
    """

    def __init__(self, loader: Any, seed: int) -> None:
        self.loader = loader
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Register at the start of each epoch and step."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.ITERATION_STARTED, self.start_step)

    def start_epoch(self, engine: Engine) -> None:
        """Seed what the order and the augmentation of the epoch's batches are drawn from."""
        epoch = engine.state.epoch
        seed = mixed(self.seed, distributed.rank(), epoch)
        random.seed(seed)
        np.random.seed(seed)
        # A loader that shuffles draws its order from PyTorch's generator, and the seeds of its worker processes.
        torch.manual_seed(seed)
        set_rnd(self.loader.dataset, seed)
        if hasattr(self.loader, "set_epoch"):
            self.loader.set_epoch(epoch - 1)

    def start_step(self, engine: Engine) -> None:
        """Seed what the network draws from, as dropout does."""
        torch.manual_seed(mixed(self.seed, distributed.rank(), engine.state.epoch, engine.state.iteration))


def mixed(*numbers: int) -> int:
    """A seed of 32 bits from several, unrelated for neighbouring ones (numpy's SeedSequence)."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
