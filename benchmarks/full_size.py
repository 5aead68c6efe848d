"""Cases of BraTS's own size: 240 x 240 x 155 voxels of 1 mm, four modalities; for a machine without BraTS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timing  # noqa: F401  puts bundle/ on the path
from scripts import phantom
from scripts.datalists import entries, items
from scripts.files import cache_dir
from scripts.layouts import find_dataset
from scripts.naming import MODALITIES

SHAPE = (240, 240, 155)


def dataset_dir(cases: int = 4) -> Path:
    """The phantom at full size, made on first use and kept in the cache folder."""
    target = cache_dir() / f"phantom-{phantom.VERSION}-full-size-{cases}"
    return phantom.make_once(target, lambda folder: phantom.generate(folder, cases, 0, SHAPE, 1.0))


def cases_of(folder: Path, modalities: Sequence[str] = MODALITIES) -> list[dict[str, Any]]:
    """Items of every labelled case of a folder in a known layout: ``case``, ``image``, ``label``."""
    dataset = find_dataset(folder, modalities)
    return items({"dataset_dir": str(dataset.root), "cases": entries(dataset.cases, dataset.root)}, "cases")
