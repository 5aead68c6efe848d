"""How samples reach a network: the five ways of ``bundle/configs/data``, each measured over a few epochs."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import SmartCacheDataset
from monai.transforms import Compose
from scripts.errors import InputError

from .data import listed
from .project import ROOT
from .recipe import recipe

WAYS = ("dataset", "persistent", "cache", "smart_cache", "store")
# The knob that says where a way keeps its files.
FOLDER_KNOBS = {"persistent": "cache_dir", "store": "store_dir"}
# Those of MONAI's that draw a progress bar of their own.
WITH_BAR = ("cache", "smart_cache")
# The published recipe's voxels.
SPACING_MM = (1.5, 1.5, 2.0)
MB = 1e6


@dataclass(frozen=True)
class Reading:
    """What one way of reading costs.

    Attributes:
        way: a name out of ``WAYS``.
        first_ms: CPU milliseconds a sample of the first epoch, everything that precedes it included.
        later_ms: CPU milliseconds a sample, median of the later epochs.
        memory_mb: kept in this process's memory between epochs, MB for each case of the data set.
        disk_mb: kept on disk, MB for each case of the data set.
        samples: seen in the last epoch.
    """

    way: str
    first_ms: float
    later_ms: float
    memory_mb: float
    disk_mb: float
    samples: int


def items_of(dataset_dir: Path, count: int | None = None) -> list[dict[str, Any]]:
    """Labelled cases as the bundle's transforms take them: ``case``, ``image`` and ``label``, paths as text."""
    return [
        {
            "case": case["case"],
            "image": case["image"][0] if len(case["image"]) == 1 else case["image"],
            "label": case["label"],
        }
        for case in listed(dataset_dir, count)
    ]


def transforms(spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[list[Any], list[Any]]:
    """The deterministic and the random transforms of the recipe, for voxels of ``spacing`` mm."""
    parser = recipe({"spacing": list(spacing), "patch_size": list(patch_size), "crops_per_case": 1})
    return parser.get_parsed_content("deterministic_transforms"), parser.get_parsed_content("random_transforms")


def loader(
    way: str, items: Sequence[Mapping[str, Any]], folder: Path, spacing: Sequence[float], patch_size: Sequence[int]
) -> Any:
    """The recipe's training loader, samples read the given way; one crop a case, one case a batch.

    Args:
        way: a name out of ``WAYS``.
        items: as :func:`items_of` gives them.
        folder: where files of this way go.
        spacing: voxel size in mm that is resampled to.
        patch_size: voxels of a crop.
    """
    return _configured(way, items, folder, spacing, patch_size).get_parsed_content("train::dataloader")


def _configured(
    way: str, items: Sequence[Mapping[str, Any]], folder: Path, spacing: Sequence[float], patch_size: Sequence[int]
) -> ConfigParser:
    changes: dict[str, Any] = {"train::cases": list(items), "spacing": list(spacing), "crops_per_case": 1}
    changes |= {"patch_size": list(patch_size), "batch_size": 1}
    if way in FOLDER_KNOBS:
        changes[FOLDER_KNOBS[way]] = str(folder)
    if way in WITH_BAR:
        changes["train::dataset::progress"] = False
    return recipe(changes, [f"configs/data/{way}.json"])


def step_costs(chain: Sequence[Any], item: Mapping[str, Any], rounds: int = 5) -> dict[str, float]:
    """CPU milliseconds of each transform of a chain on one case, medians over ``rounds`` after one to warm up."""
    spent: list[list[float]] = [[] for _ in chain]
    for turn in range(rounds + 1):
        data: Any = dict(item)
        for times, transform in zip(spent, chain, strict=True):
            began = time.process_time()
            data = transform(data)
            if turn:
                times.append(1000 * (time.process_time() - began))
    return {type(step).__name__: statistics.median(times) for step, times in zip(chain, spent, strict=True)}


def measure(
    way: str,
    items: Sequence[Mapping[str, Any]],
    folder: Path,
    spacing: Sequence[float],
    patch_size: Sequence[int],
    epochs: int,
) -> Reading:
    """Read ``epochs`` epochs one way, with no network behind it.

    CPU time of the whole process is what counts: threads of a loader are in it, a busy neighbour is not.

    Args:
        way: a name out of ``WAYS``.
        items: as :func:`items_of` gives them.
        folder: for this way's files; empty.
        spacing: voxel size in mm that is resampled to.
        patch_size: voxels of a crop.
        epochs: at least 2.

    Raises:
        InputError: there are fewer epochs.
    """
    if epochs < 2:
        raise InputError(f"EPOCHS is {epochs}, but at least 2 are wanted: the first is told apart from the later ones.")
    warm_up(items[0], spacing, patch_size)
    config, spent = _configured(way, items, folder, spacing, patch_size), []
    began = time.process_time()
    made = config.get_parsed_content("train::dataloader")
    smart = made.dataset if isinstance(made.dataset, SmartCacheDataset) else None
    if smart:
        smart.start()
    for _ in range(epochs):
        samples = sum(len(batch["image"]) for batch in made)
        if smart:
            smart.update_cache()
        now = time.process_time()
        spent.append(1000 * (now - began) / samples)
        began = now
    if smart:
        smart.shutdown()
    disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    cases = len(items) * MB
    return Reading(way, spent[0], statistics.median(spent[1:]), held_bytes(made.dataset) / cases, disk / cases, samples)


def warm_up(item: Mapping[str, Any], spacing: Sequence[float], patch_size: Sequence[int]) -> None:
    """Prepare one case and forget it: what the first call of a library costs belongs to no way of reading."""
    fixed, random = transforms(spacing, patch_size)
    Compose([*fixed, *random])(dict(item))


def held_bytes(dataset: Any) -> int:
    """Bytes of the arrays that a MONAI cache keeps in memory; 0 for a data set that keeps none."""
    # MONAI has no public way to ask.
    return _bytes(getattr(dataset, "_cache", None), set())


def _bytes(value: Any, seen: set[int]) -> int:
    """Of every array in nested lists and mappings, each piece of memory counted once."""
    if isinstance(value, torch.Tensor):
        memory = value.untyped_storage()
        size, place = memory.nbytes(), memory.data_ptr()
    elif isinstance(value, np.ndarray):
        size, place = value.nbytes, value.__array_interface__["data"][0]
    else:
        parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        return sum(_bytes(part, seen) for part in parts)
    fresh = place not in seen
    seen.add(place)
    return size if fresh else 0


def recorded() -> dict[str, Any]:
    """The benchmark of the same five ways at BraTS's own size: ``rows`` (way to figures), ``machine`` and ``date``."""
    file = ROOT / "benchmarks" / "results" / "data_strategies.json"
    return json.loads(file.read_text(encoding="utf-8"))
