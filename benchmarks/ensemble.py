"""What the mean of several trainings' probabilities brings, on the weights that benchmarks/accuracy.py kept.

    python benchmarks/ensemble.py run --minutes 5 --folds 2 --members seed44 seed45 seed46
    python benchmarks/ensemble.py table --minutes 5 --folds 2

Nothing is trained: members are variants of our recipe, such as its trainings from other seeds, in the same fold. A
fold's patients are segmented by each member alone and by all together. The ensemble costs its members' minutes in
training and in inference; what more minutes of one training bring is in the tables of accuracy.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timing  # noqa: F401  puts bundle/ on the path
import torch
from accuracy_folds import FOLDS
from accuracy_identity import RECIPE, WEIGHTS, digest
from accuracy_run import Run
from accuracy_scores import EMPTY_REGIONS, scores
from accuracy_sides import OURS
from accuracy_statistics import COLUMNS, column, interval, markdown, row, span
from kept_results import by_recipe, load, restored
from kept_runs import Trained, answer, chosen_folds, command_line, open_run
from scripts.ensemble import refuse_misfit
from scripts.errors import InputError
from scripts.files import write_json

ENSEMBLE = "ensemble"
LEAST_MEMBERS = 2
ALONE, TOGETHER = "alone", "together"


def find(members: Sequence[Trained]) -> dict[str, Any]:
    """Dice of a fold's test cases by each member and by all together.

    Args:
        members: runs of the same minutes in the same fold.

    Returns:
        What a result of the ensemble holds.

    Raises:
        InputError: they are no trainings of one recipe.
    """
    first = members[0]
    for other in members[1:]:
        refuse_misfit(str(first.side.ckpt_dir), str(other.side.ckpt_dir))
    name, fold = "+".join(one.run.variant for one in members), first.fold
    place = first.work_dir / ENSEMBLE / dataclasses.replace(first.run, variant=name).name
    alone = {}
    for one in members:
        one.side.apply(fold.test, place / one.run.variant, full=True)
        alone[one.run.variant] = scores(fold.test, place / one.run.variant, fold.label_scheme)
    first.side.apply(fold.test, place / TOGETHER, full=True, members=[one.side.ckpt_dir for one in members])
    return first.about | {
        "variant": name,
        RECIPE: digest([one.about[RECIPE] for one in members]),
        WEIGHTS: {one.run.variant: one.about[WEIGHTS] for one in members},
        ALONE: alone,
        TOGETHER: scores(fold.test, place / TOGETHER, fold.label_scheme),
    }


def text(folder: Path, minutes: float, folds: int = FOLDS) -> str:
    """A table of each ensemble in Markdown: its members, itself, and what it has more of, case by case.

    Raises:
        InputError: nothing has been run with that budget, or what has does not belong together.
    """
    found = by_recipe(load(folder, minutes, folds))
    return "\n\n".join(ensemble_text(results, minutes, folds) for results in found.values())


def ensemble_text(found: Sequence[Mapping[str, Any]], minutes: float, folds: int) -> str:
    """The table of one ensemble."""
    members = list(found[0][ALONE])
    tables = {name: table_of([(result, result[ALONE][name]) for result in found]) for name in members}
    tables["mean of the members"] = np.mean(list(tables.values()), axis=0)
    tables[f"all {len(members)} together"] = table_of([(result, result[TOGETHER]) for result in found])
    rows = [[name, *(span(interval(column(table, one))) for one in COLUMNS)] for name, table in tables.items()]
    (_, mean), (_, together) = list(tables.items())[-2:]
    gain = np.subtract(together, mean)
    rows.append(["together less the mean", *(span(interval(column(gain, one)), sign="+") for one in COLUMNS)])
    title = f"Dice of {len(gain)} cases after {minutes:g} CPU minutes of training of each member, {folds} folds:"
    return "\n".join([title, "", *markdown(["", *COLUMNS], rows)])


def table_of(found: Sequence[tuple[Mapping[str, Any], Mapping[str, Mapping[str, float]]]]) -> np.ndarray:
    """Values of all cases in the order of ``COLUMNS``, (cases, columns), of results with the scores to take of each."""
    return np.array([row(dice, result[EMPTY_REGIONS][case]) for result, cases in found for case, dice in cases.items()])


def main(argv: list[str] | None = None) -> int:
    """Run or tabulate."""
    root, run = command_line(__doc__, ())
    run.add_argument("--members", nargs="+", required=True, metavar="VARIANT", help="two or more that were run")
    return answer(root.parse_args(argv), ENSEMBLE, text, _run)


def _run(options: argparse.Namespace) -> int:
    results = options.results_dir
    if len(set(options.members)) < max(LEAST_MEMBERS, len(options.members)):
        raise InputError(f"--members {' '.join(options.members)}: two or more are wanted, none of them twice.")
    torch.set_num_threads(1)
    for fold in chosen_folds(options):
        runs = [Run(OURS, options.minutes, fold, name, folds=options.folds) for name in options.members]
        found = find([open_run(restored(run, results), options.dataset_dir, options.work_dir, results) for run in runs])
        name = Run(OURS, options.minutes, fold, found["variant"], folds=options.folds).name
        write_json(results / ENSEMBLE / f"{name}.json", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
