"""How well the classes are told apart, from the probabilities of labelled images; counted by scikit-learn.

A class that no image of the part belongs to has no recall and no ROC curve, a class that is never predicted has no
precision: each is NaN, and a mean over classes is the mean of those that have a value. An image of every class is
therefore wanted in a test part; :func:`absent_classes` names those without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

# One value each, and one value a class; the order of tables.
OVERALL = ("macro_auc", "balanced_accuracy", "accuracy")
BY_CLASS = ("auc", "recall", "precision")

Floats = NDArray[np.float64]
Scores = Mapping[str, float | Floats]


def score(truth: NDArray[np.integer], probabilities: Floats) -> dict[str, float | Floats]:
    """Every measure of ``OVERALL``, a number, and of ``BY_CLASS``, (K,).

    ``macro_auc`` is the unweighted mean of the areas under the ROC curves of each class against all others
    (scikit-learn's ``multi_class="ovr", average="macro"``).
    ``balanced_accuracy`` is the mean recall (Brodersen et al. 2010, doi.org/10.1109/ICPR.2010.764), the measure of the
    ISIC 2018 challenge on these classes (Codella et al. 2019, arXiv 1902.03368).

    Args:
        truth: the class of each image, 0 to K - 1, (N,).
        probabilities: of each class, (N, K).

    Raises:
        ValueError: there is no image, or the arrays do not fit each other.
    """
    truth, probabilities = checked(truth, probabilities)
    predicted = probabilities.argmax(axis=1)
    labels = range(probabilities.shape[1])
    recall, precision = (
        measure(truth, predicted, labels=labels, average=None, zero_division=np.nan)
        for measure in (metrics.recall_score, metrics.precision_score)
    )
    auc = np.array([_auc(truth == label, probabilities[:, label]) for label in labels])
    return {
        "macro_auc": mean_of_defined(auc),
        "balanced_accuracy": mean_of_defined(recall),
        "accuracy": float(metrics.accuracy_score(truth, predicted)),
        "auc": auc,
        "recall": recall,
        "precision": precision,
    }


def confusion_matrix(truth: NDArray[np.integer], probabilities: Floats) -> NDArray[np.int64]:
    """Images of true class (row) by most probable class (column), (K, K); arguments as :func:`score` takes them."""
    truth, probabilities = checked(truth, probabilities)
    return metrics.confusion_matrix(truth, probabilities.argmax(axis=1), labels=range(probabilities.shape[1]))


def roc_curve(truth: NDArray[np.integer], probabilities: Floats, label: int) -> Floats | None:
    """Corners of one class's ROC curve, false and true positive rate, (2, points), or None where it has none."""
    truth, probabilities = checked(truth, probabilities)
    if not _has_both(truth == label):
        return None
    false_positive, true_positive, _ = metrics.roc_curve(truth == label, probabilities[:, label])
    return np.stack([false_positive, true_positive])


def absent_classes(truth: NDArray[np.integer], classes: Sequence[str]) -> list[str]:
    """The classes that no image belongs to."""
    return [name for label, name in enumerate(classes) if not (truth == label).any()]


def mean_of_defined(values: Floats) -> float:
    """Mean of the numbers among them; NaN where there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def checked(truth: NDArray[np.integer], probabilities: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Both as arrays of their types, (N,) and (N, K).

    Raises:
        ValueError: there is no image, the shapes do not fit, a row is no distribution, or a class lies outside of it.
    """
    truth = np.asarray(truth, dtype=np.int64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2 or truth.shape != probabilities.shape[:1] or not truth.size:
        raise ValueError(
            f"truth {truth.shape} and probabilities {probabilities.shape}: (N,) and (N, K) of an image at least wanted."
        )
    if not ((probabilities >= 0).all() and np.allclose(probabilities.sum(axis=1), 1, atol=1e-4)):
        raise ValueError(
            "rows of probabilities that sum to 1 are wanted; these may be logits: apply the softmax first."
        )
    if truth.min() < 0 or truth.max() >= probabilities.shape[1]:
        raise ValueError(f"true classes {truth.min()} to {truth.max()} for {probabilities.shape[1]} probabilities.")
    return truth, probabilities


def _auc(positive: NDArray[np.bool_], score_of_class: Floats) -> float:
    # roc_auc_score would warn about what the NaN says.
    return float(metrics.roc_auc_score(positive, score_of_class)) if _has_both(positive) else float("nan")


def _has_both(positive: NDArray[np.bool_]) -> bool:
    return bool(positive.any() and not positive.all())
