"""Runs side by side, the best first, from what each run folder holds.

    python -m scripts.compare
    python -m scripts.compare runs/first runs/second --csv runs.csv --figure runs.png

A run is shown at its best epoch, with the knobs in which the runs differ and the test scores where it was evaluated.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.errors import InputError, one_sentence
from scripts.figure_runs import plot_runs
from scripts.files import write_aside
from scripts.records import optional_json, plain_knobs, read_metrics
from scripts.runs import METRICS_FILE

logger = logging.getLogger(__name__)

DEFAULT_SORT = "val_mean_dice"
TEST, MINUTES = "test_mean_dice", "minutes"
# Knobs that say where and not how, and epochs, which has a column of its own.
PLACES = (
    "run_name", "output_dir", "ckpt_dir", "bundle_root", "epochs", "resume", "image_interval", "tracking_uri",
    "experiment_name", "mlflow_log_model", "wandb_project", "wandb_mode", "wandb_log_model",
)  # fmt: skip
# Objects whose class tells what was trained; knobs do not name them.
OBJECTS = ("network_def", "loss", "optimizer", "lr_scheduler")
WIDEST = 24


@dataclass(frozen=True)
class Run:
    """What one run folder tells.

    Attributes:
        folder: the run's folder.
        records: of its metrics.jsonl, in order of their epochs.
        config: its merged config, empty where it has none.
        test: the test's mean Dice over cases and regions, or None.
    """

    folder: Path
    records: list[dict[str, Any]]
    config: dict[str, Any]
    test: float | None

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read a run folder.

        Raises:
            InputError: it is no run's folder, or has no whole epoch.
        """
        if not (folder / METRICS_FILE).is_file():
            raise InputError(f"{folder}: is no run's folder, it has no {METRICS_FILE}; give folders of trainings.")
        records = read_metrics(folder / METRICS_FILE)
        if not records:
            raise InputError(f"{folder / METRICS_FILE}: has no whole epoch yet; leave this run out, or wait for it.")
        summary = optional_json(folder / "test" / "summary.json", "summary of the test")
        test = summary.get("dice", {}).get("mean")
        return cls(folder, records, optional_json(folder / "config.json", "config"), test)

    def best(self, metric: str) -> dict[str, Any]:
        """The record of the epoch with the best value of ``metric``, of validation Dice where it has none."""
        for name in (metric, DEFAULT_SORT):
            scored = [record for record in self.records if math.isfinite(record.get(name, math.nan))]
            if scored:
                return max(scored, key=lambda record: goodness(name, record[name]))
        return self.records[-1]

    def knobs(self) -> dict[str, str]:
        """The knobs of the recipe and the classes of network, loss and optimiser, as text."""
        knobs = {name: value for name, value in plain_knobs(self.config).items() if name not in PLACES}
        for name in OBJECTS:
            entry = self.config.get(name)
            target = entry.get("_target_") if isinstance(entry, Mapping) else None
            if target is not None:
                knobs[name] = target.rsplit(".", 1)[-1]
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in knobs.items()}


def goodness(metric: str, value: float | None) -> float:
    """Larger is better: Dice as it is, losses and times turned round; no number is the worst."""
    if value is None or not math.isfinite(value):
        return -math.inf
    return value if "dice" in metric else -value


def compare(runs: Sequence[Run], sort: str) -> list[dict[str, Any]]:
    """One row a run, the best first; a run without the metric comes last.

    Args:
        runs: at least one.
        sort: a training or validation metric of metrics.jsonl, ``test_mean_dice`` or ``minutes``.

    Returns:
        Rows of the same keys: run, epochs, best_epoch, the metrics at that epoch, test_mean_dice, minutes, and each
        knob that is not the same in all runs. An entry that a run lacks is None.

    Raises:
        InputError: no run has that metric.
    """
    metrics = list(dict.fromkeys(name for run in runs for record in run.records for name in record))
    metrics = [name for name in metrics if name.startswith(("train_", "val_"))]
    if sort not in (*metrics, TEST, MINUTES):
        raise InputError(
            f"--sort {sort}: no run has that metric; choose one of {', '.join([*metrics, TEST, MINUTES])}."
        )
    knobs = [run.knobs() for run in runs]
    differing = [
        name for name in dict.fromkeys(name for found in knobs for name in found)
        if len({found.get(name) for found in knobs}) > 1
    ]  # fmt: skip
    rows = []
    for run, found in zip(runs, knobs, strict=True):
        best = run.best(sort)
        wanted = run.config.get("epochs")
        rows.append(
            {
                "run": str(run.folder),
                "epochs": f"{run.records[-1]['epoch']}/{wanted}" if wanted else str(run.records[-1]["epoch"]),
                "best_epoch": best["epoch"],
                **{name: best.get(name) for name in metrics},
                TEST: run.test,
                MINUTES: sum(record.get("seconds", 0.0) for record in run.records) / 60,
                **{name: found.get(name) for name in differing},
            }
        )
    return sorted(rows, key=lambda row: goodness(sort, row[sort]), reverse=True)


def find_runs(folders: Sequence[Path], output_dir: Path) -> list[Run]:
    """The given runs, or all in ``output_dir`` that have finished an epoch.

    Raises:
        InputError: a given folder is no run's, or there is no run at all.
    """
    if folders:
        return [Run.read(folder) for folder in folders]
    runs = []
    for file in sorted(output_dir.glob(f"*/{METRICS_FILE}")):
        try:
            runs.append(Run.read(file.parent))
        except InputError as error:
            logger.warning("passed over: %s", error)
    if not runs:
        raise InputError(
            f"{output_dir}: holds no run that has finished an epoch; give --output_dir or folders of runs."
        )
    return runs


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as aligned text; folders by their names where those tell the runs apart."""
    names = [Path(row["run"]).name for row in rows]
    labels = names if len(set(names)) == len(names) else [row["run"] for row in rows]
    shown = [{**row, "run": label} for row, label in zip(rows, labels, strict=True)]
    columns = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    cells = [[cell(row[name], name == "run") for name in columns] for row in shown]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in (columns, *cells)
    ]
    return "\n".join(lines)


def cell(value: Any, whole: bool = False) -> str:
    """A value for the eye: four digits of a number, a long text cut short."""
    text = "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
    return text if whole or len(text) <= WIDEST else text[: WIDEST - 3] + "..."


def write_csv(rows: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Write all rows whole."""
    with write_aside(target) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; write the CSV and the figure that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.compare", description="Runs side by side, best first.")
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN_DIR", help="run folders; default: all of output_dir")
    parser.add_argument("--output_dir", type=Path, default=Path("runs"), help="folder of run folders")
    parser.add_argument("--sort", default=DEFAULT_SORT, help=f"a metric of metrics.jsonl, {TEST} or {MINUTES}")
    parser.add_argument("--csv", type=Path, help="also write the table, uncut, to this file")
    parser.add_argument("--figure", type=Path, help="also draw validation Dice and training loss, as PNG")
    return one_sentence(lambda: _compare(parser.parse_args(argv)))


def _compare(arguments: argparse.Namespace) -> int:
    runs = find_runs(arguments.runs, arguments.output_dir)
    rows = compare(runs, arguments.sort)
    print(table(rows))
    if arguments.csv:
        write_csv(rows, arguments.csv)
    if arguments.figure:
        records = {str(run.folder): run.records for run in runs}
        plot_runs({row["run"]: records[row["run"]] for row in rows}, arguments.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
