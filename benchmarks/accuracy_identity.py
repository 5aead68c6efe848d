"""What a result of benchmarks/accuracy.py was made from, so that one that is out of date is told from one that is not.

A result is found by its side, budget and fold; digests in it tell the rest: the recipe (the merged config, without
paths and descriptions), the cases with their grids, and the weights. The code of the bundle is in no digest: after a
change of it that matters, remove the results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import timing  # noqa: F401  puts bundle/ on the path
from accuracy_folds import Fold
from accuracy_side import Side
from scripts.errors import InputError

RECIPE, CASES, WEIGHTS = "recipe_sha256", "cases_sha256", "weights_sha256"
DEVICE = "device"
# By which a result is found.
RUN_KEYS = ("side", "variant", "minutes", "fold", "folds")
DESCRIPTIONS = ("_desc_", "_meta_")


def identity(side: Side, fold: Fold) -> dict[str, str]:
    """``RECIPE`` and ``CASES`` of a run; the same in all folds and for all budgets."""
    return {RECIPE: digest(undescribed(side.recipe())), CASES: digest(grids(fold))}


def digest(content: Any) -> str:
    """SHA-256 in hexadecimal of what JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def undescribed(config: Any) -> Any:
    """A config without what it says to people."""
    if isinstance(config, Mapping):
        return {key: undescribed(value) for key, value in config.items() if key not in DESCRIPTIONS}
    return [undescribed(value) for value in config] if isinstance(config, (list, tuple)) else config


def grids(fold: Fold) -> dict[str, list[float]]:
    """Case to sides in voxels and voxel size in mm, of all cases: another resampling of a data set has its names."""
    headers = {item["case"]: nib.load(item["label"]).header for item in (*fold.training, *fold.test)}
    return {
        case: [*map(int, header.get_data_shape()), *(round(float(size), 4) for size in header.get_zooms())]
        for case, header in headers.items()
    }


def require_current(file: Path, result: Mapping[str, Any], side: Side, fold: Fold) -> None:
    """Refuse a kept result that a run would not give now.

    Args:
        file: of the result, for the message.
        result: what it holds.
        side, fold: as they are made now.

    Raises:
        InputError: recipe, cases or the fold's test part have changed.
    """
    now = identity(side, fold) | {"test": [item["case"] for item in fold.test]}
    for key, what in ((RECIPE, "another recipe"), (CASES, "other cases"), ("test", "other test cases")):
        if result.get(key) != now[key]:
            raise InputError(
                f"{file}: is of {what} ({short(result.get(key))}) than this run would be ({short(now[key])}); remove "
                "the file to run it anew, or give the change a name of its own by --variant."
            )


def require_alike(results: Mapping[Path, Mapping[str, Any]]) -> None:
    """Refuse to tabulate results that do not belong together.

    Args:
        results: by file.

    Raises:
        InputError: two are of other devices or other cases, or two of the same side and variant of other recipes.
    """
    first: dict[tuple[str, ...], Path] = {}
    for file, result in results.items():
        if missing := [key for key in RUN_KEYS if key not in result]:
            raise InputError(f"{file}: is no result of a run, as it has no {missing[0]}; move it out of the folder.")
        for key, what, group in (
            (DEVICE, "another device", (DEVICE,)),
            (CASES, "other cases", (CASES,)),
            (RECIPE, "another recipe", (RECIPE, result["side"], result["variant"])),
        ):
            known = first.setdefault(group, file)
            if key not in result or result[key] != results[known].get(key):
                raise InputError(
                    f"{file}: is of {what} ({short(result.get(key))}) than {known.name} "
                    f"({short(results[known].get(key))}); remove the one that is out of date and run it anew."
                )


def short(value: Any) -> str:
    """The beginning of a digest, or a name or names as they are."""
    if value is None:
        return "not recorded"
    if isinstance(value, str):
        return value[:8] if len(value) == 2 * hashlib.sha256().digest_size else value
    return " ".join(map(str, value))
