"""The dated tables of tables/*.json: read once, each with the date and the source of its figures."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "tables"


@cache
def table(name: str) -> Mapping[str, Any]:
    """The table ``name`` as it is written; callers must not change it."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def dated(name: str) -> str:
    """The table's date and source in one phrase, for what is shown to users."""
    content = table(name)
    return f"{content['as_of']}, {content['source']}"


def nearest(value: str, among: Iterable[str]) -> str:
    """The known value that ``value`` most probably meant; the first known one where none is alike."""
    known = list(among)
    alike = difflib.get_close_matches(value, known, n=1, cutoff=0.0)
    return alike[0] if alike else known[0]
