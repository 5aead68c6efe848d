"""The scores of many bootstrap samples at once, each a weight an image.

scikit-learn scores one sample in some milliseconds; of two thousand samples these take a second or two. They are tested
against it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skin_lesions.calibration import BINS, bin_of, confidence_and_right
from skin_lesions.scores import Floats, checked


def weighted_scores(truth: NDArray[np.integer], probabilities: Floats, weights: NDArray[np.int64]) -> dict[str, Floats]:
    """The measures of :func:`skin_lesions.scores.score` in each of B samples.

    A sample may lack a rare class: a mean over classes is then that of the others, as it is for a whole part.

    Args:
        truth: the class of each image, 0 to K - 1, (N,).
        probabilities: of each class, (N, K).
        weights: how often each image is in each sample, (B, N).

    Returns:
        A name to (B,), or (B, K) for those of a class each; NaN where a sample has none.

    Raises:
        ValueError: truth and probabilities do not fit each other.
    """
    truth, probabilities = checked(truth, probabilities)
    n_classes = probabilities.shape[1]
    confusion = _sums(weights, truth * n_classes + probabilities.argmax(axis=1), n_classes**2)
    confusion = confusion.reshape(-1, n_classes, n_classes)
    right = np.diagonal(confusion, axis1=1, axis2=2)
    recall = _ratio(right, confusion.sum(axis=2))
    auc = np.column_stack(
        [_weighted_auc(truth == label, probabilities[:, label], weights) for label in range(n_classes)]
    )
    return {
        "macro_auc": _mean_of_defined(auc),
        "balanced_accuracy": _mean_of_defined(recall),
        "accuracy": right.sum(axis=1) / weights.sum(axis=1),
        "auc": auc,
        "recall": recall,
        "precision": _ratio(right, confusion.sum(axis=1)),
    }


def _weighted_auc(positive: NDArray[np.bool_], score_of_class: Floats, weights: NDArray[np.int64]) -> Floats:
    """Area under the ROC curve of each sample, (B,): the share of pairs of a positive and a negative image that are in
    order, equal scores counting half (Hanley and McNeil 1982, doi.org/10.1148/radiology.143.1.7063747)."""
    order = np.argsort(score_of_class, kind="stable")
    levels = np.flatnonzero(np.diff(score_of_class[order], prepend=-np.inf))
    sorted_weights = weights[:, order].astype(np.float64)
    positives, negatives = (
        np.add.reduceat(sorted_weights * chosen[order], levels, axis=1) for chosen in (positive, ~positive)
    )
    in_order = positives * (np.cumsum(negatives, axis=1) - negatives / 2)
    return _ratio(in_order.sum(axis=1), positives.sum(axis=1) * negatives.sum(axis=1))


def weighted_ece(truth: NDArray[np.integer], probabilities: Floats, weights: NDArray[np.int64]) -> Floats:
    """The expected calibration error of each sample, (B,); arguments as :func:`weighted_scores` takes them."""
    confidence, right = confidence_and_right(truth, probabilities)
    gaps = _sums(weights * (confidence - right), bin_of(confidence), BINS)
    return np.abs(gaps).sum(axis=1) / weights.sum(axis=1)


def _sums(values: NDArray[np.number], index: NDArray[np.int64], size: int) -> Floats:
    """Sums of the columns of (B, N) that share an index (N,) below ``size``, (B, size)."""
    return values @ np.eye(size)[index]


def _ratio(part: Floats, whole: Floats) -> Floats:
    """``part / whole``, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean_of_defined(values: Floats) -> Floats:
    """Mean over the columns that are numbers, (B,); NaN where none is."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1))
