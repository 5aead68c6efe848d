"""What every experiment tracker is told, and under which names: those of metrics.jsonl, in all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"
# The loss of single steps and the picture of a case are not in metrics.jsonl.
STEP_LOSS = "train_loss_step"
PICTURE = "val_case"


class MissingPackage(Exception):
    """A tracker's package is not installed; the message says what to install."""


class Tracker(ABC):
    """A store of experiments. Making one touches nothing: rank 0 alone opens it. Any method may fail."""

    name: str
    log_model = False

    @abstractmethod
    def open(self, folder: Path, knobs: Mapping[str, Any], run_id: str | None) -> str | None:
        """Begin a run, or continue the one called ``run_id`` where the store still has it.

        Args:
            folder: the run's folder; its name is the run's name.
            knobs: name to plain value.
            run_id: what an earlier call for this folder returned.

        Returns:
            The run's id, or None where the folder itself identifies it.
        """

    @abstractmethod
    def log(self, epoch: int, values: Mapping[str, float], picture: Path | None) -> None:
        """Take the figures of an epoch, and the PNG of a validation case if one was drawn after it."""

    def log_step(self, step: int, loss: float) -> None:  # noqa: B027 (optional: most stores take epochs alone)
        """Take the loss of one step, counted over all epochs."""

    @abstractmethod
    def keep(self, files: Sequence[Path]) -> None:
        """Store copies of files."""

    @abstractmethod
    def close(self, status: str) -> None:
        """End the run as ``FINISHED``, ``FAILED`` or ``KILLED``."""


def epoch_values(record: Mapping[str, Any]) -> dict[str, float]:
    """What every tracker gets of an epoch's record: each figure under its name in metrics.jsonl."""
    return {name: float(value) for name, value in record.items() if name != "epoch"}


def optional_package(package: str, requirement: str, name: str) -> ModuleType:
    """Import a tracker's package.

    Args:
        package: to import.
        requirement: what pip installs.
        name: the tracker's.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingPackage(
            f'{name} cannot be imported ({error}); pip install "{requirement}" or the extra "track" of this project'
        ) from error
