"""The training that a folder of checkpoints held before another one: kept, as the new one replaces file by file."""

from __future__ import annotations

import filecmp
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.checkpoints import ABOUT_FILE, MODEL_FILE
from scripts.errors import InputError
from scripts.files import ASIDE, read_json, unwritable
from scripts.rules import RULES_FILE
from scripts.state import LAST_FILE, read_state

logger = logging.getLogger(__name__)

FORMER_DIR = "former"
MODEL_FILES = (MODEL_FILE, ABOUT_FILE, RULES_FILE)
UNNAMED = "unnamed"


def keep_former(ckpt_dir: Path) -> list[Path]:
    """Copy what other trainings have left, before this one writes; as a ``ckpt_dir`` a copy serves as that did.

    The files stay where they are as well until this training has better ones: it may yet fail.

    Args:
        ckpt_dir: folder of the checkpoints; may be absent.

    Returns:
        The folders of the copies, ``former/<name of the run>`` in ``ckpt_dir``.

    Raises:
        InputError: ``model.json`` cannot be read, or there is no room for a copy.
    """
    kept = []
    for run, files in _files_by_run(ckpt_dir).items():
        target = _free_folder(ckpt_dir / FORMER_DIR, run, files)
        if not target.exists():
            _copy(files, target)
        logger.warning(
            "%s holds the run '%s', which this training replaces; it is kept in %s; give a training a ckpt_dir of its "
            "own to leave the other's in place",
            ckpt_dir, run, target,
        )  # fmt: skip
        kept.append(target)
    return kept


def _files_by_run(ckpt_dir: Path) -> dict[str, list[Path]]:
    """Model and state may be of two runs, where the later one has not yet validated.

    The state before the last is left out: it is there for a damaged disk alone.
    """
    files: dict[str, list[Path]] = {}
    about, run = ckpt_dir / ABOUT_FILE, UNNAMED
    if about.is_file():
        run = _run_name(read_json(about, "description of the trained model"), run)
    if model := [file for name in MODEL_FILES if (file := ckpt_dir / name).is_file()]:
        files[run] = model
    if (last := ckpt_dir / LAST_FILE).is_file():
        try:
            run = _run_name(read_state(ckpt_dir), run)
        except InputError:
            logger.warning("%s: is damaged; it is kept as it is", last)
        files.setdefault(run, []).append(last)
    return files


def _run_name(found: Mapping[str, Any], default: str) -> str:
    return Path(found["run_dir"]).name if "run_dir" in found else default


def _free_folder(parent: Path, run: str, files: Sequence[Path]) -> Path:
    """``parent/run``, numbered where it holds something else than these very files."""
    target, number = parent / run, 2
    while target.exists() and not all(_is_copy(target / file.name, file) for file in files):
        target, number = parent / f"{run}_{number}", number + 1
    return target


def _is_copy(copy: Path, file: Path) -> bool:
    return copy.is_file() and filecmp.cmp(copy, file)


def _copy(files: Sequence[Path], target: Path) -> None:
    """All files or none."""
    aside = target.with_name(f"{ASIDE}{target.name}")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        for file in files:
            shutil.copy2(file, aside)
        aside.rename(target)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise unwritable(target, error) from error
