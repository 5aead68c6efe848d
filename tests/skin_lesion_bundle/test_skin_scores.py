"""Scores against answers counted by hand and pair by pair."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from predictors import some_predictions
from skin_lesions.scores import absent_classes, confusion_matrix, roc_curve, score
from sklearn.metrics import auc, balanced_accuracy_score, roc_auc_score

# Six images of three classes; class 2 is taken for class 0 once, class 0 for class 1 once.
TRUTH = np.array([0, 0, 0, 1, 2, 2])
PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.9, 0.0], [0.5, 0.1, 0.4], [0.1, 0.2, 0.7]]
)


def share_of_ordered_pairs(positive: np.ndarray, values: np.ndarray) -> float:
    """The area under the ROC curve as Hanley and McNeil define it: equal values are half in order."""
    pairs = list(itertools.product(values[positive], values[~positive]))
    return sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)


def test_by_hand() -> None:
    found = score(TRUTH, PROBABILITIES)
    assert confusion_matrix(TRUTH, PROBABILITIES).tolist() == [[2, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert found["recall"].tolist() == pytest.approx([2 / 3, 1, 1 / 2])
    assert found["precision"].tolist() == pytest.approx([2 / 3, 1 / 2, 1])
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert found["accuracy"] == pytest.approx(4 / 6)
    # Class 0: 0.8, 0.6, 0.2 against 0.1, 0.5, 0.1; one of nine pairs is out of order. The others are in order.
    assert found["auc"].tolist() == pytest.approx([8 / 9, 1, 1])
    assert found["macro_auc"] == pytest.approx((8 / 9 + 2) / 3)


@pytest.mark.parametrize("seed", range(3))
def test_area_is_the_share_of_ordered_pairs(seed: int) -> None:
    truth, probabilities, _ = some_predictions(seed=seed)
    pairs = [share_of_ordered_pairs(truth == label, probabilities[:, label]) for label in range(3)]
    found = score(truth, probabilities)
    assert found["auc"].tolist() == pytest.approx(pairs)
    assert found["macro_auc"] == pytest.approx(roc_auc_score(truth, probabilities, multi_class="ovr", average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, probabilities.argmax(axis=1)))
    assert [auc(*roc_curve(truth, probabilities, label)) for label in range(3)] == pytest.approx(pairs)


def test_a_class_without_an_image_has_no_recall_and_no_curve() -> None:
    with_three = score(TRUTH, PROBABILITIES)
    # A fourth class that no image has and none is taken for changes nothing but its own values.
    with_four = score(TRUTH, np.column_stack([PROBABILITIES, np.zeros(6)]))
    for name in ("auc", "recall", "precision"):
        assert math.isnan(with_four[name][3])
        assert with_four[name][:3].tolist() == with_three[name].tolist()
    for name in ("macro_auc", "balanced_accuracy", "accuracy"):
        assert with_four[name] == with_three[name]
    assert roc_curve(TRUTH, np.column_stack([PROBABILITIES, np.zeros(6)]), 3) is None
    assert absent_classes(TRUTH, ["a", "b", "c", "d"]) == ["d"]


def test_a_class_without_an_image_that_is_predicted_has_a_precision() -> None:
    found = score(np.array([0, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert found["precision"].tolist() == [1, 0]
    assert found["recall"][0] == 0.5 and math.isnan(found["recall"][1])
    assert math.isnan(found["macro_auc"]), "one class alone has no other to be told from"


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="may be logits"):
        score(TRUTH, PROBABILITIES * 5)
    with pytest.raises(ValueError, match="of an image at least"):
        score(np.array([], dtype=int), np.zeros((0, 3)))
    with pytest.raises(ValueError, match="true classes 0 to 3 for 3"):
        score(np.array([0, 0, 0, 1, 2, 3]), PROBABILITIES)
