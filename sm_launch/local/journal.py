"""What happens in a job, written down: status transitions, logs by node, metrics; and told to who listens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from sm_launch.events import LOG, STATUS, Event
from sm_launch.local.metrics import LastMetrics
from sm_launch.local.results import Transition


def now() -> datetime:
    """In UTC."""
    return datetime.now(timezone.utc)


class Journal:
    """The record of one job; a context manager that closes the logs.

    Args:
        job: its name.
        folder: of the log files.
        metrics: reads every line.
        on_event: told of everything, one event at a time; None tells nobody.
    """

    def __init__(self, job: str, folder: Path, metrics: LastMetrics, on_event: Callable[[Event], None] | None) -> None:
        self.job = job
        self.metrics = metrics
        self._folder = folder
        self._on_event = on_event
        self._lock = threading.RLock()
        self._transitions: list[Transition] = []
        self._logs: dict[str, TextIO] = {}

    def __enter__(self) -> Journal:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for log in self._logs.values():
            log.close()

    def status(self, status: str, message: str) -> None:
        """Begin a secondary status."""
        with self._lock:
            time = now()
            if self._transitions:
                before = self._transitions[-1]
                self._transitions[-1] = Transition(before.status, before.start, time, before.message)
            self._transitions.append(Transition(status, time, None, message))
            self._tell(Event(time, self.job, STATUS, status=status, message=message))

    def line(self, node: str, text: str) -> None:
        """A line of a node's log."""
        with self._lock:
            time = now()
            if node not in self._logs:
                self._logs[node] = (self._folder / f"{node}.log").open("w", encoding="utf-8")
            self._logs[node].write(text + "\n")
            self._logs[node].flush()
            self.metrics.read(text, time)
            self._tell(Event(time, self.job, LOG, node=node, message=text))

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """All so far."""
        return tuple(self._transitions)

    @property
    def log_files(self) -> dict[str, Path]:
        """Of each node that has written a line."""
        return {node: self._folder / f"{node}.log" for node in sorted(self._logs)}
