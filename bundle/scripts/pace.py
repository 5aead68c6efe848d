"""How fast a training goes: what its steps wait for their batches, and the samples that it takes in a second."""

from __future__ import annotations

import logging
import time

from ignite.engine import Engine, Events

from scripts import distributed

logger = logging.getLogger(__name__)

# Enough for a first figure, little enough to have it at once.
FIRST_STEPS = 10


class DataWait:
    """Trainer handler: how long the steps of an epoch waited for their batches, and the epoch's training took.

    The host's time is measured, and no device is waited for: where a GPU still works through its queue while the host
    waits, the GPU lost less than this.

    Attributes:
        seconds: between a batch's request and its arrival, summed over the epoch.
        epoch_seconds: from the epoch's start to the end of its last step, validation left out.
    """

    def __init__(self) -> None:
        self.seconds = self.epoch_seconds = 0.0
        self._epoch_started = self._requested = 0.0

    @property
    def share(self) -> float:
        """Share of the epoch's training that was waiting, 0 to 1."""
        return self.seconds / self.epoch_seconds if self.epoch_seconds > 0 else 0.0

    def attach(self, engine: Engine) -> None:
        """Register at the epoch's start, around each batch, and at each step's end."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self.request)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self.receive)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.end_step)

    def start_epoch(self, engine: Engine) -> None:
        """Begin to count."""
        self.seconds = self.epoch_seconds = 0.0
        self._epoch_started = self._requested = time.monotonic()

    def request(self, engine: Engine) -> None:
        """A batch is asked for."""
        self._requested = time.monotonic()

    def receive(self, engine: Engine) -> None:
        """It is there."""
        self.seconds += time.monotonic() - self._requested

    def end_step(self, engine: Engine) -> None:
        """So far the epoch has lasted this long."""
        self.epoch_seconds = time.monotonic() - self._epoch_started


class Throughput:
    """Trainer handler: samples that all processes train on in a second; a sample is a patch.

    The first figure is logged as soon as it is known, without the first step, which fills caches and compiles.

    Args:
        clock: tells how long the epoch's steps have taken.
    """

    def __init__(self, clock: DataWait) -> None:
        self.clock = clock
        self.samples = 0
        self._first = (0, 0.0)
        self._is_told = False

    @property
    def samples_per_s(self) -> float:
        """Of this epoch so far, validation left out."""
        return self.samples / self.clock.epoch_seconds if self.clock.epoch_seconds > 0 else 0.0

    def attach(self, engine: Engine) -> None:
        """Register at the epoch's start and at each step's end; attach the clock before."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.end_step)

    def start_epoch(self, engine: Engine) -> None:
        """Begin to count."""
        self.samples = 0

    def end_step(self, engine: Engine) -> None:
        """Count the batch, which MONAI's engines have split into a list of samples; all processes have as many."""
        self.samples += len(engine.state.output) * distributed.world_size()
        if self._is_told:
            return
        step = (engine.state.iteration - 1) % engine.state.epoch_length + 1
        if step == 1:
            self._first = (self.samples, self.clock.epoch_seconds)
        elif step == min(FIRST_STEPS, engine.state.epoch_length):
            samples, seconds = self.samples - self._first[0], self.clock.epoch_seconds - self._first[1]
            logger.info("measured: %.3g samples/s of all processes, in steps 2 to %d", samples / seconds, step)
            self._is_told = True
