"""Results that benchmarks/accuracy.py or a judge of its weights kept: read, held together, and named."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accuracy_bundle import BUNDLE
from accuracy_folds import FOLDS
from accuracy_identity import WEIGHTS, require_alike
from accuracy_run import Run
from accuracy_sides import OURS, SIDES, recipe_name
from scripts.errors import InputError
from scripts.files import read_json


def restored(run: Run, results: Path) -> Run:
    """A run that is known by its names alone, with the overrides that its result notes.

    Raises:
        InputError: a config that the result notes is not in the bundle, or two there have its name.
    """
    file = run.result_file(results)
    if run.variant == OURS or not file.is_file():
        return run
    noted = read_json(file, "result")
    configs = []
    for name in noted.get("configs", ()):
        found = sorted((BUNDLE / "configs").glob(f"**/{name}"))
        if len(found) != 1:
            raise InputError(
                f"{file}: was trained with {name}, of which {BUNDLE / 'configs'} has {len(found)}, and one is wanted; "
                "judge it with the bundle that it was trained with."
            )
        configs += found
    return dataclasses.replace(run, configs=tuple(configs), knobs=noted.get("knobs", {}))


def load(folder: Path, minutes: float, folds: int = FOLDS) -> list[dict[str, Any]]:
    """The results of one budget in a folder, in the order of their names.

    Args:
        folder: of results, beside that of the runs themselves.
        minutes: the budget.
        folds: how many there are.

    Raises:
        InputError: there are none, they do not belong together, or a run has been trained anew since.
    """
    found = {file: read_json(file, "result") for file in sorted(folder.glob("*.json"))}
    found = {
        file: result
        for file, result in found.items()
        if (result.get("minutes"), result.get("folds")) == (minutes, folds)
    }
    if not found:
        raise InputError(
            f"{folder}: holds no result of {minutes:g} minutes in {folds} folds; run benchmarks/{folder.name}.py run "
            "first."
        )
    require_alike(found)
    for file, result in found.items():
        # The weights of an ensemble are those of each member, by variant.
        weights = result.get(WEIGHTS)
        members = weights if isinstance(weights, dict) else {result["variant"]: weights}
        for variant, digest in members.items():
            run = Run(result["side"], minutes, result["fold"], variant, folds=folds).result_file(folder.parent)
            if run.is_file() and read_json(run, "result").get(WEIGHTS) != digest:
                raise InputError(
                    f"{file}: is of other weights than {run} has now; run benchmarks/{folder.name}.py run again."
                )
    return list(found.values())


def by_recipe(results: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Results under their recipes' names: the sides as they are in their order, then variants by name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        found.setdefault(recipe_name(result["side"], result["variant"]), []).append(result)
    names = [*(side for side in SIDES if side in found), *sorted(found.keys() - SIDES)]
    return {name: found[name] for name in names}
