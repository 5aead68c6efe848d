"""TensorBoard: events in the run folder's ``tensorboard/``, by one writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.image import imread
from torch.utils.tensorboard import SummaryWriter

from scripts.trackers import PICTURE, STEP_LOSS, Tracker


class TensorBoard(Tracker):
    """Scalars and pictures for ``tensorboard --logdir runs``."""

    name = "TensorBoard"

    def open(self, folder: Path, knobs: Mapping[str, Any], run_id: str | None) -> None:
        """Open a new event file; TensorBoard reads all files of a folder as one run."""
        self.writer = SummaryWriter(log_dir=str(folder / "tensorboard"))

    def log(self, epoch: int, values: Mapping[str, float], picture: Path | None) -> None:
        """Write scalars and picture at step ``epoch``, to the disk."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)
        if picture is not None:
            self.writer.add_image(PICTURE, imread(picture)[..., :3], epoch, dataformats="HWC")
        self.writer.flush()

    def log_step(self, step: int, loss: float) -> None:
        """Write the loss of a step, under a name of its own: its axis is not that of the epochs."""
        self.writer.add_scalar(STEP_LOSS, loss, step)

    def keep(self, files: Sequence[Path]) -> None:
        """Nothing: the files lie beside the events."""

    def close(self, status: str) -> None:
        """Close the event file."""
        self.writer.close()
