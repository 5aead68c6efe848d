"""A search file: which knobs are tried, with which values, and the list of trials that this gives.

The list is drawn before anything runs and depends on the file alone, so a search that is taken up again, on any
machine, has the same trials under the same names.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.errors import InputError
from scripts.files import read_json

ALGORITHMS = ("grid", "random")
SCHEDULERS = ("none", "asha")
MODES = ("max", "min")
LISTS, RANGES = ("grid", "choice"), ("loguniform", "uniform", "randint")
# Ray's own defaults of ASHA (Li et al. 2020, arXiv 1810.05934): a first look after one epoch, a quarter goes on.
ASHA = {"grace_period": 1, "reduction_factor": 4}
# Of a drawn number: enough to tell trials apart, few enough to read and to type again.
DIGITS = 6


@dataclass(frozen=True)
class Search:
    """What a search file says.

    Attributes:
        name: of the file, without its ending.
        space: knob or config path to one of ``{"grid": [...]}``, ``{"choice": [...]}``,
            ``{"loguniform": [low, high]}``, ``{"uniform": [low, high]}``, ``{"randint": [low, high]}``, ends included.
        epochs: of every trial.
        metric: of metrics.jsonl, by which trials are compared.
        mode: ``max`` or ``min``.
        algorithm: ``grid``, all combinations, or ``random``.
        num_samples: trials of a random search.
        scheduler: settings of ASHA, or None to let every trial run to its end.
        seed: of the random draws; the training's own seed is its knob ``seed``.
        configs: files merged over train.json in every trial, relative to the bundle.
        overrides: knobs that all trials share.
    """

    name: str
    space: dict[str, dict[str, list[Any]]]
    epochs: int
    metric: str = "val_mean_dice"
    mode: str = "max"
    algorithm: str = "grid"
    num_samples: int = 1
    scheduler: dict[str, Any] | None = None
    seed: int = 0
    configs: list[str] = field(default_factory=list)
    overrides: dict[str, Any] = field(default_factory=dict)


def read_search(path: str | Path) -> Search:
    """Read and check a search file.

    Raises:
        InputError: it is absent or not JSON, or an entry is unknown, missing or of the wrong kind.
    """
    content = read_json(path, "search file")
    wanted = {
        "_desc_": object, "space": dict, "algorithm": str, "num_samples": int, "scheduler": (str, dict), "metric": str,
        "mode": str, "epochs": int, "seed": int, "configs": list, "overrides": dict,
    }  # fmt: skip
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; see configs/search/lr_batch_loss.json.")
    for name, value in content.items():
        if name not in wanted:
            raise InputError(f"{path}: has the unknown entry '{name}'; known are {', '.join(wanted)}.")
        if not isinstance(value, wanted[name]) or isinstance(value, bool):
            raise InputError(f"{path}: {name} is {json.dumps(value)}, of the wrong type; see configs/search.")
    for name in ("space", "epochs"):
        if not content.get(name):
            raise InputError(f"{path}: {name} is missing or empty; a search needs one.")
    for name, known in (("algorithm", ALGORITHMS), ("mode", MODES)):
        if content.get(name, known[0]) not in known:
            raise InputError(f"{path}: {name} '{content[name]}' is unknown; choose one of {', '.join(known)}.")
    for name in ("epochs", "num_samples"):
        if content.get(name, 1) < 1:
            raise InputError(f"{path}: {name} is {content[name]}; at least 1 is wanted.")
    algorithm = content.get("algorithm", "grid")
    if algorithm == "grid" and "num_samples" in content:
        raise InputError(f"{path}: a grid has as many trials as combinations; leave num_samples out.")
    for knob, entry in content["space"].items():
        check_entry(f"{path}: {knob}", entry, algorithm)
    fields = {key: value for key, value in content.items() if key != "_desc_"}
    return Search(**(fields | {"name": Path(path).stem, "scheduler": read_scheduler(path, content)}))


def check_entry(where: str, entry: Any, algorithm: str) -> None:
    """Check what the space says of one knob.

    Args:
        where: file and knob, for the message.
        entry: such as ``{"grid": [1, 2]}``.
        algorithm: ``grid`` or ``random``.

    Raises:
        InputError: its kind is unknown, does not fit the algorithm, or has no such values.
    """
    kinds = (*LISTS, *RANGES)
    if not isinstance(entry, Mapping) or len(entry) != 1 or next(iter(entry)) not in kinds:
        raise InputError(f"{where}: is {json.dumps(entry)}; an object with one of {', '.join(kinds)} is wanted.")
    ((kind, values),) = entry.items()
    if (kind == "grid") != (algorithm == "grid"):
        other = "'grid'" if algorithm == "grid" else "'choice' or a range"
        raise InputError(f"{where}: has '{kind}', but the algorithm is {algorithm}; give {other}, or change algorithm.")
    if not isinstance(values, list) or not values:
        raise InputError(f"{where}: '{kind}' has {json.dumps(values)}; a list of values is wanted.")
    if kind in LISTS:
        return
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(values) != 2 or numbers != values or not values[0] < values[1]:
        raise InputError(f"{where}: '{kind}' has {json.dumps(values)}; two numbers, the lower first, are wanted.")
    if kind == "loguniform" and values[0] <= 0:
        raise InputError(f"{where}: 'loguniform' starts at {values[0]}; numbers above 0 are wanted.")
    if kind == "randint" and any(isinstance(value, float) for value in values):
        raise InputError(f"{where}: 'randint' has {json.dumps(values)}; two whole numbers are wanted.")


def read_scheduler(path: str | Path, content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Settings of ASHA, or None.

    Raises:
        InputError: another scheduler, or a setting that is unknown or too small.
    """
    entry = content.get("scheduler", "none")
    settings = {"name": entry} if isinstance(entry, str) else dict(entry)
    name = settings.pop("name", None)
    if name not in SCHEDULERS:
        raise InputError(f"{path}: scheduler '{name}' is unknown; choose one of {', '.join(SCHEDULERS)}.")
    known = ASHA if name == "asha" else {}
    for setting, value in settings.items():
        if setting not in known:
            raise InputError(f"{path}: scheduler {name} has no setting '{setting}'; known are {', '.join(known)}.")
        least = 2 if setting == "reduction_factor" else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(
                f"{path}: scheduler's {setting} is {json.dumps(value)}; a whole number from {least} is wanted."
            )
    return ASHA | settings if name == "asha" else None


