"""The rows of a cases.json, read back to be computed with."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.files import read_json


def read_rows(file: Path, measures: Sequence[str], required: Collection[str] = ()) -> list[dict[str, Any]]:
    """The rows of a cases.json, a case each.

    Args:
        file: written by an evaluation.
        measures: whose values are checked.
        required: those of them that every row must have, for the same regions.

    Raises:
        InputError: it cannot be read, or is no table of cases, a case has no name or two rows, a value of a measure is
            no number, or one that is required is not there.
    """
    rows = read_json(file, "table of cases")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "case" in row for row in rows):
        raise InputError(f"{file}: is no table of cases; give the cases.json of an evaluation.")
    seen: set[str] = set()
    for row in rows:
        case = row["case"]
        if not isinstance(case, str):
            raise InputError(f"{file}: has {json.dumps(case)} for a case, but text is wanted; evaluate anew.")
        if case in seen:
            raise InputError(f"{file}: has two rows of case {case}, but one is wanted; evaluate anew.")
        seen.add(case)
        for measure in measures:
            if problem := _values_problem(row.get(measure)):
                raise InputError(f"{file}: {measure} of case {case} {problem}; evaluate anew.")
    regions = list(rows[0].get("dice") or ()) if rows else []
    for row in rows:
        for measure in required:
            if not regions or list(row.get(measure) or ()) != regions:
                raise InputError(
                    f"{file}: {measure} of case {row['case']} is not of the regions that Dice of the first case is of "
                    f"({', '.join(regions) or 'none'}); evaluate anew."
                )
    return rows


def _values_problem(values: Any) -> str | None:
    """What is wrong with a measure of a case, which is to be region to number, or not there at all."""
    if values is None:
        return None
    if not isinstance(values, dict):
        return f"is {json.dumps(values)}, but a number for each region is wanted"
    for region, value in values.items():
        # Compared, as a whole number of JSON may be too large to become a float; and nothing compares with NaN.
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            return f"is {json.dumps(value)} in {region}, but a finite number is wanted"
    return None
