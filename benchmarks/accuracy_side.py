"""What benchmarks/accuracy.py asks of an opponent, whatever software it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from accuracy_clock import TrainingClock

# A calibration drops its first step, which allocates and chooses kernels, and ends as soon as both of these are met.
CALIBRATION_STEPS = 3
CALIBRATION_SHARE = 0.03


@dataclass(frozen=True)
class Calibration:
    """What a side's training costs on this machine.

    Attributes:
        step_s: seconds of a step, of the clock that counts, of the optimiser, the median of those measured.
        steps_per_epoch: as the side counts epochs.
        steps: how many were made, the first included; their weights are thrown away.
    """

    step_s: float
    steps_per_epoch: int
    steps: int

    def epochs(self, budget_s: float) -> int:
        """How many epochs fit into a budget, at least one."""
        return max(1, round(budget_s / (self.step_s * self.steps_per_epoch)))


class Side(Protocol):
    """One opponent in one fold. The methods are called in this order, the last two also from within ``train``.

    :meth:`apply` needs the folder of a run and nothing else: a new object over it segments other cases.
    """

    def prepare(self) -> None:
        """Do everything that needs doing once a data set: planning, preprocessing, caching."""

    def calibrate(self, budget_s: float) -> Calibration:
        """Measure a step on weights that are thrown away.

        Args:
            budget_s: of the training to come, ``CALIBRATION_SHARE`` of which a calibration may take.
        """

    def train(self, clock: TrainingClock, epochs: int) -> tuple[int, int]:
        """Train until the schedule or the budget ends, from the first weights on.

        Args:
            clock: to be started with the first step, told of each step and asked for the epochs that fit after each.
            epochs: planned at first.

        Returns:
            Epochs done, and the number of epochs at whose end the schedule would have been over.
        """

    def save(self) -> None:
        """Keep the weights as they are now."""

    def apply(self, cases: Sequence[Mapping[str, Any]], folder: Path, full: bool) -> None:
        """Write ``<case>_seg.nii.gz`` of every case by the weights that were kept, in the data set's own ids.

        Args:
            cases: items with ``case`` and ``image``.
            folder: made where absent.
            full: as this side would for a paper; else without test-time augmentation.
        """

    @property
    def weights(self) -> Path:
        """The file that :meth:`save` writes last of all."""

    def recipe(self) -> dict[str, Any]:
        """All that a run depends on besides cases, budget and code: JSON without paths, the same in every fold."""

    def about(self) -> dict[str, Any]:
        """What else the result should tell of this side: its files, its choices and their size; no paths."""
