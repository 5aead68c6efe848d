"""Runs over the weights that benchmarks/accuracy.py kept: what robustness, uncertainty and inference_choices share."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timing
import torch
from accuracy import DATASET_DIR, LEAST_FOLDS
from accuracy_folds import FOLDS, Fold, make_fold
from accuracy_identity import CASES, DEVICE, RECIPE, RUN_KEYS, WEIGHTS, require_current
from accuracy_run import RESULTS, Run, default_work_dir
from accuracy_scores import EMPTY_REGIONS
from accuracy_side import Side
from accuracy_sides import OURS, make_side, recipe_name
from accuracy_statistics import NOTES
from kept_results import restored
from scripts.checkpoints import sha256
from scripts.errors import InputError, one_sentence
from scripts.files import read_json, write_json


@dataclass(frozen=True)
class Trained:
    """A run whose training has ended.

    Attributes:
        run: which.
        side: with its weights.
        fold: whose test cases it has not seen.
        folder: of the weights.
        work_dir: for what is made of them.
        about: what a result of these weights begins with.
    """

    run: Run
    side: Side
    fold: Fold
    folder: Path
    work_dir: Path
    about: dict[str, Any]


Find = Callable[[Trained], dict[str, Any]]


def judge(name: str, run: Run, dataset_dir: Path, work_dir: Path, results: Path, find: Find) -> None:
    """Write ``name/<run>.json`` in ``results``: what the weights are, and what ``find`` finds out about them.

    Raises:
        InputError: as :func:`open_run`.
    """
    torch.set_num_threads(1)
    trained = open_run(run, dataset_dir, work_dir, results)
    write_json(results / name / f"{run.name}.json", trained.about | find(trained))


def open_run(run: Run, dataset_dir: Path, work_dir: Path, results: Path) -> Trained:
    """A run as benchmarks/accuracy.py has left it.

    Args:
        run: what benchmarks/accuracy.py has trained.
        dataset_dir: the cases.
        work_dir: where it kept the weights.
        results: where it kept the result, which it writes when the training has ended.

    Raises:
        InputError: the training has not ended, was that of another recipe or of other cases, or its weights are gone.
    """
    file = run.result_file(results)
    if not file.is_file():
        raise InputError(f"{file}: is not there, so this run has not ended; run benchmarks/accuracy.py run first.")
    result = read_json(file, "result")
    fold = make_fold(dataset_dir, run.fold, run.folds)
    folder = work_dir / run.kind / run.name
    side = make_side(run.side, fold, folder, run.configs, run.knobs)
    require_current(file, result, side, fold)
    if not side.weights.is_file():
        raise InputError(
            f"{side.weights}: is not there, though {file} is; give the run's own --work_dir, or run it anew."
        )
    if sha256(side.weights) != result.get(WEIGHTS):
        raise InputError(
            f"{side.weights}: holds other weights than {file} is of, such as those of a training that has not ended; "
            "let it end, or run it anew."
        )
    kept = {key: result[key] for key in (*RUN_KEYS, DEVICE, EMPTY_REGIONS, RECIPE, CASES, WEIGHTS)}
    return Trained(run, side, fold, folder, work_dir, kept | {"machine": timing.machine()})


def command_line(
    description: str | None, sides: Sequence[str]
) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The parser of ``run`` and ``table``, and that of ``run`` alone, to which options may be added.

    Args:
        description: of the program.
        sides: to choose from, as they are or a variant; none where the program has its own way to name runs.
    """
    root = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = root.add_subparsers(dest="command", required=True)
    run, table = commands.add_parser("run"), commands.add_parser("table")
    for command in (run, table):
        command.add_argument("--minutes", type=float, required=True, help="the budget of the runs")
        command.add_argument("--folds", type=int, default=FOLDS, help=f"how many there are (default: {FOLDS})")
        command.add_argument("--results_dir", type=Path, default=RESULTS, help="of the JSON files")
    if sides:
        run.add_argument("--side", choices=sides, help="one side (default: all)")
        run.add_argument("--variant", default=OURS, help="of the sides' recipes, by its name (default: as they are)")
    run.add_argument("--fold", type=int, help="one fold, from 0 (default: all)")
    run.add_argument("--dataset_dir", type=Path, default=DATASET_DIR)
    run.add_argument("--work_dir", type=Path, default=default_work_dir())
    return root, run


