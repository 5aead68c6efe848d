"""Values of hyperparameters, drawn from the ranges of a tuning request."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sm_launch.errors import LaunchError

LOGARITHMIC, REVERSE = "Logarithmic", "ReverseLogarithmic"


def grid(ranges: Mapping[str, Any]) -> list[dict[str, str]]:
    """All combinations of categorical values, in their order.

    Raises:
        LaunchError: there are other ranges, which a grid has no points of (API reference,
            HyperParameterTuningJobConfig).
    """
    others = [*ranges.get("IntegerParameterRanges", ()), *ranges.get("ContinuousParameterRanges", ())]
    if others:
        raise LaunchError(f"'{others[0]['Name']}': is a range of numbers, but Grid takes lists alone; list its values.")
    lists = [(each["Name"], each["Values"]) for each in ranges.get("CategoricalParameterRanges", ())]
    return [
        dict(zip((name for name, _ in lists), values, strict=True))
        for values in itertools.product(*(values for _, values in lists))
    ]


def random_draws(ranges: Mapping[str, Any], seed: int | str) -> Iterator[dict[str, str]]:
    """Endless independent draws, as the strings that the API carries; the same ones for the same seed.

    Raises:
        LaunchError: a range is empty, or its scale does not fit its limits.
    """
    generator = random.Random(seed)
    drawers: dict[str, Callable[[], str]] = {}
    for each in ranges.get("CategoricalParameterRanges", ()):
        drawers[each["Name"]] = lambda values=each["Values"]: generator.choice(values)
    for each in ranges.get("IntegerParameterRanges", ()):
        low, high, scale = _limits(each)
        # Half a step beyond each end gives the first and the last whole number their full share.
        drawers[each["Name"]] = lambda low=low, high=high, scale=scale: str(
            round(min(max(_number(generator, low - 0.5, high + 0.5, scale), low), high))
        )
    for each in ranges.get("ContinuousParameterRanges", ()):
        low, high, scale = _limits(each)
        drawers[each["Name"]] = lambda low=low, high=high, scale=scale: repr(_number(generator, low, high, scale))
    while True:
        yield {name: draw() for name, draw in drawers.items()}


def _limits(each: Mapping[str, str]) -> tuple[float, float, str]:
    name, low, high = each["Name"], float(each["MinValue"]), float(each["MaxValue"])
    scale = each.get("ScalingType", "Auto")
    if low > high:
        raise LaunchError(f"'{name}': the range from {low} to {high} is empty; swap its limits.")
    if scale == LOGARITHMIC and low <= 0:
        raise LaunchError(f"'{name}': a logarithmic range begins above 0, not at {low}; raise it or make it Linear.")
    if scale == REVERSE and not 0 <= low <= high < 1:
        raise LaunchError(f"'{name}': a reverse logarithmic range lies in 0 to 1, not {low} to {high}; make it Linear.")
    return low, high, scale


def _number(generator: random.Random, low: float, high: float, scale: str) -> float:
    """Uniform on the scale; Auto is drawn as Linear."""
    if scale == LOGARITHMIC:
        return math.exp(generator.uniform(math.log(low), math.log(high)))
    if scale == REVERSE:
        return 1 - math.exp(generator.uniform(math.log(1 - high), math.log(1 - low)))
    return generator.uniform(low, high)
