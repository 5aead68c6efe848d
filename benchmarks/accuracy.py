"""Which recipe segments best after equal minutes: ours, the Model Zoo's, nnU-Net v2, or the published AWS one.

    python benchmarks/accuracy.py run --side ours --minutes 10 --fold 0     # one run, one process, one JSON
    python benchmarks/accuracy.py run --all --minutes 10 40                 # all that are absent, one after the other
    python benchmarks/accuracy.py run --all --side ours --variant ema --set ema_decay=0.99 --minutes 6 --folds 2
    python benchmarks/accuracy.py table                                     # what they come to, and a figure

Same patients, same folds (each patient is tested once), one thread, equal minutes of the training's CPU time (wall time
with --device cuda, which has not been tried on a GPU); planning, preprocessing, caching, checkpoints and scoring are
outside. Every side's schedule is fitted to the budget. The final
weights are scored: no side validates. What a run does is told in accuracy_run.py, the sides in accuracy_sides.py.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import timing
from accuracy_changes import changes_text
from accuracy_device import CPU, DEVICES, Device
from accuracy_figure import draw
from accuracy_folds import FOLDS, Fold, make_fold
from accuracy_identity import require_current
from accuracy_run import ABLATION, ACCURACY, RESULTS, Run, default_work_dir, execute, folder_of
from accuracy_sides import OURS, SIDES, config_file, make_side
from accuracy_statistics import NOTES
from accuracy_table import Group, load, text
from scripts.errors import InputError, one_sentence
from scripts.files import read_json

MINUTES = (10.0, 40.0)
LEAST_FOLDS = 2
DATASET_DIR = timing.ROOT.parent / "shared/data/Task01_BrainTumour_2mm"


def knob(text: str) -> tuple[str, Any]:
    """``name=value``, the value as JSON where it is such, else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not knob=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def chosen(options: argparse.Namespace) -> list[Run]:
    """The runs that the command line names.

    Raises:
        InputError: a single run is not fully named, or a variant has no name or no side.
    """
    if not options.all and not (options.side and len(options.minutes) == 1 and options.fold is not None):
        raise InputError("one run needs --side, one --minutes and --fold; or give --all for all that are absent.")
    has_overrides = bool(options.config or options.knobs)
    if has_overrides != (options.variant != OURS):
        raise InputError("overrides make another recipe, and another recipe has overrides; give both or neither.")
    if has_overrides and not options.side:
        raise InputError(f"variant '{options.variant}' is of no side; add --side, such as --side {OURS}.")
    sides = [options.side] if options.side else list(SIDES)
    if options.folds < LEAST_FOLDS:
        raise InputError(f"--folds {options.folds}: at least {LEAST_FOLDS} are wanted, to train and to test.")
    if options.fold is not None and not 0 <= options.fold < options.folds:
        raise InputError(f"--fold {options.fold}: there are {options.folds} folds, from 0 to {options.folds - 1}.")
    folds = range(options.folds) if options.fold is None else [options.fold]
    configs = tuple(config_file(name) for name in options.config)
    device = DEVICES[options.device]
    return [
        Run(side, minutes, fold, options.variant, configs, dict(options.knobs), options.folds, device)
        for minutes in options.minutes
        for fold in folds
        for side in sides
    ]


def run_all(runs: list[Run], options: argparse.Namespace) -> int:
    """Start a process for each run that has no result yet, one after the other; stop at the first that fails.

    Raises:
        InputError: before any of them: a side cannot run here, or a result that is there is not what would come now.
    """
    numbers = sorted({run.fold for run in runs})
    folds = {number: make_fold(options.dataset_dir, number, options.folds) for number in numbers}
    waiting = [run for run in runs if not is_done(run, folds[run.fold], options)]
    for run in waiting:
        command = [sys.executable, __file__, "run", "--side", run.side, "--minutes", f"{run.minutes:g}"]
        command += ["--fold", str(run.fold), "--folds", str(run.folds), "--variant", run.variant]
        command += ["--device", run.device.name]
        command += ["--work_dir", str(options.work_dir), "--dataset_dir", str(options.dataset_dir)]
        command += ["--results_dir", str(options.results_dir)]
        command += [word for file in run.configs for word in ("--config", str(file))]
        command += [word for name, value in run.knobs.items() for word in ("--set", f"{name}={json.dumps(value)}")]
        threads = {} if run.device.is_gpu else {"OMP_NUM_THREADS": "1"}
        code = subprocess.run(command, env={**os.environ, **threads}, check=False).returncode
        if code:
            return code
    return 0


