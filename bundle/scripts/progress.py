"""One line an epoch, for people (the log) and for programs (metrics.jsonl)."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler

from scripts import distributed
from scripts.errors import InputError
from scripts.files import unwritable
from scripts.pace import DataWait, Throughput
from scripts.runs import METRICS_FILE

logger = logging.getLogger(__name__)


class LastEpochValidation(ValidationHandler):
    """Validates after the last epoch when ``val_interval`` does not, so a run never ends without a scored model."""

    def attach(self, engine: Engine) -> None:
        """Register at the end of each epoch."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.validate_if_last)

    def validate_if_last(self, engine: Engine) -> None:
        """Run the validator if this is the last epoch and the interval leaves it out."""
        epoch = engine.state.epoch
        if epoch == engine.state.max_epochs and epoch % self.interval != 0:
            self(engine)


class StopOnNan:
    """Trainer handler: stops when the loss is no longer a number, before such weights reach a checkpoint."""

    def attach(self, engine: Engine) -> None:
        """Register at the end of each epoch, where the mean tells of any bad step and costs no synchronisation."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Check the epoch's mean loss.

        Raises:
            InputError: it is nan or infinite.
        """
        loss = float(engine.state.metrics["train_loss"])
        if not math.isfinite(loss):
            raise InputError(
                f"the training loss became {loss} in epoch {engine.state.epoch}; lower learning_rate or use "
                "precision fp32, and start again."
            )


class EpochLog:
    """Trainer handler: appends an epoch's figures to ``metrics.jsonl`` and logs them with the time left.

    Args:
        run_dir: the run's folder.
        optimizer: its first group's learning rate is recorded.
        validator: its metrics are recorded for the epochs on which it ran.
        batch_size: cases a process takes per step, for the line that tells the global batch.
        crops_per_case: crops of each case in a step.
        accumulation_steps: batches a step of the optimiser, for that line.
    """

    def __init__(
        self,
        run_dir: str,
        optimizer: torch.optim.Optimizer,
        validator: Engine,
        batch_size: int,
        crops_per_case: int,
        accumulation_steps: int = 1,
    ) -> None:
        self.file = Path(run_dir) / METRICS_FILE
        self.optimizer = optimizer
        self.validator = validator
        self.batch_size = batch_size
        self.crops_per_case = crops_per_case
        self.accumulation_steps = accumulation_steps
        self.started = self.epoch_started = 0.0
        self.first_epoch = 0
        self.data_wait = DataWait()
        self.throughput = Throughput(self.data_wait)

    def attach(self, engine: Engine) -> None:
        """Register at start, epoch start and epoch end."""
        self.data_wait.attach(engine)
        self.throughput.attach(engine)
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.end_epoch)

    def start(self, engine: Engine) -> None:
        """Log the size of the job."""
        self.started = time.monotonic()
        self.first_epoch = engine.state.epoch
        world, steps = distributed.world_size(), self.accumulation_steps
        cases = self.batch_size * world * steps
        group = self.optimizer.param_groups[0]
        logger.info(
            "training: %s, %s; batch %d x %d patches a process, global batch %d cases = %d patches%s; %d epochs of %d "
            "optimiser steps; peak learning rate %g",
            "1 process" if world == 1 else f"{world} processes ({distributed.backend_name()})",
            engine.state.device,
            self.batch_size,
            self.crops_per_case,
            cases,
            cases * self.crops_per_case,
            "" if steps == 1 else f" ({steps} accumulated)",
            engine.state.max_epochs,
            math.ceil(engine.state.epoch_length / steps),
            # A schedule lowers "lr" at once and keeps the optimiser's own here.
            group.get("initial_lr", group["lr"]),
        )

    def start_epoch(self, engine: Engine) -> None:
        """Note the time and the learning rate of this epoch, before the schedule moves it."""
        self.epoch_started = time.monotonic()
        self.learning_rate = self.optimizer.param_groups[0]["lr"]

    def end_epoch(self, engine: Engine) -> None:
        """Record and log the epoch."""
        state = engine.state
        record: dict[str, Any] = {
            "epoch": state.epoch,
            "train_loss": float(state.metrics["train_loss"]),
            "learning_rate": self.learning_rate,
            "seconds": round(time.monotonic() - self.epoch_started, 3),
            "data_wait_s": round(self.data_wait.seconds, 4),
            "data_wait_share": round(self.data_wait.share, 4),
            "samples_per_s": round(self.throughput.samples_per_s, 3),
        }
        if self.validator.state.epoch == state.epoch:
            record |= {name: float(value) for name, value in self.validator.state.metrics.items()}
        try:
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(record) + "\n")
        except OSError as error:
            raise unwritable(self.file, error) from error
        done = state.epoch - self.first_epoch
        left = (time.monotonic() - self.started) / done * (state.max_epochs - state.epoch)
        logger.info("%s", describe(record, state.max_epochs, left))


def describe(record: dict[str, Any], epochs: int, seconds_left: float) -> str:
    """One readable line of an epoch's record, for example ``epoch 10/30  loss 0.412  Dice 0.713 (TC 0.70 ...)``."""
    parts = [f"epoch {record['epoch']}/{epochs}", f"loss {record['train_loss']:.4f}"]
    if "val_mean_dice" in record:
        regions = " ".join(
            f"{name.removeprefix('val_dice_')} {value:.3f}"
            for name, value in record.items()
            if name.startswith("val_dice_")
        )
        parts.append(f"Dice {record['val_mean_dice']:.4f} ({regions})")
    parts += [
        f"{record['seconds']:.1f} s",
        f"{record['samples_per_s']:.3g} samples/s",
        f"data wait {record['data_wait_share']:.1%}",
        f"left {int(seconds_left // 60)} min {int(seconds_left % 60):02d} s",
    ]
    return "  ".join(parts)
