"""What choices of inference bring, on the weights that benchmarks/accuracy.py kept of our recipe.

    python benchmarks/inference_choices.py run --minutes 10
    python benchmarks/inference_choices.py table --minutes 10

Nothing is trained: the test cases of each fold are segmented by its network in every way, so each difference is paired.
The rule for small enhancing tumours is a volume from the literature, tuned on none of these cases.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timing  # noqa: F401  puts bundle/ on the path
from accuracy_folds import FOLDS
from accuracy_scores import EMPTY_REGIONS, scores
from accuracy_sides import OURS, make_side
from accuracy_statistics import COLUMNS, PRESENT, column, interval, markdown, row, span
from kept_results import by_recipe, load
from kept_runs import Trained, answer, command_line, judge_one_side
from scripts.files import write_json

CHOICES = "inference_choices"
DEFAULT = "default"
# Enhancing tumour of less than 200 voxels of 1 mm in a case is called core: Isensee et al. 2018, "No New-Net",
# 10.1007/978-3-030-11726-9_21; components of fewer than 100 of them are removed from all regions.
SMALL_ENHANCING = {"min_enhancing_mm3": 200.0}
SMALL_COMPONENTS = {"min_component_mm3": {"TC": 100.0, "WT": 100.0, "ET": 100.0}}
# Knobs of configs/inference.json; rules are written to a file that the knob postprocessing_rules names.
WAYS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "flips": {"tta_axes": [0, 1, 2]},
    "overlap of 0.75": {"window_overlap": 0.75},
    "one pass, whatever the size": {"one_pass_ratio": 100.0},
}
RULES: dict[str, Mapping[str, Any]] = {
    "small enhancing tumour is core": SMALL_ENHANCING,
    "small components removed": SMALL_COMPONENTS,
}


def ways(folder: Path) -> dict[str, dict[str, Any]]:
    """All ways with their knobs; the rules' files are written to ``folder``."""
    found = dict(WAYS)
    for name, rules in RULES.items():
        file = folder / f"{name.replace(' ', '_')}.json"
        write_json(file, {"rules": dict(rules)})
        found[name] = {"postprocessing_rules": str(file)}
    return found


def find(trained: Trained) -> dict[str, Any]:
    """Dice and CPU seconds of a run's test cases, segmented in every way."""
    run, fold, place = trained.run, trained.fold, trained.work_dir / CHOICES / trained.run.name
    found: dict[str, Any] = {}
    for name, knobs in ways(place).items():
        folder = place / name.replace(" ", "_")
        side = make_side(OURS, fold, trained.folder, run.configs, {**run.knobs, **knobs})
        started = time.process_time()
        side.apply(fold.test, folder, full=True)
        seconds = (time.process_time() - started) / len(fold.test)
        found[name] = {"dice": scores(fold.test, folder, fold.label_scheme), "cpu_s_per_case": seconds}
    return {"ways": found}


def text(folder: Path, minutes: float, folds: int = FOLDS) -> str:
    """A table of each recipe in Markdown.

    Raises:
        InputError: nothing has been run with that budget, or what has does not belong together.
    """
    found = by_recipe(load(folder, minutes, folds))
    return "\n\n".join(recipe_text(name, results, minutes, folds) for name, results in found.items())


def recipe_text(recipe: str, found: Sequence[Mapping[str, Any]], minutes: float, folds: int) -> str:
    """A line a way: its cost, how many cases it changes, and its Dice less the default's."""
    rows = []
    for name in found[0]["ways"]:
        values, differences = [], []
        for result in found:
            for case, dice in result["ways"][name]["dice"].items():
                empty = result[EMPTY_REGIONS][case]
                values.append(row(dice, empty))
                differences.append(np.subtract(values[-1], row(result["ways"][DEFAULT]["dice"][case], empty)))
        changed = sum(bool(np.nan_to_num(difference).any()) for difference in differences)
        seconds = np.mean([result["ways"][name]["cpu_s_per_case"] for result in found])
        cells = [name, f"{seconds:.1f}", f"{changed} of {len(values)}", f"{column(values, PRESENT).mean():.3f}"]
        told = [span(interval(column(differences, one)), sign="+") if name != DEFAULT else "" for one in COLUMNS]
        rows.append([*cells, *told])
    head = ["", "CPU s a case", "cases changed", PRESENT, *(f"{one}, less the default's" for one in COLUMNS)]
    title = (
        f"Dice of {recipe} after {minutes:g} CPU minutes of training, {folds} folds, and what it is more than the "
        "default's:"
    )
    return "\n".join([title, "", *markdown(head, rows)])


def main(argv: list[str] | None = None) -> int:
    """Run or tabulate."""
    root, _ = command_line(__doc__, (OURS,))
    return answer(root.parse_args(argv), CHOICES, text, partial(judge_one_side, __file__, CHOICES, OURS, find))


if __name__ == "__main__":
    sys.exit(main())
