"""Intervals against a bootstrap that copies the images of the lesions drawn and scores each sample anew."""

from __future__ import annotations

import numpy as np
import pytest
from predictors import some_predictions
from skin_lesions.bootstrap import Draws, draw, interval
from skin_lesions.calibration import expected_calibration_error
from skin_lesions.scores import score
from skin_lesions.weighted_scores import weighted_ece, weighted_scores

MEASURES = ("macro_auc", "balanced_accuracy", "accuracy", "auc", "recall", "precision")


def draw_scores(truth: np.ndarray, probabilities: np.ndarray, lesions: list[str], **how: int) -> Draws:
    """All measures in each sample."""
    return draw(
        lambda times: weighted_scores(truth, probabilities, times) | {"ece": weighted_ece(truth, probabilities, times)},
        lesions,
        **how,
    )


def copied(lesions: list[str], drawn: list[str]) -> np.ndarray:
    """Indices of the images of the lesions drawn, as often as they were."""
    return np.concatenate([np.flatnonzero(np.array(lesions) == name) for name in drawn])


# A class of a single image is absent from a third of the samples.
@pytest.mark.parametrize("rare", [False, True])
def test_each_sample_is_scored_as_its_copies_would_be(rare: bool) -> None:
    truth, probabilities, lesions = some_predictions(40)
    if rare:
        truth = np.where(truth == 2, 1, truth)
        truth[7] = 2
    found = draw_scores(truth, probabilities, lesions, resamples=450, seed=5)
    names = sorted(set(lesions))
    times = np.random.default_rng(5).multinomial(len(names), [1 / len(names)] * len(names), size=450)
    for sample in (*range(25), 399, 400):
        images = copied(lesions, [name for name, n in zip(names, times[sample], strict=True) for _ in range(n)])
        expected = score(truth[images], probabilities[images])
        for name in MEASURES:
            assert found[name][sample] == pytest.approx(expected[name], nan_ok=True), (name, sample)
        assert found["ece"][sample] == pytest.approx(expected_calibration_error(truth[images], probabilities[images]))
    assert np.isnan(found["auc"][:, 2]).any() == rare
    assert not np.isnan(found["macro_auc"]).any()


def literal_scores(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Three measures without scikit-learn, whose checks take a thousand times as long."""
    areas, recalls = [], []
    for label in np.unique(truth):
        scores, positive = probabilities[:, label], truth == label
        above = scores[positive][:, None] - scores[~positive][None]
        areas.append(((above > 0) + 0.5 * (above == 0)).mean())
        recalls.append((probabilities[positive].argmax(axis=1) == label).mean())
    accuracy = (probabilities.argmax(axis=1) == truth).mean()
    return {"macro_auc": np.mean(areas), "balanced_accuracy": np.mean(recalls), "accuracy": accuracy}


def test_intervals_are_those_of_a_literal_bootstrap() -> None:
    truth, probabilities, lesions = some_predictions(60)
    rng = np.random.default_rng(99)
    names = sorted(set(lesions))
    samples = [copied(lesions, list(rng.choice(names, len(names)))) for _ in range(2000)]
    literal = [literal_scores(truth[images], probabilities[images]) for images in samples]
    found = draw_scores(truth, probabilities, lesions)
    for name in literal[0]:
        bounds = np.percentile([scores[name] for scores in literal], [2.5, 97.5])
        # Two draws of so many samples differ by less than this.
        assert interval(found[name]) == pytest.approx(bounds, abs=0.02)
        assert bounds[1] - bounds[0] > 0.1


def test_copies_of_an_image_in_its_lesion_are_no_evidence() -> None:
    truth, probabilities, _ = some_predictions(60)
    once = [str(image) for image in range(60)]
    single = draw_scores(truth, probabilities, once)
    tripled = draw_scores(np.tile(truth, 3), np.tile(probabilities, (3, 1)), once * 3)
    as_if_new = draw_scores(np.tile(truth, 3), np.tile(probabilities, (3, 1)), [str(image) for image in range(180)])
    width = {
        name: float(np.diff(interval(draws["accuracy"]))[0])
        for name, draws in {"single": single, "tripled": tripled, "as_if_new": as_if_new}.items()
    }
    assert width["tripled"] == pytest.approx(width["single"])
    assert width["as_if_new"] < 0.7 * width["single"]


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    truth, probabilities, _ = some_predictions(400)
    accuracy = score(truth, probabilities)["accuracy"]
    low, high = interval(draw_scores(truth, probabilities, [str(i) for i in range(400)])["accuracy"])
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / 400)
    assert (low, high) == pytest.approx((accuracy - half, accuracy + half), abs=0.005)


def test_seeded_and_independent_of_the_order_of_lesions() -> None:
    truth, probabilities, lesions = some_predictions(30)
    first = draw_scores(truth, probabilities, lesions, resamples=20)
    backwards = draw_scores(truth[::-1], probabilities[::-1], lesions[::-1], resamples=20)
    other = draw_scores(truth, probabilities, lesions, resamples=20, seed=1)
    assert first["accuracy"] == pytest.approx(backwards["accuracy"])
    assert first["accuracy"].tolist() != other["accuracy"].tolist()


def test_interval_by_hand() -> None:
    values = np.arange(101.0)
    assert interval(values).tolist() == pytest.approx([2.5, 97.5])
    columns = np.column_stack([values, np.full(101, np.nan)])
    assert interval(columns)[:, 0].tolist() == pytest.approx([2.5, 97.5])
    assert np.isnan(interval(columns)[:, 1]).all()


def test_one_lesion_has_no_interval() -> None:
    truth, probabilities, _ = some_predictions(5)
    with pytest.raises(ValueError, match="1 lesion.s. of 5 images"):
        draw_scores(truth, probabilities, ["HAM_1"] * 5)
