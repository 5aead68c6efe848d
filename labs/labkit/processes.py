"""Processes that a lab has started: the memory they hold, and their end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType

import psutil

SAMPLE_S = 0.2
BYTES_PER_MB = 1e6


class Watch:
    """While a block runs, sample the memory of processes and their children, and end them when their time is over.

    Args:
        roots: gives the ids of the processes, asked anew for each sample.
        timeout_s: after so many seconds they are killed.

    Attributes:
        peak: the most that they held at once, in bytes; pages that processes share count for each.
        expired: whether their time was over.
    """

    def __init__(self, roots: Callable[[], Iterable[int]], timeout_s: float = math.inf) -> None:
        self.roots, self.timeout_s = roots, timeout_s
        self.peak, self.expired = 0, False
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self.thread.join()
        if error is not None:
            # An interrupted cell leaves nothing behind that goes on computing.
            self._end()

    def _sample(self) -> None:
        began = time.monotonic()
        while not self.stop.wait(SAMPLE_S):
            self.peak = max(self.peak, sum(_resident(one) for root in self.roots() for one in _tree(root)))
            if time.monotonic() - began > self.timeout_s:
                self.expired = True
                self._end()
                return

    def _end(self) -> None:
        for one in [one for root in self.roots() for one in _tree(root)]:
            try:
                one.kill()
            except psutil.Error:
                continue


def children() -> list[int]:
    """The ids of the processes that this one has started."""
    return [child.pid for child in psutil.Process().children()]


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0