def draw(search: Search) -> list[dict[str, Any]]:
    """Knob to value of every trial: all combinations of a grid, the last knob fastest, or the seeded random draws."""
    if search.algorithm == "grid":
        lists = [entry["grid"] for entry in search.space.values()]
        return [dict(zip(search.space, values, strict=True)) for values in itertools.product(*lists)]
    rng = np.random.default_rng(search.seed)
    return [{knob: _drawn(entry, rng) for knob, entry in search.space.items()} for _ in range(search.num_samples)]


def _drawn(entry: Mapping[str, list[Any]], rng: np.random.Generator) -> Any:
    """One value of a knob."""
    ((kind, values),) = entry.items()
    if kind == "choice":
        return values[int(rng.integers(len(values)))]
    low, high = values
    if kind == "randint":
        return int(rng.integers(low, high, endpoint=True))
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if kind == "loguniform" else rng.uniform(low, high)
    return float(f"{value:.{DIGITS}g}")


def short_names(knobs: Sequence[str]) -> dict[str, str]:
    """Knob to what a table calls it: its last part, or all of it where two end alike."""
    ends = [knob.split("::")[-1] for knob in knobs]
    return {knob: knob if ends.count(end) > 1 else end for knob, end in zip(knobs, ends, strict=True)}


def short_value(value: Any) -> str:
    """A value for a table: an object by its class and arguments, others as JSON, text without quotes."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and "_target_" in value:
        arguments = ", ".join(f"{key}={short_value(part)}" for key, part in value.items() if not key.startswith("_"))
        return f"{str(value['_target_']).split('.')[-1]}({arguments})"
    return json.dumps(value)
