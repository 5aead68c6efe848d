"""Progress in one line that replaces itself, and that an executed notebook keeps only the last state of."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from IPython.display import DisplayHandle

T = TypeVar("T")
# A page repaints no faster than the eye follows.
REFRESH_S = 0.2


class Line:
    """One line of output that can be written anew: live in a notebook, and its last state in the saved one."""

    def __init__(self) -> None:
        self.handle: DisplayHandle | None = None
        self.shown_at = 0.0

    def show(self, text: str, last: bool = False) -> None:
        """Show ``text`` in the line; in-between states may be skipped, the ``last`` one never is."""
        now = time.monotonic()
        if not last and now - self.shown_at < REFRESH_S:
            return
        self.shown_at = now
        if self.handle is None:
            self.handle = DisplayHandle()
            self.handle.display(_Text(text))
        else:
            self.handle.update(_Text(text))
        sys.stdout.flush()


class _Text:
    """Plain text, shown as it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def progress(items: Iterable[T], label: str) -> Iterator[T]:
    """Yield the items, showing how many are done and how long it took.

    Args:
        items: what to go through.
        label: what is done, such as ``"reading cases"``.
    """
    line, began, done = Line(), time.monotonic(), 0
    total = f"/{len(items)}" if isinstance(items, Sized) else ""
    for item in items:
        line.show(f"{label}: {done}{total}")
        yield item
        done += 1
    line.show(f"{label}: {done}{total} in {time.monotonic() - began:.1f} s", last=True)
