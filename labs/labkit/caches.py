"""Mistakes with caches: one that is never moved on, one that outlives its recipe; and how large a case is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from monai.data import PersistentDataset, SmartCacheDataset
from monai.transforms import Compose

from .reading import MB

REPLACED, CACHED = 0.2, 0.5
# The published grid: 240 x 240 x 155 voxels of 1 mm, resampled to 1.5 x 1.5 x 2 mm.
PUBLISHED_GRID = (160, 160, 78)


def smart_cache(items: Sequence[Any], transform: Any = None) -> SmartCacheDataset:
    """The published choice: half of the cases in memory, a fifth of those exchanged an epoch."""
    return SmartCacheDataset(
        list(items), transform, cache_rate=CACHED, replace_rate=REPLACED, progress=False, shuffle=False
    )


def seen_without_start(items: Sequence[Any], epochs: int) -> list[int]:
    """How many different cases training has met after each epoch, the published way: the cache is never moved on."""
    dataset, met, counts = smart_cache(items), set(), []
    for _ in range(epochs):
        met |= {dataset[index] for index in range(len(dataset))}
        counts.append(len(met))
    return counts


def seen_with_start(items: Sequence[Any], epochs: int) -> list[int]:
    """The same with MONAI's four steps, as configs/data/smart_cache.json has them done by ``SmartCacheHandler``."""
    dataset, met, counts = smart_cache(items), set(), []
    dataset.start()
    try:
        for _ in range(epochs):
            met |= {dataset[index] for index in range(len(dataset))}
            counts.append(len(met))
            dataset.update_cache()
    finally:
        dataset.shutdown()
    return counts


def served_shape(items: Sequence[Mapping[str, Any]], chain: Sequence[Any], folder: Path) -> tuple[int, ...]:
    """Shape of the first image, (C, H, W, D), as MONAI's ``PersistentDataset`` with its defaults serves it."""
    return tuple(PersistentDataset(items, Compose(chain), cache_dir=folder)[0]["image"].shape)


def case_mb(shape: Sequence[int], image_bytes: float, label_bytes: float) -> float:
    """MB of one case in memory.

    Args:
        shape: voxels (H, W, D).
        image_bytes: of all channels of a voxel: 4 x 4 as float32.
        label_bytes: of a voxel's label: 1 as a map of ids, 3 x 4 as three float32 regions.
    """
    return prod(shape) * (image_bytes + label_bytes) / MB
