"""Whether a classifier is right as often as it says, and the one number that mends it: its temperature.

Reliability: images are sorted into bins of equal width by the confidence, which is the largest probability, and in each
bin the mean confidence is compared with the share of images that are classified rightly. The expected calibration error
(ECE) is the mean gap, weighted by the bins' images (Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv
1706.04599, equation 3), with their 15 bins: bin m of M holds confidences in ((m - 1) / M, m / M].

Temperature scaling (the same paper, section 4.2): all logits are divided by one T > 0, fitted on the validation part by
the mean negative log-likelihood. No prediction changes, since the order of the classes does not; above 1 it takes
confidence away, as networks mostly need.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import softmax

from skin_lesions.scores import Floats, checked

logger = logging.getLogger(__name__)

BINS = 15
# Guo et al. set none. A tenth and ten times the logits are more than a sound model needs, and leave the search an end.
TEMPERATURE_BOUNDS = (0.1, 10.0)
UNCALIBRATED = 1.0


@dataclass(frozen=True)
class Reliability:
    """Sums of each bin.

    Attributes:
        images: in the bin, (bins,).
        confidence: their summed confidences, (bins,).
        right: how many of them are classified rightly, (bins,).
    """

    images: Floats
    confidence: Floats
    right: Floats

    def error(self) -> float:
        """ECE: 0 where the classifier is right as often as it says, 1 at worst."""
        return float(np.abs(self.confidence - self.right).sum() / self.images.sum())

    def points(self) -> Floats:
        """Mean confidence, share of right ones and images of each bin that has any, (n, 3)."""
        filled = self.images > 0
        images = self.images[filled]
        return np.column_stack([self.confidence[filled] / images, self.right[filled] / images, images])


def reliability(truth: NDArray[np.integer], probabilities: Floats, bins: int = BINS) -> Reliability:
    """The bins of a set of images.

    Args:
        truth: the class of each image, 0 to K - 1, (N,).
        probabilities: of each class, (N, K).
        bins: of equal width.

    Raises:
        ValueError: there is no image, or the arrays do not fit each other.
    """
    truth, probabilities = checked(truth, probabilities)
    confidence, right = confidence_and_right(truth, probabilities)
    index = bin_of(confidence, bins)
    return Reliability(*(np.bincount(index, weights, bins) for weights in (np.ones_like(right), confidence, right)))


def expected_calibration_error(truth: NDArray[np.integer], probabilities: Floats, bins: int = BINS) -> float:
    """ECE of a set of images; arguments as :func:`reliability` takes them."""
    return reliability(truth, probabilities, bins).error()


def confidence_and_right(truth: NDArray[np.integer], probabilities: Floats) -> tuple[Floats, Floats]:
    """The largest probability of each image, and 1 where that class is the true one, else 0; both (N,)."""
    return probabilities.max(axis=1), (probabilities.argmax(axis=1) == truth).astype(np.float64)


def bin_of(confidence: Floats, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each confidence, 0 to bins - 1, (N,)."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def calibrated(logits: ArrayLike, temperature: float) -> Floats:
    """Probabilities at a temperature, as many as there are logits; classes lie along the last axis.

    Logarithms of probabilities serve as well as logits: they are the same but for a constant an image.

    Args:
        logits: (..., K).
        temperature: above 0; 1 is the plain softmax.

    Raises:
        ValueError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}: must be above 0.")
    return softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=-1)


def fit_temperature(logits: ArrayLike, truth: ArrayLike) -> float:
    """The temperature of the smallest mean negative log-likelihood, or 1 where there is none in the bounds.

    The likelihood is concave in 1 / T. At its maximum the logit that the softmax expects is, in the mean over images,
    that of the true class; the difference of the two rises with 1 / T, so its sign at ``TEMPERATURE_BOUNDS`` tells
    whether it is 0 between them, and Brent's search then finds where. There is none where every image is right, whose
    fit would claim certainty, or where the logits tell nothing of the truth: the model then keeps the confidence it
    has, and the log says so.

    Args:
        logits: of the validation part, (N, K).
        truth: 0 to K - 1, (N,).

    Raises:
        ValueError: there is no image, or the shapes do not fit.
    """
    logits = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(truth, dtype=np.int64)
    if logits.ndim != 2 or truth.shape != logits.shape[:1] or not truth.size:
        raise ValueError(f"logits {logits.shape} and truth {truth.shape}: (N, K) and (N,) of an image at least wanted.")
    of_truth = logits[np.arange(len(truth)), truth].mean()

    def expected_less_true(inverse: float) -> float:
        return float((calibrated(logits, 1 / inverse) * logits).sum(axis=1).mean() - of_truth)

    coldest, hottest = (1 / temperature for temperature in TEMPERATURE_BOUNDS)
    if not expected_less_true(hottest) < 0 < expected_less_true(coldest):
        logger.info(
            "temperature kept at 1: %d validation images give none between %g and %g", len(truth), *TEMPERATURE_BOUNDS
        )
        return UNCALIBRATED
    temperature = 1 / brentq(expected_less_true, hottest, coldest)
    logger.info("temperature %.3f, fitted on %d validation images", temperature, len(truth))
    return temperature
