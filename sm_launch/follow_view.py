"""What is followed, shown in a terminal line by line, or in a notebook as one cell that renews itself."""

from __future__ import annotations

import html
import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol, TextIO

from sm_launch import phi
from sm_launch.events import END, LOG, METRIC, NOTE, STATUS, TRIAL, Event, Outcome

# Escape sequences, and control characters but the tab: a log must not steer the terminal that shows it.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
NODE_COLOURS = (36, 35, 34, 33, 32)
BOLD, RED, FAINT = 1, 31, 2
# A notebook cell: seconds between two renewals, and lines of the log that it holds.
RENEW_SECONDS, LAST_LINES = 0.5, 200


class View(Protocol):
    """Something that shows events."""

    def show(self, event: Event) -> None:
        """Take the next event."""


def show(events: Iterable[Event], name: str, stream: TextIO | None = None) -> Outcome | None:
    """Show events until they end.

    Args:
        events: of :func:`sm_launch.follow.follow`.
        name: the followed job's; lines of other jobs (trials) carry theirs.
        stream: where a terminal's lines go; standard output by default. A notebook shows its own cell instead.

    Returns:
        how the job ended; None if the events stopped before.
    """
    view: View = NotebookView(name) if stream is None and in_notebook() else TerminalView(name, stream or sys.stdout)
    outcome = None
    for event in events:
        view.show(event)
        outcome = event.outcome or outcome
    return outcome


def redacted(events: Iterable[Event]) -> Iterator[Event]:
    """The same events, with what looks like a secret or a patient's identity replaced by its kind."""
    for event in events:
        outcome = event.outcome
        if outcome is not None and outcome.failure:
            outcome = replace(outcome, failure=phi.redact(outcome.failure))
        yield replace(event, message=phi.redact(event.message), outcome=outcome)


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel; IPython is never imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def clean(line: str) -> str:
    """A log line as a terminal would leave it: the last of what a progress bar wrote over itself, no escapes."""
    parts = [part for part in line.split("\r") if part.strip()]
    return ESCAPES.sub("", parts[-1] if parts else "").rstrip()


def told(outcome: Outcome) -> str:
    """How a job ended, in one line."""
    parts = [f"{outcome.status}: {outcome.failure}" if outcome.failure else outcome.status]
    if outcome.run_seconds is not None:
        parts.append(f"ran {outcome.run_seconds} s")
    if outcome.billable_seconds is not None:
        parts.append(f"billed {outcome.billable_seconds} s an instance")
    if outcome.saving is not None:
        parts.append(f"spot saved {100 * outcome.saving:.0f} %")
    if outcome.best:
        parts.append(f"best trial {outcome.best}")
    parts += [f"{name} {value:.4g}" for name, value in outcome.metrics.items()]
    return "; ".join(parts)


class TerminalView:
    """Writes lines.

    Args:
        name: the followed job's.
        stream: where they go; in colour where it is a terminal and $NO_COLOR is not set (no-color.org).
    """

    def __init__(self, name: str, stream: TextIO) -> None:
        self.stream = stream
        self.lines = Lines(name, stream.isatty() and not os.environ.get("NO_COLOR"))

    def show(self, event: Event) -> None:
        """Write the event."""
        line = self.lines.line(event)
        if line is not None:
            self.stream.write(line + "\n")
            self.stream.flush()


class Lines:
    """Events as lines of text: the log's with their node before them, the others with their time.

    Args:
        name: the followed job's.
        coloured: whether for a terminal that shows colours.
    """

    def __init__(self, name: str, coloured: bool) -> None:
        self.name = name
        self.coloured = coloured
        self.nodes: dict[str, int] = {}

    def line(self, event: Event) -> str | None:
        """The event as a line; None for a metric, which its log line shows, and the end once more."""
        job = "" if event.job == self.name else f"{event.job} "
        if event.kind == LOG:
            node = job + event.node
            colour = self.nodes.setdefault(node, NODE_COLOURS[len(self.nodes) % len(NODE_COLOURS)])
            return f"{self._paint(node, colour)} | {clean(event.message)}"
        moment = self._paint(event.time.astimezone().strftime("%H:%M:%S"), FAINT)
        if event.kind == STATUS:
            message = f": {clean(event.message)}" if event.message else ""
            return f"{moment} {job}{self._paint(event.status, BOLD)}{message}"
        if event.kind == TRIAL:
            score = f" {event.metric} {event.value:.4g}" if event.value is not None else ""
            return f"{moment} {job}{self._paint(event.status, BOLD)}{score} ({clean(event.message)})"
        if event.kind == NOTE:
            return f"{moment} note: {clean(event.message)}"
        if event.kind == END and event.outcome is not None:
            return f"{moment} {self._paint(told(event.outcome), BOLD if event.outcome.succeeded else RED)}"
        return None

    def _paint(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured else text


class NotebookView:
    """One cell that renews itself.

    Args:
        name: the followed job's.
    """

    def __init__(self, name: str) -> None:
        from IPython.display import HTML, DisplayHandle

        self.made: Any = HTML
        self.page = Page(name)
        self.handle: Any = DisplayHandle()
        self.handle.display(HTML(self.page.html()))
        self.renewed = 0.0

    def show(self, event: Event) -> None:
        """Take the event, and renew the cell unless that was done just now."""
        self.page.take(event)
        if event.kind == END or time.monotonic() - self.renewed > RENEW_SECONDS:
            self.renewed = time.monotonic()
            self.handle.update(self.made(self.page.html()))


class Page:
    """The cell's content: the status, a table of metrics, the log's last lines folded away.

    Args:
        name: the followed job's.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines = Lines(name, coloured=False)
        self.statuses: list[str] = []
        self.metrics: dict[str, list[float]] = {}
        self.log: deque[str] = deque(maxlen=LAST_LINES)

    def take(self, event: Event) -> None:
        """Take the next event."""
        if event.kind == METRIC and event.value is not None:
            self.metrics.setdefault(event.metric, []).append(event.value)
        line = self.lines.line(event)
        if line is not None:
            (self.log if event.kind == LOG else self.statuses).append(line)

    def html(self) -> str:
        """All so far; everything that came from the job is escaped."""
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{values[-1]:.4g}</td><td>{min(values):.4g}</td>"
            f"<td>{max(values):.4g}</td></tr>"
            for name, values in self.metrics.items()
        )
        head = "<tr><th>metric</th><th>last</th><th>least</th><th>most</th></tr>"
        table = f"<table>{head}{rows}</table>" if rows else ""
        log = html.escape("\n".join(self.log))
        statuses = html.escape("\n".join(self.statuses))
        folded = f"<details><summary>log</summary><pre>{log}</pre></details>"
        return f"<b>{html.escape(self.name)}</b><pre>{statuses}</pre>{table}{folded}"
