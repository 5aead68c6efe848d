"""Dice of tumour regions under the BraTS rules for empty regions, as tensors and as metrics of a config; and HD95.

MONAI ignores a case whose region is empty in the ground truth, even when the model hallucinates one. The challenge
counts it: both empty is a perfect score, one empty is the worst one (BraTS 2023 evaluation, github.com/rachitsaluja/
BraTS-2023-Metrics). All other measures of an evaluation are in scripts.scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric

from scripts.scores import common_box, surface_scores
from scripts.surfaces import HD95_EMPTY_MM

__all__ = ["HD95_EMPTY_MM", "RegionDice", "RegionDiceHandler", "region_dice", "region_hd95_mm", "region_metrics"]


def region_dice(prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Dice of each case and region.

    Args:
        prediction: 0/1 masks, (B, R, H, W, D).
        truth: 0/1 masks of the same shape.

    Returns:
        float32 (B, R); 1 where both masks are empty, 0 where one is.
    """
    axes = tuple(range(2, prediction.ndim))
    # Sums of millions of ones are not exact in float32.
    overlap = (prediction * truth).sum(axes, dtype=torch.float64)
    total = prediction.sum(axes, dtype=torch.float64) + truth.sum(axes, dtype=torch.float64)
    dice = 2 * overlap / total.clamp(min=1)
    return torch.where(total == 0, torch.ones_like(dice), dice).to(torch.float32)


def region_hd95_mm(prediction: torch.Tensor, truth: torch.Tensor, spacing_mm: Sequence[float]) -> torch.Tensor:
    """95th percentile of the distance between the surfaces of each case and region, in mm (scripts.surfaces).

    Args:
        prediction: 0/1 masks, (B, R, H, W, D), on any device.
        truth: 0/1 masks of the same shape.
        spacing_mm: voxel size along H, W, D.

    Returns:
        float32 (B, R) on the CPU; 0 where both masks are empty, ``HD95_EMPTY_MM`` where one is.
    """
    pairs = [(mask.bool().cpu().numpy().reshape(-1, *mask.shape[2:])) for mask in (prediction, truth)]
    values = []
    for mask, other in zip(*pairs, strict=True):
        box = common_box(mask, other)
        values.append(surface_scores(mask[box], other[box], spacing_mm)["hd95_mm"])
    return torch.tensor(values).reshape(prediction.shape[:2])


class RegionDice(CumulativeIterationMetric):
    """Mean Dice over cases (and regions), accumulated over an epoch and gathered over processes.

    Args:
        region: index of the one region to average, or None for all.
    """

    def __init__(self, region: int | None = None) -> None:
        super().__init__()
        self.region = region

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.region is not None:
            y_pred, y = (t[:, self.region : self.region + 1] for t in (y_pred, y))
        return region_dice(y_pred, y)

    def aggregate(self) -> torch.Tensor:
        """Mean of all values seen, a scalar."""
        scores = self.get_buffer()
        if not isinstance(scores, torch.Tensor):
            raise ValueError(f"no case was scored: the metric buffer is {type(scores).__name__}, a tensor was wanted.")
        return scores.mean()


class RegionDiceHandler(IgniteMetricHandler):
    """:class:`RegionDice` as an ignite metric, for a config's ``key_metric`` and ``additional_metrics``."""

    def __init__(self, output_transform: Callable[..., Any], region: int | None = None) -> None:
        super().__init__(metric_fn=RegionDice(region), output_transform=output_transform, save_details=False)


def region_metrics(regions: Sequence[str], output_transform: Callable[..., Any]) -> dict[str, RegionDiceHandler]:
    """One metric a region, named ``val_dice_<region>``."""
    return {f"val_dice_{name}": RegionDiceHandler(output_transform, index) for index, name in enumerate(regions)}
