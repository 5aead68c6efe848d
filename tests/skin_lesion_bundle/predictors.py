"""Classifiers without a network, whose faults are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from skin_lesions.classes import CLASSES
from skin_lesions.predictions import Predictions


def calibrated_logits(images: int, classes: int = 7, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits (N, K) and truth (N,), drawn from the very probabilities that they stand for."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (images, classes))
    cumulated = np.cumsum(softmax(logits, axis=1), axis=1)
    truth = (rng.random((images, 1)) > cumulated[:, :-1]).sum(axis=1)
    return logits, truth


def some_predictions(
    images: int = 60, classes: int = 3, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float64], list[str]]:
    """Truth (N,), probabilities (N, K) with many equal ones, and lesions of one to four images."""
    logits, truth = calibrated_logits(images, classes, seed)
    # Coarse logits make ties, which an area under the curve must count as half.
    probabilities = softmax(np.round(logits), axis=1)
    lesions = np.repeat(np.arange(images), np.random.default_rng(seed).integers(1, 5, images))[:images]
    return truth, probabilities, [f"HAM_{lesion:07d}" for lesion in lesions]


def predictions_of_seven(images: int = 140, factor: float = 1.0, seed: int = 0) -> Predictions:
    """Predictions of HAM10000's classes, their logits a factor too loud, which their temperature undoes."""
    logits, truth = calibrated_logits(images, seed=seed)
    return Predictions(
        images=tuple(f"ISIC_{number:07d}" for number in range(images)),
        lesions=tuple(f"HAM_{number // 2:07d}" for number in range(images)),
        classes=CLASSES,
        truth=truth,
        probabilities=softmax(factor * logits, axis=1),
        temperature=factor,
    )
