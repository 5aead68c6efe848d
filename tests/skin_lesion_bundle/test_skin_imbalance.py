"""The three remedies for unequal classes, each on its known answer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from skin_lesions.imbalance import class_weights, oversampled, sampler
from sklearn.utils.class_weight import compute_class_weight

COUNTS = (3, 5, 10, 1, 8, 60, 2)
ITEMS = [{"label": label, "name": f"{label}-{n}"} for label, count in enumerate(COUNTS) for n in range(count)]


def test_weights_are_those_of_scikit_learn() -> None:
    labels = [item["label"] for item in ITEMS]
    expected = compute_class_weight("balanced", classes=np.arange(7), y=labels)
    assert class_weights(ITEMS).tolist() == pytest.approx(expected.tolist())


def test_a_balanced_sampler_draws_each_class_alike() -> None:
    torch.manual_seed(0)
    drawn = Counter(ITEMS[index]["label"] for _ in range(60) for index in sampler(ITEMS, balanced=True, seed=0))
    total = sum(drawn.values())
    assert total == 60 * len(ITEMS)
    # Five standard deviations of a binomial share of 1/7.
    assert all(abs(drawn[label] / total - 1 / 7) < 5 * (6 / 49 / total) ** 0.5 for label in range(7))


def test_a_plain_sampler_draws_each_item_once() -> None:
    torch.manual_seed(0)
    order = list(sampler(ITEMS, balanced=False, seed=0))
    assert sorted(order) == list(range(len(ITEMS))) != order


def test_oversampling_repeats_rare_classes_evenly() -> None:
    more = oversampled(ITEMS)
    assert Counter(item["label"] for item in more) == dict.fromkeys(range(7), 60)
    copies = Counter(item["name"] for item in more)
    assert set(copies) == {item["name"] for item in ITEMS}
    assert {copies[f"2-{n}"] for n in range(10)} == {6} and copies["3-0"] == 60
