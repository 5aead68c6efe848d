"""What a ``dataset_dir`` knob may say instead of a folder: sets of the phantom that are made on first use."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scripts.errors import InputError
from scripts.files import cache_dir
from scripts.phantom.dataset import HARD, MIXED, SEED, STANDARD, VERSION, VERSIONS, generate

logger = logging.getLogger(__name__)

WORD = "phantom"
WORDS = {WORD: STANDARD, "phantom-hard": HARD, "phantom-mixed": MIXED}
HARD_CASES = 96


def default_dir(kind: str = STANDARD) -> Path:
    """Where the set that a word stands for lies once it has been made."""
    name = f"phantom-{VERSION}" if kind == STANDARD else f"phantom-{kind}-{VERSIONS[kind]}"
    return cache_dir() / f"{name}-seed{SEED}"


def resolve(dataset_dir: str | os.PathLike[str]) -> Path:
    """The folder that a ``dataset_dir`` knob means: the words in ``WORDS`` are sets made on first use."""
    kind = WORDS.get(os.fspath(dataset_dir))
    if kind is None:
        return Path(dataset_dir)
    if kind == STANDARD:
        return make_once(default_dir(), generate)
    return make_once(default_dir(kind), partial(generate, cases=HARD_CASES, kind=kind))


def make_once(target: Path, make: Callable[[Path], Path]) -> Path:
    """Return the set at ``target``, made by ``make`` if it is not there yet.

    Two processes that start at once may both make it; the first to finish gives it its name and the other's is thrown
    away, the same voxels either way.
    """
    if not (target / "dataset.json").is_file():
        logger.info("making the phantom, a synthetic data set, in %s", target)
        try:
            make(target)
        except InputError:
            if not (target / "dataset.json").is_file():
                raise
    return target
