"""Three remedies for classes of unequal size, each for the training part alone, after the split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import DistributedSampler, DistributedWeightedRandomSampler
from torch.utils.data import RandomSampler, Sampler, WeightedRandomSampler

from skin_lesions.classes import CLASSES
from skin_lesions.distributed import world_size

Items = Sequence[Mapping[str, Any]]


def class_weights(items: Items) -> torch.Tensor:
    """Weight of each class, (7,): its inverse frequency, 1 in the mean over ``items``.

    scikit-learn's ``balanced`` (King and Zeng 2001): n / (classes x n of the class).
    """
    counts = Counter(item["label"] for item in items)
    return torch.tensor([len(items) / (len(CLASSES) * counts[label]) for label in range(len(CLASSES))])


def sampler(items: Items, balanced: bool, seed: int) -> Sampler[int]:
    """The order of an epoch, shared out where there are several processes.

    Args:
        items: of the training.
        balanced: draw with replacement, each class as often as any other; else each item once.
        seed: by which several processes agree on the order; one alone takes that of its random generator.
    """
    weights = class_weights(items)[[item["label"] for item in items]] if balanced else None
    if world_size() > 1:
        if weights is None:
            return DistributedSampler(items, even_divisible=True, shuffle=True, seed=seed)
        return DistributedWeightedRandomSampler(items, weights, even_divisible=True, shuffle=True, seed=seed)
    return RandomSampler(items) if weights is None else WeightedRandomSampler(weights.tolist(), len(items))


def oversampled(items: Items) -> list[dict[str, Any]]:
    """``items`` with those of rarer classes repeated in turn, until each class has as many as the largest.

    The published system copied files before it split them, so its test part held copies of training images. Here the
    items are of one part already.
    """
    by_class: dict[int, list[dict[str, Any]]] = {}
    for item in items:
        by_class.setdefault(item["label"], []).append(dict(item))
    most = max(map(len, by_class.values()))
    return [members[index % len(members)] for members in by_class.values() for index in range(most)]
