"""Calibration against MONAI's, and cases ranked by uncertainty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import CalibrationErrorMetric
from scripts.calibration import coverage_curve, dice_at_coverage, rank_correlation, reliability

SHAPE = (12, 11, 10)
EVERYWHERE = np.ones(SHAPE, bool)


def drawn(seed: int, bend: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and a truth drawn with their ``bend``-th power: calibrated where that is 1."""
    rng = np.random.default_rng(seed)
    probability = rng.uniform(size=SHAPE)
    return probability.astype(np.float32), rng.uniform(size=SHAPE) < probability**bend


@pytest.mark.parametrize("bend", [1.0, 3.0])
def test_error_is_that_of_monai(bend: float) -> None:
    probability, truth = drawn(0, bend)
    metric = CalibrationErrorMetric(num_bins=15, include_background=True)
    metric(torch.from_numpy(probability)[None, None], torch.from_numpy(truth)[None, None].float())
    assert reliability(probability, truth, EVERYWHERE).error() == pytest.approx(float(metric.aggregate()), abs=1e-6)


def test_a_calibrated_model_has_a_small_error_and_a_bent_one_has_not() -> None:
    calibrated, bent = (
        sum(
            (reliability(*drawn(seed, bend), EVERYWHERE) for seed in range(1, 20)),
            reliability(*drawn(0, bend), EVERYWHERE),
        )
        for bend in (1.0, 3.0)
    )
    assert calibrated.error() < 0.02
    # The mean of p - p^3 over 0 to 1.
    assert bent.error() == pytest.approx(1 / 2 - 1 / 4, abs=0.01)
    probability, share, voxels = calibrated.points().T
    assert len(probability) == 15 and voxels.sum() == 20 * EVERYWHERE.size
    assert share == pytest.approx(probability, abs=0.05)


def test_cases_add_up_as_if_they_were_one() -> None:
    both = [drawn(seed) for seed in (1, 2)]
    together = reliability(
        *(np.concatenate(part) for part in zip(*both, strict=True)), np.concatenate([EVERYWHERE] * 2)
    )
    added = reliability(*both[0], EVERYWHERE) + reliability(*both[1], EVERYWHERE)
    assert added.error() == pytest.approx(together.error())
    assert added.points() == pytest.approx(together.points())


def test_bins_hold_their_upper_bound() -> None:
    """Guo et al.: ((m - 1) / M, m / M]; certain predictions are in the first and the last."""
    probability = np.array([0.0, 0.25, 0.5, 0.75, 1.0]).reshape(5, 1, 1)
    counted = reliability(probability, np.zeros_like(probability), np.ones(probability.shape, bool), bins=4)
    assert counted.voxels.tolist() == [2, 1, 1, 1]


def test_only_the_brain_counts() -> None:
    probability, truth = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool)
    brain = np.zeros(SHAPE, bool)
    brain[:2] = True
    probability[brain] = 0.5
    found = reliability(probability, truth, brain)
    assert found.error() == pytest.approx(0.5) and found.voxels.sum() == brain.sum()
    with pytest.raises(ValueError, match="no voxels"):
        reliability(probability, truth, np.zeros_like(brain)).error()


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan])
def test_logits_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="sigmoid"):
        reliability(np.full(SHAPE, value), EVERYWHERE, EVERYWHERE)


def test_the_most_certain_cases_come_first() -> None:
    uncertainty, dice = [0.3, 0.1, 0.9, 0.2], [0.6, 1.0, 0.0, 0.8]
    assert coverage_curve(uncertainty, dice).tolist() == pytest.approx([1.0, 0.9, 0.8, 0.6])
    assert dice_at_coverage(uncertainty, dice) == pytest.approx(0.9)
    assert dice_at_coverage(uncertainty, dice, 0.01) == 1.0
    assert dice_at_coverage(uncertainty, dice, 1.0) == pytest.approx(0.6)
    # Half of five cases are three.
    assert dice_at_coverage([1, 2, 3, 4, 5], [1, 1, 0.4, 0, 0]) == pytest.approx(0.8)


def test_rank_correlation() -> None:
    assert rank_correlation([0.3, 0.1, 0.9, 0.2], [0.6, 1.0, 0.0, 0.8]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3], [0.1, 0.2, 100]) == pytest.approx(1)
    assert np.isnan(rank_correlation([1, 1, 1], [0.1, 0.2, 0.3]))
