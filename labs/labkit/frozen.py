"""Random crops that are saved with the case, against random crops that are drawn in every epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose

from .reading import transforms

# Of the random crops, so that every run of a lab shows the same ones.
SEED = 0


def frozen_crops(
    item: Mapping[str, Any], file: Path, spacing: Sequence[float], patch_size: Sequence[int], epochs: int
) -> list[torch.Tensor]:
    """Crops of one case as the published preprocessing serves them: the random transforms run once, then are saved.

    Args:
        item: the case.
        file: where the saved sample goes.
        spacing: voxel size in mm.
        patch_size: voxels of a crop.
        epochs: how many crops to read.

    Returns:
        (C, H, W, D) an epoch.
    """
    fixed, random = transforms(spacing, patch_size)
    sample = Compose([*fixed, *random]).set_random_state(SEED)(dict(item))[0]
    torch.save({key: sample[key] for key in ("image", "label")}, file)
    return [torch.load(file, weights_only=True)["image"] for _ in range(epochs)]


def fresh_crops(
    item: Mapping[str, Any], spacing: Sequence[float], patch_size: Sequence[int], epochs: int
) -> list[torch.Tensor]:
    """Crops of the same case where only the deterministic part is kept; as :func:`frozen_crops`."""
    fixed, random = transforms(spacing, patch_size)
    prepared, draw = Compose(fixed)(dict(item)), Compose(random).set_random_state(SEED)
    return [draw(dict(prepared))[0]["image"] for _ in range(epochs)]


def different(crops: Sequence[torch.Tensor]) -> int:
    """How many of the crops are not equal to another one, voxel by voxel."""
    return len({hashlib.sha256(np.ascontiguousarray(crop.numpy()).tobytes()).hexdigest() for crop in crops})


def brain_seen(
    item: Mapping[str, Any], spacing: Sequence[float], patch_size: Sequence[int], epochs: int, fresh: bool
) -> list[float]:
    """Share of a case's brain that training has met after each epoch.

    Args:
        item: the case.
        spacing: voxel size in mm.
        patch_size: voxels of a crop.
        epochs: how many.
        fresh: draw a crop in every epoch, not once.
    """
    fixed, random = transforms(spacing, patch_size)
    prepared = Compose([*fixed, random[0]])(dict(item))
    brain = (prepared["image"].as_tensor() != 0).any(0).numpy()
    met, shares, rng = np.zeros_like(brain), [], np.random.default_rng(SEED)
    for epoch in range(epochs):
        if fresh or epoch == 0:
            start = random[1].recipe.draw(rng, brain.shape, 4, prepared["locations"]).start
            met[tuple(slice(max(s, 0), s + p) for s, p in zip(start, patch_size, strict=True))] = True
        shares.append(float((met & brain).sum() / brain.sum()))
    return shares
