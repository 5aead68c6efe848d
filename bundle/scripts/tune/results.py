"""The outcome of a search: a table, results.csv, and the best trial as an override file."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.files import write_aside
from scripts.tune.space import short_names, short_value
from scripts.tune.trial import Plan, outcome

CSV_FILE, BEST_FILE, PICTURE_FILE = "results.csv", "best.json", "results.png"
# A reason in the terminal; the CSV has all of it.
REASON_CHARACTERS = 100
RUNNING_EVERY_S = 30.0


def collect(plans: Sequence[Plan], trials: Sequence[Mapping[str, Any]], metric: str, mode: str) -> list[dict[str, Any]]:
    """The outcome of every trial, best first, those without a score last.

    Args:
        plans: the trials.
        trials: their hyper-parameters, in the same order.
        metric: by which they are compared.
        mode: ``max`` or ``min``.

    Returns:
        A row a trial: ``trial``, ``values``, ``folder`` and the entries of :func:`scripts.tune.trial.outcome`.
    """
    rows = [
        {"trial": plan.name, "values": dict(values), "folder": plan.folder, **outcome(Path(plan.folder), metric, mode)}
        for plan, values in zip(plans, trials, strict=True)
    ]
    sign = -1 if mode == "max" else 1
    return sorted(rows, key=lambda row: (row["best"] is None, sign * (row["best"] or 0.0)))


def write_csv(rows: Sequence[Mapping[str, Any]], metric: str, target: Path) -> None:
    """Write a line a trial: every hyper-parameter under its full name, the best score, its epoch, time and status."""
    knobs = list(rows[0]["values"])
    header = ["trial", "status", *knobs, f"best_{metric}", "best_epoch", "epochs", "seconds", "reason", "run_dir"]
    with write_aside(target) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            values = [value if isinstance(value, str) else json.dumps(value) for value in row["values"].values()]
            figures = [row[name] for name in ("best", "epoch", "epochs", "seconds", "reason", "folder")]
            writer.writerow([row["trial"], row["status"], *values, *figures])


def table(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    """The rows for a terminal."""
    names = short_names(list(rows[0]["values"]))
    header = ["trial", "status", *names.values(), metric, "epoch", "seconds", ""]
    lines = [header]
    for row in rows:
        score = "-" if row["best"] is None else f"{row['best']:.4f}"
        seconds = "-" if row["seconds"] is None else f"{row['seconds']:.0f}"
        values = [short_value(row["values"][knob]) for knob in names]
        reason = row["reason"]
        reason = reason if len(reason) <= REASON_CHARACTERS else reason[:REASON_CHARACTERS].rstrip() + " ..."
        epoch = "-" if row["epoch"] is None else f"{row['epoch']} of {row['epochs']}"
        lines.append([row["trial"], row["status"], *values, score, epoch, seconds, reason])
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


class Progress:
    """Tells of a search while it runs: a line for each trial that ends, and now and then one for those that run.

    Args:
        plans: the trials.
        trials: their hyper-parameters, in the same order.
        metric: by which they are compared.
        mode: ``max`` or ``min``.
        show: called with each line.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        trials: Sequence[Mapping[str, Any]],
        metric: str,
        mode: str,
        show: Callable[[str], None],
    ) -> None:
        self.values = {plan.name: values for plan, values in zip(plans, trials, strict=True)}
        self.names = short_names(list(trials[0]))
        self.metric, self.mode, self.show = metric, mode, show
        self.running: dict[str, str] = {}
        self.ended = 0
        self.shown = time.monotonic()

    def __call__(self, plan: Plan, result: Mapping[str, Any] | None) -> None:
        """A trial has validated an epoch, or ended where ``result`` is None."""
        if result is None:
            self.running.pop(plan.name, None)
            self.ended += 1
            self._show(self._end_line(plan))
        elif not result["done"]:
            self.running[plan.name] = f"{plan.name} epoch {result['epoch']}/{plan.epochs} {result[self.metric]:.4f}"
            if time.monotonic() - self.shown > RUNNING_EVERY_S:
                self._show(f"  running: {', '.join(self.running.values())}")

    def _end_line(self, plan: Plan) -> str:
        end = outcome(Path(plan.folder), self.metric, self.mode)
        score = "" if end["best"] is None else f"  {self.metric} {end['best']:.4f} in epoch {end['epoch']}"
        own = self.values[plan.name]
        values = " ".join(f"{name}={short_value(own[knob])}" for knob, name in self.names.items())
        reason = f"  {end['reason']}" * bool(end["reason"])
        counted = f"{self.ended}/{len(self.values)} {plan.name} {end['status']}"
        seconds = "" if end["seconds"] is None else f", {end['seconds']:.0f} s"
        return f"{counted}{score}{seconds}  {values}{reason}"

    def _show(self, line: str) -> None:
        self.show(line)
        self.shown = time.monotonic()
