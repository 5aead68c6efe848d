"""One line an epoch in ``metrics.jsonl``, for programs; people read those of MONAI's StatsHandler in the log."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from skin_lesions.files import unwritable
from skin_lesions.runs import METRICS_FILE


class EpochLog:
    """Trainer handler: appends loss, time and, of epochs with a validation, its metrics.

    Args:
        run_dir: the run's folder.
        validator: its metrics are recorded.
    """

    def __init__(self, run_dir: str, validator: Engine) -> None:
        self.file = Path(run_dir) / METRICS_FILE
        self.validator = validator
        self.started = self.cpu_started = 0.0

    def attach(self, engine: Engine) -> None:
        """Register at the start and at the end of each epoch."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.end_epoch)

    def start(self, engine: Engine) -> None:
        """Note the time."""
        self.started, self.cpu_started = time.monotonic(), time.process_time()

    def end_epoch(self, engine: Engine) -> None:
        """Append the epoch's line. Time counts from the start of the training, on the clock (``seconds``) and as
        processor time of all threads of this process (``cpu_seconds``), workers of the loader not included.

        Raises:
            InputError: the file cannot be written.
        """
        state = engine.state
        record: dict[str, Any] = {
            "epoch": state.epoch,
            "train_loss": float(state.metrics["train_loss"]),
            "seconds": round(time.monotonic() - self.started, 3),
            "cpu_seconds": round(time.process_time() - self.cpu_started, 3),
        }
        if self.validator.state.epoch == state.epoch:
            record |= {name: float(value) for name, value in self.validator.state.metrics.items()}
        try:
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(record) + "\n")
        except OSError as error:
            raise unwritable(self.file, error) from error
