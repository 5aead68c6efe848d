"""The state that a view begins with, as a user writes it down: what may stand in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from scripts.errors import InputError
from scripts.slices import PLANES
from scripts.viewer.case import ViewedCase
from scripts.viewer.data import layers

LAYOUTS = ("planes", "modalities")
STYLES = ("contour", "fill")


def check_view(view: Mapping[str, Any], case: ViewedCase) -> dict[str, Any]:
    """Refuse a state that the viewer could not take.

    Args:
        view: any of ``mm`` (RAS point of the crosshair), ``plane``, ``modality``, ``layout``, ``show``, ``style``,
            ``opacity``, ``crosshair``, ``blink``, ``regions`` (name to on or off) and ``windows`` (modality to
            ``window`` and ``level``).
        case: what it is a view of.

    Raises:
        InputError: an entry is unknown or its value does not fit the case.
    """
    shows = (*case.maps, "errors") if len(case.maps) == 2 else tuple(case.maps)
    keys = tuple(layer.key for layer in layers(case.scheme))
    rules: dict[str, tuple[Callable[[Any], bool], str]] = {
        "mm": (lambda value: isinstance(value, list | tuple) and len(value) == 3 and all(map(_is_number, value)),
               "a list of three numbers"),
        "plane": _one_of(tuple(PLANES)),
        "modality": _one_of(tuple(case.images)),
        "layout": _one_of(LAYOUTS),
        "show": _one_of(shows or ("truth",)),
        "style": _one_of(STYLES),
        "opacity": (lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
        "crosshair": (lambda value: isinstance(value, bool), "True or False"),
        "blink": (lambda value: value is False or (value is True and len(shows) == 3),
                  "False, or True where there are truth and prediction"),
        "regions": (
            lambda value: isinstance(value, Mapping) and set(value) <= set(keys)
            and all(isinstance(on, bool) for on in value.values()),
            f"a mapping of {', '.join(keys) or 'nothing'} to True or False",
        ),
        "windows": (
            lambda value: isinstance(value, Mapping) and set(value) <= set(case.images)
            and all(_is_window(one) for one in value.values()),
            f"a mapping of {', '.join(case.images)} to {{'window': ..., 'level': ...}}",
        ),
    }  # fmt: skip
    for key, value in view.items():
        if key not in rules:
            raise InputError(f"view has an entry '{key}', which is unknown; choose among {', '.join(rules)}.")
        fits, wanted = rules[key]
        if not fits(value):
            raise InputError(f"view's {key} is {value!r}, but {wanted} was wanted; correct it.")
    return dict(view)


def _one_of(names: tuple[str, ...]) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in names, f"one of {', '.join(names)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_window(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and set(value) == {"window", "level"}
        and all(map(_is_number, value.values()))
        and value["window"] > 0
    )
