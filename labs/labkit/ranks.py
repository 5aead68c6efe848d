"""A handler for trainings: every process notes which cases it saw, and how each that it validated scored.

A config of lab 05 names it; it runs inside the processes that torchrun starts. What it noted is read by ``batches``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from scripts import distributed
from scripts.files import write_json
from scripts.metrics import region_dice


class NoteCases:
    """Handler of a trainer or a validator; writes ``PART_RANK.json`` when an epoch ends.

    Args:
        folder: where the notes go.
        part: ``training`` or ``validation``.
    """

    def __init__(self, folder: str | os.PathLike[str], part: str) -> None:
        self.file = Path(folder) / f"{part}_{distributed.rank()}.json"
        self.scored = part == "validation"
        self.seen: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Register for every step and every end of an epoch."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.note)
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: write_json(self.file, self.seen))

    def note(self, engine: Engine) -> None:
        """Note the cases of a step."""
        names = [item["case"] for item in engine.state.batch]
        dice: list[float | None] = [None] * len(names)
        if self.scored:
            # Postprocessing has split the batch: one entry a case, regions (R, H, W, D).
            pairs = [(item["pred"], item["label"]) for item in engine.state.output]
            dice = [float(region_dice(torch.stack([p]), torch.stack([t])).mean()) for p, t in pairs]
        self.seen += [
            {"epoch": engine.state.epoch, "step": engine.state.iteration, "case": name, "dice": score}
            for name, score in zip(names, dice, strict=True)
        ]