def answer(
    options: argparse.Namespace,
    name: str,
    text: Callable[[Path, float, int], str],
    run: Callable[[argparse.Namespace], int],
) -> int:
    """Do what a command line asks: print the table, or run; its exit status.

    Args:
        options: of :func:`command_line`.
        name: of the folder of results.
        text: the table of a folder of results, a budget and a number of folds.
        run: what ``run`` does.
    """

    def asked() -> int:
        if options.command == "run":
            return run(options)
        sys.stdout.write(text(options.results_dir / name, options.minutes, options.folds) + "\n\n" + NOTES + "\n")
        return 0

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stdout)
    return one_sentence(asked)


def chosen_folds(options: argparse.Namespace) -> list[int]:
    """The folds that a command line names, or all.

    Raises:
        InputError: there are too few, or no such one.
    """
    if options.folds < LEAST_FOLDS:
        raise InputError(f"--folds {options.folds}: at least {LEAST_FOLDS} are wanted, to train and to test.")
    if options.fold is None:
        return list(range(options.folds))
    if not 0 <= options.fold < options.folds:
        raise InputError(f"--fold {options.fold}: there are {options.folds} folds, from 0 to {options.folds - 1}.")
    return [options.fold]


def run_each(
    script: str,
    name: str,
    sides: Sequence[str],
    options: argparse.Namespace,
    more: Sequence[str] = (),
    lacks: Callable[[dict[str, Any]], bool] = lambda result: False,
) -> int:
    """Start a script for each run that has ended and is not yet judged by it; stop at the first that fails.

    A process a run: nnU-Net keeps its folders in the environment that it was imported with.

    Args:
        script: to be started, with ``run``, one side and one fold.
        name: of its folder of results.
        sides: those that it knows.
        options: of :func:`command_line`.
        more: its own options, as words of the command line.
        lacks: whether a result that is there lacks something that the options ask for.

    Raises:
        InputError: there is no such fold, or no such run has ended.
    """
    chosen = [
        Run(side, options.minutes, fold, options.variant, folds=options.folds)
        for fold in chosen_folds(options)
        for side in ([options.side] if options.side else sides)
    ]
    ended = [run for run in chosen if run.result_file(options.results_dir).is_file()]
    if not ended:
        names = ", ".join(dict.fromkeys(recipe_name(run.side, run.variant) for run in chosen))
        raise InputError(
            f"{options.results_dir}: holds no trained run of {names}, {options.minutes:g} minutes, fold "
            f"{' '.join(str(fold) for fold in chosen_folds(options))} of {options.folds}; run benchmarks/accuracy.py "
            "run first."
        )
    for run in (run for run in ended if not is_judged(run, options.results_dir, name, lacks)):
        command = [sys.executable, script, "run", "--side", run.side, "--minutes", f"{run.minutes:g}"]
        command += ["--fold", str(run.fold), "--folds", str(run.folds), "--variant", run.variant]
        command += ["--dataset_dir", str(options.dataset_dir)]
        command += ["--work_dir", str(options.work_dir), "--results_dir", str(options.results_dir), *more]
        code = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode
        if code:
            return code
    return 0


def judge_one_side(script: str, name: str, side: str, find: Find, options: argparse.Namespace) -> int:
    """Judge the runs of one side alone, or one of them; the exit status.

    Args:
        script: as in :func:`run_each`.
        name: of its folder of results.
        side: which one.
        find: as :func:`judge` takes it.
        options: of :func:`command_line`.

    Raises:
        InputError: what is asked for cannot be done.
    """
    if options.fold is None:
        return run_each(script, name, (side,), options)
    run = restored(Run(side, options.minutes, options.fold, options.variant, folds=options.folds), options.results_dir)
    judge(name, run, options.dataset_dir, options.work_dir, options.results_dir, find)
    return 0


def is_judged(run: Run, results: Path, name: str, lacks: Callable[[dict[str, Any]], bool]) -> bool:
    """Whether the folder ``name`` of ``results`` has a whole result of the weights that the run has now."""
    file = results / name / f"{run.name}.json"
    if not file.is_file():
        return False
    result, now = read_json(file, "result"), read_json(run.result_file(results), "result")
    return result.get(WEIGHTS) == now.get(WEIGHTS) and not lacks(result)
