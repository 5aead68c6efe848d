"""Filling a store: the deterministic transforms, once a case, on all cores, taken up where it was interrupted."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Compose
from tqdm import tqdm

from scripts.errors import InputError, first_line
from scripts.files import is_write_error, read_json
from scripts.store_case import (
    ARRAYS,
    MANIFEST,
    PART_PREFIX,
    digest,
    read_case,
    read_manifest,
    source_identity,
    write_case,
)
from scripts.store_recipe import RECIPE_FILE, claim, describe_recipe, digest_recipe

logger = logging.getLogger(__name__)

# What a killed process left is removed by the next one, but not what another one is writing right now.
ABANDONED_S = 3600.0


def build(
    items: Sequence[Mapping[str, Any]],
    transforms: Sequence[Callable] | Compose,
    store_dir: str | os.PathLike[str],
    workers: int | None = None,
    rebuild: bool = False,
) -> dict[str, str]:
    """Put every case into the store that is not there yet.

    Cases are prepared in threads: nearly all of the time goes into inflating and array operations, which let go of
    Python's lock, and no process has to be started, whatever script calls this.

    Args:
        items: ``case``, and the paths ``image`` (one or several) and ``label``.
        transforms: the deterministic part of the recipe.
        store_dir: the store's folder; made if absent. Several machines may fill one, a share of the cases each.
        workers: cases prepared at a time; None takes the number of cores.
        rebuild: make a stale store, and stale cases, anew.

    Returns:
        Case to sentence of those that failed; all others are in the store.

    Raises:
        InputError: the store was made by other transforms, or a case from other files, and ``rebuild`` is not set; or
            the disk refuses.
    """
    folder = Path(store_dir)
    recipe = describe_recipe(transforms)
    claim(folder, recipe, replace=rebuild)
    _remove_abandoned(folder)
    key = digest_recipe(recipe)
    todo = [item for item in items if _wanting(folder, item, key, rebuild)]
    if not todo:
        return {}
    problems: dict[str, str] = {}
    refused: list[InputError] = []
    threads = torch.get_num_threads()
    local = threading.local()

    def prepare(item: Mapping[str, Any]) -> None:
        if refused:
            return
        try:
            # Each thread has its own copy: a transform may keep state while it works.
            if not hasattr(local, "chain"):
                torch.set_num_threads(1)
                chain = transforms.transforms if isinstance(transforms, Compose) else transforms
                local.chain = Compose(copy.deepcopy(list(chain)))
            data = local.chain({name: item[name] for name in ("image", "label")})
            write_case(folder / item["case"], data, key, identities(item))
        except Exception as error:
            problems[item["case"]] = _reason(error)
            if isinstance(error, InputError) and is_write_error(error.__cause__ or error):
                refused.append(error)

    logger.info("%s: preparing %d of %d cases", folder, len(todo), len(items))
    try:
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            list(tqdm(pool.map(prepare, todo), "preparing cases", len(todo), unit="case", disable=None))
    finally:
        torch.set_num_threads(threads)
    if refused:
        # The next case would meet the same full disk.
        raise refused[0]
    return problems


def stale_reason(folder: Path, item: Mapping[str, Any], recipe: str) -> str | None:
    """Why a stored case does not stand for ``item`` any more, or None."""
    about = read_manifest(folder)
    if about["recipe"] != recipe:
        return "was made by other transforms"
    found = identities(item)
    for kept, now in zip(about["sources"], found, strict=False):
        if kept != now:
            return f"was made from another {now['file']} ({kept['bytes']} bytes then, {now['bytes']} now)"
    return None if len(found) == len(about["sources"]) else "was made from another number of files"


def identities(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """:func:`source_identity` of the image files and the label of an item."""
    image = item["image"]
    return [source_identity(file) for file in (*([image] if isinstance(image, str) else image), item["label"])]


def verify(store_dir: str | os.PathLike[str]) -> tuple[int, dict[str, str]]:
    """Read every case of a store and compare it with its manifest.

    Returns:
        The number of cases, and case to sentence of the damaged ones.

    Raises:
        InputError: the folder is no store.
    """
    folder = Path(store_dir)
    if not (folder / RECIPE_FILE).is_file():
        raise InputError(f"{folder}: has no {RECIPE_FILE}, so it is no store; check store_dir.")
    recipe = digest_recipe(read_json(folder / RECIPE_FILE, "recipe of the store"))
    names = cases(folder)
    problems = {}
    for name in tqdm(names, "verifying cases", unit="case", disable=None):
        try:
            read_case(folder / name)
            about = read_manifest(folder / name)
            wanted = about["sha256"]
            damaged = [f"{array}.npy" for array in ARRAYS if digest(folder / name / f"{array}.npy") != wanted[array]]
        except (InputError, OSError) as error:
            problems[name] = _reason(error)
            continue
        if about["recipe"] != recipe:
            problems[name] = "was made by other transforms than the rest; run python -m scripts.store --rebuild"
        elif damaged:
            problems[name] = f"{', '.join(damaged)}: checksum differs from the manifest; remove the folder and rebuild"
    return len(names), problems


def cases(store_dir: str | os.PathLike[str]) -> list[str]:
    """Names of the cases in a store, sorted."""
    return sorted(file.parent.name for file in Path(store_dir).glob(f"[!.]*/{MANIFEST}"))


def _wanting(folder: Path, item: Mapping[str, Any], recipe: str, rebuild: bool) -> bool:
    stored = folder / item["case"]
    try:
        read_case(stored)
    except InputError:
        # Absent, or a part of one, as an interrupted copy leaves it.
        return True
    reason = stale_reason(stored, item, recipe)
    if reason and not rebuild:
        raise InputError(
            f"{stored}: is stale, it {reason}; give another store_dir, or make it anew by python -m scripts.store "
            "--rebuild."
        )
    return reason is not None


def _remove_abandoned(folder: Path) -> None:
    for part in folder.glob(f"{PART_PREFIX}*"):
        if part.is_dir() and time.time() - part.stat().st_mtime > ABANDONED_S:
            shutil.rmtree(part, ignore_errors=True)


def _reason(error: Exception) -> str:
    # MONAI wraps what goes wrong inside a transform in a RuntimeError; the cause underneath is what the user can mend.
    while not isinstance(error, InputError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return first_line(error)
