"""A bundle's search-space file, as Automatic Model Tuning takes it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sm_launch.errors import LaunchError

# Limits of the API: values of a categorical range (CategoricalParameterRange), hyperparameters of a search.
MOST_VALUES, MOST_PARAMETERS = 30, 30
_SCALES = {"loguniform": "Logarithmic", "uniform": "Linear"}


@dataclass(frozen=True)
class Search:
    """A search file: ``space`` is knob to one of grid, choice, loguniform, uniform and randint, as in configs/search.

    Attributes:
        file: where it was read.
        space: knob to its kind and its values.
        metric: objective.
        mode: max or min.
        epochs: of every trial; None leaves the training's.
        algorithm: grid or random.
        early: whether bad trials are stopped early (ASHA).
        configs: config files on top of the training's.
        overrides: what all trials share.
    """

    file: Path
    space: Mapping[str, tuple[str, list[Any]]]
    metric: str = "val_mean_dice"
    mode: str = "max"
    epochs: int | None = None
    algorithm: str = "grid"
    early: bool = False
    configs: tuple[str, ...] = ()
    overrides: Mapping[str, Any] | None = None

    def names(self) -> dict[str, str]:
        """Hyperparameter name to knob: a config id with colons is no name that every path of the platform takes."""
        names: dict[str, str] = {}
        for knob in self.space:
            name = re.sub(r"[^A-Za-z0-9]+", "_", knob).strip("_")
            while name in names:
                name += "_"
            names[name] = knob
        return names

    def combinations(self) -> int | None:
        """How many trials a grid has; None where a range is continuous."""
        if any(kind not in ("grid", "choice") for kind, _ in self.space.values()):
            return None
        return math.prod(len(values) for _, values in self.space.values())

    def ranges(self) -> dict[str, list[dict[str, Any]]]:
        """ParameterRanges."""
        knobs = {knob: name for name, knob in self.names().items()}
        categorical, integer, continuous = [], [], []
        for knob, (kind, values) in self.space.items():
            name = knobs[knob]
            if kind in ("grid", "choice"):
                categorical.append({"Name": name, "Values": [json.dumps(value) for value in values]})
                continue
            low, high = map(str, values)
            bounds = {"Name": name, "MinValue": low, "MaxValue": high}
            if kind == "randint":
                integer.append({**bounds, "ScalingType": "Linear"})
            else:
                continuous.append({**bounds, "ScalingType": _SCALES[kind]})
        found = {
            "CategoricalParameterRanges": categorical,
            "IntegerParameterRanges": integer,
            "ContinuousParameterRanges": continuous,
        }
        return {kind: ranges for kind, ranges in found.items() if ranges}


def read_search(file: Path) -> Search:
    """Read a search file.

    Raises:
        LaunchError: it is absent, broken, or has a range that the tuning service does not take.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        space = content["space"]
        if not isinstance(space, dict) or not space:
            raise ValueError("an empty space")
    except OSError as error:
        raise LaunchError(
            f"{file}: cannot be read ({error.strerror}); set tune.search to a file of the bundle."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise LaunchError(
            f"{file}: is no search file ({error}); it is JSON with a space, as configs/search of the BraTS bundle has."
        ) from error
    if len(space) > MOST_PARAMETERS:
        raise LaunchError(
            f"{file}: searches {len(space)} knobs, and the tuning service takes {MOST_PARAMETERS}; take some out."
        )
    scheduler = content.get("scheduler", "none")
    return Search(
        file,
        {knob: _range(file, knob, one) for knob, one in space.items()},
        metric=content.get("metric", "val_mean_dice"),
        mode=content.get("mode", "max"),
        epochs=content.get("epochs"),
        algorithm=content.get("algorithm", "grid"),
        early=scheduler not in (None, "none"),
        configs=tuple(content.get("configs", ())),
        overrides=content.get("overrides", {}),
    )


def _range(file: Path, knob: str, one: Any) -> tuple[str, list[Any]]:
    """Kind and values of one knob."""
    kinds = ("grid", "choice", "randint", *_SCALES)
    if not isinstance(one, dict) or len(one) != 1 or next(iter(one)) not in kinds:
        raise LaunchError(f"{file}: {knob} is {one}; write one of {', '.join(kinds)} with its list of values.")
    kind, values = next(iter(one.items()))
    if not isinstance(values, list) or not values or (kind not in ("grid", "choice") and len(values) != 2):
        raise LaunchError(f"{file}: {knob} has {kind} {values}; write a list, of two numbers where it is a range.")
    if kind in ("grid", "choice") and len(values) > MOST_VALUES:
        raise LaunchError(
            f"{file}: {knob} has {len(values)} values, and the tuning service takes {MOST_VALUES}; take some out."
        )
    if kind not in ("grid", "choice"):
        _check_bounds(file, knob, kind, values)
    return kind, values


def _check_bounds(file: Path, knob: str, kind: str, values: list[Any]) -> None:
    """Refuse two values that are no range of their kind."""
    low, high = values
    whole = kind == "randint"
    if not all(_is_number(value, whole) for value in values):
        wanted = "whole numbers" if whole else "numbers"
        raise LaunchError(
            f"{file}: {knob} has {kind} {json.dumps(values)}; write two {wanted} without quotes, the lower one first."
        )
    if low >= high:
        raise LaunchError(
            f"{file}: {knob} has {kind} {json.dumps(values)}, which holds no range; write the lower number first and a "
            "higher one behind it."
        )
    if kind == "loguniform" and low <= 0:
        raise LaunchError(
            f"{file}: {knob} has loguniform {json.dumps(values)}, and {low} has no logarithm; begin above 0, or write "
            "uniform."
        )


def _is_number(value: Any, whole: bool) -> bool:
    """Whether it is a finite number; true and false are none."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (not whole and isinstance(value, float) and math.isfinite(value))
