"""What rules of postprocessing bring that are tuned on validation cases alone, on the weights that accuracy.py kept.

    python benchmarks/tuned_rules.py run --minutes 10
    python benchmarks/tuned_rules.py table --minutes 10

Nothing is trained. A rule is taken if its gain is more than its standard error over patients, and, for comparison, if
there is any gain. Each patient's probabilities come from the network that has not seen it; the rules for the patients
of a fold are those that ``python -m scripts.tune_postprocessing`` would choose on the patients of all other folds,
whose networks, as in any cross-validation, were trained on the fold's own patients too. A fold that is run later
changes what the others' rules are tuned on, so all folds are run in one go.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timing  # noqa: F401  puts bundle/ on the path
import torch
from accuracy_folds import FOLDS
from accuracy_run import Run
from accuracy_scores import scores
from accuracy_sides import OURS, PUBLISHED, make_side
from inference_choices import DEFAULT, recipe_text
from kept_results import by_recipe, load, restored
from kept_runs import Trained, answer, chosen_folds, command_line, open_run
from scripts.errors import InputError
from scripts.files import write_json
from scripts.labels import REGIONS
from scripts.rule_search import LEAST_ERRORS, Search, TunedCase
from scripts.tune_postprocessing import read_case

RULES = "tuned_rules"
# nnU-Net writes label maps without probabilities.
SIDES = (OURS, PUBLISHED)
TUNED, GREEDY = "rules tuned on the other folds", "rules that took any gain there"
# Way to the standard errors that a gain must be more than.
WAYS = {TUNED: LEAST_ERRORS, GREEDY: 0.0}


def find(trained: Sequence[Trained]) -> list[dict[str, Any]]:
    """What the rules of the other folds bring in each fold.

    Args:
        trained: runs of one recipe in two folds or more.

    Returns:
        A result a run, in their order.
    """
    for one in trained:
        segment(one, "probabilities", {"save_probabilities": True})
    held_out = [held_out_cases(one) for one in trained]
    found = []
    for number, one in enumerate(trained):
        others = [case for other, cases in enumerate(held_out) if other != number for case in cases]
        search, ways, chosen = Search(others, REGIONS), {DEFAULT: segment(one, "default", {})}, {}
        for way, errors in WAYS.items():
            rules, _ = search.best(errors=errors)
            file = place(one, f"{errors:g}.json")
            write_json(file, {"rules": asdict(rules)})
            ways[way] = segment(one, f"{errors:g}", {"postprocessing_rules": str(file)})
            chosen[way] = asdict(rules)
        found.append({"ways": ways, "rules": chosen, "tuned_on": [case.name for case in others]})
    return found


def place(trained: Trained, name: str) -> Path:
    """A file or folder of a run."""
    return trained.work_dir / RULES / trained.run.name / name


def segment(trained: Trained, name: str, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Dice and CPU seconds of a run's test cases, with knobs of inference of their own."""
    run, fold = trained.run, trained.fold
    side = make_side(run.side, fold, trained.folder, run.configs, {**run.knobs, **knobs})
    started = time.process_time()
    side.apply(fold.test, place(trained, name), full=True)
    seconds = (time.process_time() - started) / len(fold.test)
    return {"dice": scores(fold.test, place(trained, name), fold.label_scheme), "cpu_s_per_case": seconds}


def held_out_cases(trained: Trained) -> list[TunedCase]:
    """The test cases of a fold with the probabilities of its network."""
    fold, folder = trained.fold, place(trained, "probabilities")
    return [read_case(item, folder, fold.label_scheme, REGIONS) for item in fold.test]


def text(folder: Path, minutes: float, folds: int = FOLDS) -> str:
    """A table of each recipe in Markdown, and the rules of each fold.

    Raises:
        InputError: nothing has been run with that budget, or what has does not belong together.
    """
    told = []
    for name, results in by_recipe(load(folder, minutes, folds)).items():
        refuse_other_folds(folder, name, results)
        chosen = [f"- {name}, fold {result['fold']}: {in_words(result['rules'][TUNED])}" for result in results]
        told.append("\n".join([recipe_text(name, results, minutes, folds), "", *chosen]))
    return "\n\n".join(told)


def refuse_other_folds(folder: Path, name: str, results: Sequence[Mapping[str, Any]]) -> None:
    """Refuse results whose rules were not tuned on the cases of the other folds that there are.

    Raises:
        InputError: naming the fold.
    """
    tested = [set(result["ways"][DEFAULT]["dice"]) for result in results]
    for number, result in enumerate(results):
        others = set().union(*(cases for other, cases in enumerate(tested) if other != number))
        if set(result["tuned_on"]) != others:
            raise InputError(
                f"{folder}: the rules of {name}, fold {result['fold']}, were tuned on {len(result['tuned_on'])} cases, "
                f"but the other folds there have {len(others)}; run benchmarks/tuned_rules.py run again."
            )


def in_words(rules: Mapping[str, Any]) -> str:
    """Rules as one line, without those that do nothing."""
    words = [f"{region} above {value:g}" for region, value in rules["thresholds"].items()]
    if rules["min_enhancing_mm3"]:
        sure = rules["sure_enhancing"]
        unless = "" if sure is None else f" unless its mean probability is {sure:g} or more"
        words.append(f"less than {rules['min_enhancing_mm3']:g} mm3 of ET are core{unless}")
    words += [f"{region} components of {value:g} mm3 or more" for region, value in rules["min_component_mm3"].items()]
    return ", ".join(words) or "none"


def main(argv: list[str] | None = None) -> int:
    """Run or tabulate."""
    root, _ = command_line(__doc__, SIDES)
    return answer(root.parse_args(argv), RULES, text, _run)


def _run(options: argparse.Namespace) -> int:
    results = options.results_dir
    if options.fold is not None:
        raise InputError(f"--fold {options.fold}: rules for a fold are tuned on the others; leave it out.")
    torch.set_num_threads(1)
    found = {side: ended_runs(side, options) for side in ([options.side] if options.side else SIDES)}
    if not any(found.values()):
        raise InputError(
            f"{results}: holds no two folds of {' or '.join(found)} of {options.minutes:g} minutes, variant "
            f"{options.variant}, but rules are tuned on other folds than they are tried on; run benchmarks/accuracy.py "
            "run first."
        )
    for runs in found.values():
        trained = [open_run(run, options.dataset_dir, options.work_dir, results) for run in runs]
        for one, made in zip(trained, find(trained), strict=True):
            write_json(results / RULES / f"{one.run.name}.json", one.about | made)
    return 0


def ended_runs(side: str, options: argparse.Namespace) -> list[Run]:
    """The folds of a side that have a result; none where there is but one."""
    runs = [Run(side, options.minutes, fold, options.variant, folds=options.folds) for fold in chosen_folds(options)]
    ended = [run for run in runs if run.result_file(options.results_dir).is_file()]
    return [restored(run, options.results_dir) for run in ended] if len(ended) > 1 else []


if __name__ == "__main__":
    sys.exit(main())
