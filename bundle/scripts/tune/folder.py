"""The folder of a search: whether it may be this search's, and the settings by which it is told again."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.files import read_json, refuse_unwritable, write_json
from scripts.tune.config import DATALIST_FILE
from scripts.tune.results import BEST_FILE, CSV_FILE
from scripts.tune.space import Search

SETTINGS_FILE = "search.json"


def refuse_other_search(out: Path, search: Search, options: argparse.Namespace) -> None:
    """Refuse a folder that cannot be this search's; nothing is written.

    A random search may be taken up with more samples: the first ones stay the same.

    Raises:
        InputError: the folder holds this search and ``--resume never`` is given, holds another one, or cannot be
            written to.
    """
    refuse_unwritable(out, (SETTINGS_FILE, DATALIST_FILE, CSV_FILE, BEST_FILE))
    if not (out / SETTINGS_FILE).is_file():
        return
    found, settings = read_json(out / SETTINGS_FILE, "settings of the search"), _settings(search, options)
    if options.resume == "never":
        raise InputError(f"{out}: holds a search; give --resume auto to go on with it, or another --output_dir.")
    other = [name for name in settings if found.get(name) != settings[name]]
    if other:
        raise InputError(
            f"{out}: holds a search with another {other[0]} ({json.dumps(found.get(other[0]))}); choose another "
            "--output_dir, or start it as it was."
        )


def claim(out: Path, search: Search, options: argparse.Namespace) -> None:
    """Take a new folder for the search, before anything else is written into it; its own is left as it is."""
    if not (out / SETTINGS_FILE).is_file():
        write_json(out / SETTINGS_FILE, _settings(search, options))


def _settings(search: Search, options: argparse.Namespace) -> dict[str, Any]:
    """What makes a search another one."""
    settings = dataclasses.asdict(search) | {
        "workers_per_trial": options.workers_per_trial, "dataset_dir": options.dataset_dir
    }  # fmt: skip
    del settings["num_samples"]
    return settings
