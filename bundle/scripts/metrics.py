"""Dice and HD95 of tumour regions under the BraTS rules for empty regions.

MONAI ignores a case whose region is empty in the ground truth, even when the model hallucinates one. The challenge
counts it: both empty is a perfect score, one empty is the worst one (BraTS 2023 evaluation, github.com/rachitsaluja/
BraTS-2023-Metrics: Dice 0, HD95 374 mm, which is the diagonal of the 240x240x155 mm volume, rounded up).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric, compute_hausdorff_distance

HD95_EMPTY_MM = 374.0


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
    """95th percentile of the symmetric surface distance of each case and region, in mm.

    Args:
        prediction: 0/1 masks, (B, R, H, W, D).
        truth: 0/1 masks of the same shape.
        spacing_mm: voxel size along H, W, D.

    Returns:
        float32 (B, R); 0 where both masks are empty, ``HD95_EMPTY_MM`` where one is.
    """
    has_prediction, has_truth = (mask.flatten(2).any(dim=-1) for mask in (prediction, truth))
    result = torch.where(has_prediction == has_truth, 0.0, HD95_EMPTY_MM).to(torch.float32)
    for case, region in torch.nonzero(has_prediction & has_truth).tolist():
        pair = (mask[case : case + 1, region : region + 1] for mask in (prediction, truth))
        distance = compute_hausdorff_distance(
            *pair, include_background=True, percentile=95, spacing=[float(s) for s in spacing_mm]
        )
        result[case, region] = float(distance)
    return result


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
