"""Calibration: the error by hand and bin by bin, and the temperature of predictors whose fault is known."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from predictors import calibrated_logits
from scipy.special import log_softmax, softmax
from skin_lesions.calibration import (
    TEMPERATURE_BOUNDS,
    calibrated,
    expected_calibration_error,
    fit_temperature,
    reliability,
)

MANY = 20_000


def error_bin_by_bin(truth: np.ndarray, probabilities: np.ndarray, bins: int) -> float:
    """Guo's equation 3, image by image."""
    held: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for label, row in zip(truth, probabilities, strict=True):
        confidence = float(row.max())
        place = next(m for m in range(1, bins + 1) if (m - 1) / bins < confidence <= m / bins)
        held[place - 1].append((confidence, bool(row.argmax() == label)))
    gaps = [abs(sum(right for _, right in b) / len(b) - sum(c for c, _ in b) / len(b)) * len(b) for b in held if b]
    return sum(gaps) / len(truth)


def loss(logits: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    """Mean negative log-likelihood, which the temperature is to make smallest."""
    return -log_softmax(logits / temperature, axis=1)[np.arange(len(truth)), truth].mean()


def test_error_by_hand() -> None:
    # Two of confidence 0.9, one right; two of confidence 0.6, both right: gaps of 0.4, twice.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    truth = np.array([0, 1, 0, 1])
    found = reliability(truth, probabilities, bins=10)
    assert found.points() == pytest.approx(np.array([[0.6, 1, 2], [0.9, 0.5, 2]]))
    assert found.error() == pytest.approx(0.4)


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_error_bin_by_bin(bins: int) -> None:
    logits, truth = calibrated_logits(300)
    probabilities = softmax(2 * logits, axis=1)
    assert expected_calibration_error(truth, probabilities, bins) == pytest.approx(
        error_bin_by_bin(truth, probabilities, bins)
    )


def test_a_confidence_on_a_border_belongs_to_the_bin_below() -> None:
    found = reliability(np.array([0, 0]), np.array([[0.5, 0.5], [1.0, 0.0]]), bins=2)
    assert found.images.tolist() == [1, 1]


def test_a_calibrated_predictor_is_left_alone() -> None:
    logits, truth = calibrated_logits(MANY)
    assert expected_calibration_error(truth, softmax(logits, axis=1)) < 0.01
    assert fit_temperature(logits, truth) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_the_temperature_undoes_a_factor_on_the_logits(factor: float) -> None:
    logits, truth = calibrated_logits(MANY)
    loud = factor * logits
    temperature = fit_temperature(loud, truth)
    assert temperature == pytest.approx(factor, rel=0.03)
    before, after = (expected_calibration_error(truth, calibrated(loud, t)) for t in (1, temperature))
    assert before > 0.1 and after < 0.01
    assert (calibrated(loud, temperature).argmax(axis=1) == loud.argmax(axis=1)).all(), "no prediction changes"


@pytest.mark.parametrize("factor", [0.3, 2.5, 6])
def test_the_fit_is_the_best_of_a_fine_grid(factor: float) -> None:
    logits, truth = calibrated_logits(50, seed=4)
    logits = factor * logits
    grid = np.exp(np.linspace(*np.log(TEMPERATURE_BOUNDS), 4001))
    best = grid[np.argmin([loss(logits, truth, t) for t in grid])]
    assert fit_temperature(logits, truth) == pytest.approx(best, rel=2e-3)


def test_calibrated_by_hand() -> None:
    # At T = 2 probabilities are square roots, made to sum to 1.
    assert calibrated(np.log([0.64, 0.36]), 2) == pytest.approx(np.array([0.8, 0.6]) / 1.4)
    assert calibrated([[1e4, -1e4]], 0.1).tolist() == [[1, 0]], "no overflow"
    logits = np.random.default_rng(0).normal(size=(4, 7))
    assert calibrated(np.log(softmax(logits, axis=1)), 1.7) == pytest.approx(calibrated(logits, 1.7))
    for temperature in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="must be above 0"):
            calibrated(logits, temperature)


@pytest.mark.parametrize("fault", ["all right", "no skill", "not a number", "infinite", "all equal"])
def test_a_fit_without_a_minimum_keeps_the_confidence(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    truth = np.arange(21) % 7
    right = 4.0 * np.eye(7)[truth]
    logits = {
        "all right": right,
        "no skill": -right,
        "not a number": np.where(right > 0, np.nan, 0.0),
        "infinite": np.where(right > 0, np.inf, 0.0),
        "all equal": np.zeros((21, 7)),
    }[fault]
    with caplog.at_level(logging.INFO, "skin_lesions.calibration"):
        assert fit_temperature(logits, truth) == 1
    assert "temperature kept at 1" in caplog.text


def test_logits_of_any_size_are_fitted() -> None:
    """Logits of thousands at T = 0.1 would overflow, and a constant an image means nothing."""
    logits, truth = calibrated_logits(500, seed=1)
    shifted = logits + np.linspace(-5e4, 5e4, 500)[:, None]
    assert fit_temperature(shifted, truth) == pytest.approx(fit_temperature(logits, truth), rel=1e-4)


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="of an image at least"):
        fit_temperature(np.zeros((0, 7)), np.zeros(0, dtype=int))
    with pytest.raises(ValueError, match=r"\(3, 7\) and truth \(2,\)"):
        fit_temperature(np.zeros((3, 7)), np.zeros(2, dtype=int))