def is_done(run: Run, fold: Fold, options: argparse.Namespace) -> bool:
    """Whether a run has its result.

    Raises:
        InputError: its side cannot run here, or the result is of another recipe or of other cases.
    """
    side = make_side(run.side, fold, options.work_dir, run.configs, run.knobs, run.device)
    file = run.result_file(options.results_dir)
    if not file.is_file():
        return False
    require_current(file, read_json(file, "result"), side, fold)
    return True


def tables(kind: str, results: Path, device: Device) -> tuple[list[Group], str]:
    """The kept results of one kind, and what they come to in Markdown.

    Args:
        kind: ``ACCURACY`` or ``ABLATION``.
        results: folder of results.
        device: what was trained on.

    Raises:
        InputError: there are none, or they do not belong together.
    """
    folder = results / folder_of(kind, device)
    groups = load(folder)
    if not groups:
        raise InputError(f"{folder}: holds no results; run python benchmarks/accuracy.py run --all first.")
    return groups, (text if kind == ACCURACY else changes_text)(groups, device.unit)


def tabulate(kind: str, results: Path, device: Device) -> None:
    """Print the tables, and draw the curves of systems side by side; of a dozen variants they would lie on one another.

    Raises:
        InputError: see :func:`tables`.
    """
    groups, told = tables(kind, results, device)
    sys.stdout.write(f"{NOTES}\n\n{told}\n")
    if kind == ACCURACY:
        draw(groups, results / folder_of(kind, device) / "curve.png", device.unit)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = root.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train and score: one run, or with --all those that have no result yet")
    run.add_argument("--side", choices=list(SIDES))
    run.add_argument("--minutes", type=float, nargs="+", default=list(MINUTES), help="of training, CPU or wall")
    run.add_argument("--fold", type=int, help="its number, from 0")
    run.add_argument("--folds", type=int, default=FOLDS, help="how many parts the patients are dealt into")
    run.add_argument("--all", action="store_true", help="every run that the other options leave open")
    run.add_argument("--variant", default=OURS, help="name of a set of overrides, for an ablation")
    run.add_argument("--config", action="append", default=[], help="override file, from bundle/ or anywhere; repeat")
    run.add_argument("--set", action="append", default=[], type=knob, dest="knobs", metavar="KNOB=VALUE")
    run.add_argument("--dataset_dir", type=Path, default=DATASET_DIR, help="the cases, in any layout of the bundle's")
    run.add_argument("--work_dir", type=Path, default=default_work_dir(), help="for weights and label volumes")
    table = commands.add_parser("table", help="print what the results come to; draw results/accuracy/curve.png")
    for command in (run, table):
        command.add_argument("--device", choices=list(DEVICES), default=CPU.name, help="what is trained on")
        command.add_argument("--results_dir", type=Path, default=RESULTS, help="of the JSON files")
    table.add_argument(
        "--ablation", action="store_true", help="of other folds than these: what changes of our recipe bring"
    )
    return root


def main(argv: list[str] | None = None) -> int:
    """Run or tabulate."""
    options = parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stdout)
    logging.getLogger("accuracy_run").setLevel(logging.INFO)

    def work() -> int:
        if options.command == "table":
            kind = ABLATION if options.ablation else ACCURACY
            tabulate(kind, options.results_dir, DEVICES[options.device])
            return 0
        runs = chosen(options)
        if options.all:
            return run_all(runs, options)
        execute(runs[0], options.dataset_dir, options.work_dir, options.results_dir)
        return 0

    return one_sentence(work)


if __name__ == "__main__":
    sys.exit(main())
