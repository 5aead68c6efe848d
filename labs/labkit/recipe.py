"""The bundle's training recipe, read and not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.bundle import ConfigParser

from .project import BUNDLE, TRAIN


def recipe(changes: Mapping[str, Any] | None = None, overrides: Sequence[str] = ()) -> ConfigParser:
    """train.json with what lies on top of it.

    Args:
        changes: entries that are to be others, by their ids.
        overrides: config files in ``bundle/``, read after train.json and before the changes.
    """
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / file) for file in (TRAIN, *overrides)])
    parser["bundle_root"] = str(BUNDLE)
    parser.update(dict(changes or {}))
    return parser
