"""Dice and HD95 under the BraTS rules."""

from __future__ import annotations

import torch
from monai.metrics import DiceMetric
from scripts.metrics import HD95_EMPTY_MM, RegionDice, region_dice, region_hd95_mm


def masks(*filled: bool) -> torch.Tensor:
    mask = torch.zeros(1, len(filled), 8, 8, 8)
    for channel, full in enumerate(filled):
        mask[0, channel, 2:5, 2:5, 2:5] = float(full)
    return mask


def test_empty_region_rules() -> None:
    prediction, truth = masks(False, True, False), masks(False, False, True)
    assert region_dice(prediction, truth).tolist() == [[1.0, 0.0, 0.0]]
    assert region_hd95_mm(prediction, truth, (1, 1, 1)).tolist() == [[0.0, HD95_EMPTY_MM, HD95_EMPTY_MM]]


def test_monai_would_ignore_a_hallucinated_region() -> None:
    """Why the metric exists: MONAI's mean leaves the case out, BraTS counts it as 0."""
    metric = DiceMetric()
    metric(masks(True), masks(False))
    assert metric.get_buffer().isnan().all()


def test_dice_of_half_overlap() -> None:
    prediction, truth = torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4)
    prediction[..., :2], truth[..., 1:3] = 1, 1
    assert region_dice(prediction, truth).item() == 0.5


def test_hd95_is_in_mm_along_each_axis() -> None:
    prediction, truth = torch.zeros(1, 1, 12, 12, 12), torch.zeros(1, 1, 12, 12, 12)
    truth[..., 2:6, 2:6, 2:6] = 1
    prediction[..., 2:6, 2:6, 4:8] = 1
    assert region_hd95_mm(prediction, truth, (1.0, 1.0, 1.0)).item() == 2
    assert region_hd95_mm(prediction, truth, (1.0, 1.0, 3.0)).item() == 6
    assert region_hd95_mm(truth, truth, (1.0, 1.0, 3.0)).item() == 0


def test_mean_over_cases_and_by_region() -> None:
    everything, second = RegionDice(), RegionDice(region=1)
    for prediction, truth in ((masks(True, True), masks(True, False)), (masks(True, True), masks(True, True))):
        everything(prediction, truth)
        second(prediction, truth)
    assert everything.aggregate().item() == 0.75
    assert second.aggregate().item() == 0.5
