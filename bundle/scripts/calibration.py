"""Whether a model knows what it does not know: calibration of its probabilities, and the ranking of cases by doubt.

Reliability: probabilities of a region are sorted into bins of equal width, and in each bin the mean probability is
compared with the share of voxels that truly belong to the region. The expected calibration error (ECE) is the mean gap,
weighted by the bins' voxels (Guo et al. 2017, arXiv 1706.04599, equation 3, with their 15 bins). Guo's bins are of the
winning class's confidence; a region has one probability, so here they are of that, and p and 1 - p do not share a bin.

Count within the brain: the air around it is background with certainty, and would make any model look calibrated.

Ranking: a useful uncertainty is high where Dice is low. The curve of the mean Dice of the k most certain cases (risk
and coverage, Geifman and El-Yaniv 2017, arXiv 1705.08500) then falls with k, and Spearman's correlation is near -1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Sums of each bin, from one case or, added up, from many.

    Attributes:
        voxels: in the bin, (bins,).
        probability: their summed probabilities, (bins,).
        positive: how many of them are in the region, (bins,).
    """

    voxels: NDArray[np.float64]
    probability: NDArray[np.float64]
    positive: NDArray[np.float64]

    def __add__(self, other: Reliability) -> Reliability:
        """The bins of both."""
        return Reliability(
            self.voxels + other.voxels, self.probability + other.probability, self.positive + other.positive
        )

    def points(self) -> NDArray[np.float64]:
        """The reliability curve: mean probability, share in the region and voxels of each bin that has any, (n, 3)."""
        filled = self.voxels > 0
        voxels = self.voxels[filled]
        return np.column_stack([self.probability[filled] / voxels, self.positive[filled] / voxels, voxels])

    def error(self) -> float:
        """ECE: 0 where the model is right as often as it says, 1 at worst.

        Raises:
            ValueError: there is no voxel.
        """
        if not self.voxels.any():
            raise ValueError("calibration of no voxels: the brain mask is empty, or no case was added.")
        return float(np.abs(self.probability - self.positive).sum() / self.voxels.sum())


def reliability(
    probability: NDArray[np.floating], truth: NDArray[np.generic], brain: NDArray[np.bool_], bins: int = BINS
) -> Reliability:
    """The bins of one region of one case.

    Args:
        probability: of the region, 0 to 1, (H, W, D).
        truth: 0/1, (H, W, D).
        brain: the voxels that count, (H, W, D).
        bins: of equal width; bin m of M holds (m / M, (m + 1) / M], the first one 0 as well.

    Raises:
        ValueError: a probability is not between 0 and 1.
    """
    p = probability[brain].astype(np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("probabilities between 0 and 1 are wanted; these may be logits: apply the sigmoid first.")
    index = np.clip(np.ceil(p * bins).astype(np.int64) - 1, 0, bins - 1)
    positive = truth[brain].astype(np.float64)
    return Reliability(*(np.bincount(index, weights, bins) for weights in (np.ones_like(p), p, positive)))


def coverage_curve(uncertainty: ArrayLike, dice: ArrayLike) -> NDArray[np.float64]:
    """Mean Dice of the k most certain cases for k from 1 to N, (N,). Cases of equal uncertainty stay in their order.

    Args:
        uncertainty: a value a case, any scale, (N,).
        dice: of the same cases, (N,).
    """
    order = np.argsort(np.asarray(uncertainty, dtype=np.float64), kind="stable")
    return np.cumsum(np.asarray(dice, dtype=np.float64)[order]) / np.arange(1, len(order) + 1)


def dice_at_coverage(uncertainty: ArrayLike, dice: ArrayLike, coverage: float = 0.5) -> float:
    """Mean Dice of that share of the cases that is most certain, at least one case.

    Args:
        uncertainty: a value a case, (N,).
        dice: of the same cases, (N,).
        coverage: share of the cases, rounded to the nearest number of cases, halves up.
    """
    curve = coverage_curve(uncertainty, dice)
    return float(curve[max(int(np.floor(coverage * len(curve) + 0.5)), 1) - 1])


def rank_correlation(uncertainty: ArrayLike, dice: ArrayLike) -> float:
    """Spearman's rank correlation of uncertainty and Dice, -1 at best; NaN where one of them is the same in all."""
    # scipy warns about what the NaN says.
    if min(np.unique(values).size for values in (uncertainty, dice)) < 2:
        return float("nan")
    return float(stats.spearmanr(uncertainty, dice).statistic)
