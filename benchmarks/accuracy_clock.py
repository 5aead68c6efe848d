"""The clock of benchmarks/accuracy.py: seconds that a training has used, and what happens at which of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

# Shares of the budget at which the test cases are scored; the end is scored besides.
SNAPSHOTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)


def cpu_s() -> float:
    """CPU seconds of this process since its start, and of its children that have ended, such as nnU-Net's pools."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


class TrainingClock:
    """A stopwatch with a budget; it runs from :meth:`start`, except within :meth:`paused`.

    Args:
        budget_s: seconds of training that a side gets.
        at_snapshot: called with the seconds used as soon as a step has ended beyond a share of ``snapshots``; the clock
            stands still meanwhile.
        snapshots: shares of the budget, ascending.
        now: seconds of the clock that is read.
    """

    def __init__(
        self,
        budget_s: float,
        at_snapshot: Callable[[float], None],
        snapshots: Sequence[float] = SNAPSHOTS,
        now: Callable[[], float] = time.process_time,
    ) -> None:
        self.budget_s = budget_s
        self.steps = 0
        self._at_snapshot = at_snapshot
        self._waiting = [share * budget_s for share in snapshots]
        self._now = now
        self._started: float | None = None
        self._excluded_s = 0.0

    def start(self) -> None:
        """Begin to count, where it has not yet begun."""
        if self._started is None:
            self._started = self._now()

    @property
    def used_s(self) -> float:
        """Seconds counted; 0 before the start. Within :meth:`paused` it includes what that has taken so far."""
        return 0.0 if self._started is None else self._now() - self._started - self._excluded_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is done within."""
        stopped = self._now()
        try:
            yield
        finally:
            self._excluded_s += self._now() - stopped

    def end_step(self) -> bool:
        """To be called after each step of training: takes a snapshot that is due, and says whether time is up."""
        self.steps += 1
        used_s = self.used_s
        is_due = bool(self._waiting) and used_s >= self._waiting[0]
        # A step longer than the way to the next share takes one snapshot, not several of the same weights.
        self._waiting = [share for share in self._waiting if share > used_s]
        if is_due and used_s < self.budget_s:
            with self.paused():
                self._at_snapshot(used_s)
        return used_s >= self.budget_s

    def epochs_that_fit(self, done: int) -> int:
        """The number of epochs with which the training ends with the budget, after ``done`` epochs at their mean cost.

        A calibration of seconds errs by some per cent, and the cost of a step drifts with the temperature and the load
        of the machine; a schedule that is told this number at the end of each epoch still ends where the budget does.
        """
        left_s = self.budget_s - self.used_s
        return done + max(0, round(left_s / (self.used_s / done)))
