"""A lab's parameters: read from its tagged cell, and refused where it has none of that name."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from papermill import inspect_notebook
from scripts.errors import InputError


def parsed(settings: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` settings; values are Python literals, anything else is text.

    Raises:
        InputError: one has no ``=``.
    """
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise InputError(f"--set {setting} is no setting; write NAME=VALUE.")
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
    return values


def chosen(labs: Mapping[str, Path], values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The values that each lab takes.

    papermill takes a parameter that a notebook does not have, and runs as if nothing were set.

    Args:
        labs: number to notebook file.
        values: name to value, for all labs that have such a parameter.

    Raises:
        InputError: no lab has a parameter of that name, or a value has another type than the default.
    """
    known = {number: inspect_notebook(lab) for number, lab in labs.items()}
    for name, value in values.items():
        having = [found[name] for found in known.values() if name in found]
        if not having:
            names = sorted({each for found in known.values() for each in found})
            raise InputError(f"no lab that runs has a parameter {name}; choose among {', '.join(names)}.")
        for entry in having:
            _refuse_other_type(entry, value)
    return {number: {name: value for name, value in values.items() if name in found} for number, found in known.items()}


def _refuse_other_type(entry: Mapping[str, Any], value: Any) -> None:
    wanted = entry["inferred_type_name"]
    fits = {"str": str, "bool": bool, "int": int, "float": int | float}.get(wanted)
    if fits is not None and (not isinstance(value, fits) or isinstance(value, bool) != (wanted == "bool")):
        raise InputError(f"{entry['name']} is {value!r}, {wanted} was wanted; write it like {entry['default']}.")
