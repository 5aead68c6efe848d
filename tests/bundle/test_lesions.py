"""Lesion-wise scores: hand-made cases with known answers, and a slow reading of BraTS 2023's definition."""

from __future__ import annotations

import numpy as np
import pytest
from blobs import Mask, blobs, brute_force
from scipy.ndimage import binary_dilation, generate_binary_structure, label
from scripts.lesions import LesionScores, dilated, lesion_scores
from scripts.surfaces import HD95_EMPTY_MM

SHAPE = (40, 30, 20)
BLOBS = (34, 26, 20)
ONE_MM = (1.0, 1.0, 1.0)


def boxes(*corners: tuple[int, int, int], side: int = 5) -> Mask:
    """Cubes of 125 voxels, or of another side, by their first corners."""
    mask = np.zeros(SHAPE, bool)
    for x, y, z in corners:
        mask[x : x + side, y : y + side, z : z + side] = True
    return mask


def imperfect(truth: Mask, seed: int) -> Mask:
    """A prediction without the first lesion of the truth, the others moved by a voxel, and with a few false ones."""
    lesions, _ = label(dilated(truth, 3), np.ones((3, 3, 3)))
    # Nothing false where it would find the lesion that is left out.
    near = dilated(truth & (lesions == 1), 3)
    return (np.roll(truth & (lesions != 1), 1, 1) ^ blobs(seed + 50, 0.004, BLOBS, 1)) & ~near


def slow(prediction: Mask, truth: Mask, spacing_mm: tuple[float, float, float]) -> LesionScores:
    """The definition step by step on whole volumes, one lesion at a time, with distances by all pairs."""
    element, everywhere = generate_binary_structure(3, 2), np.ones((3, 3, 3))
    grown, n_lesions = label(binary_dilation(truth, element, 3), everywhere)
    components, n_components = label(prediction, everywhere)
    scores, touched, missed = [], set(), 0
    for number in range(1, n_lesions + 1):
        lesion = truth & (grown == number)
        mine = set(components[binary_dilation(lesion, element, 3)].tolist()) - {0}
        touched |= mine
        if lesion.sum() * np.prod(spacing_mm) <= 50:
            continue
        found = np.isin(components, list(mine))
        missed += not mine
        dice = 2 * (found & lesion).sum() / (found.sum() + lesion.sum())
        scores.append((dice, brute_force(found, lesion, spacing_mm)[0] if mine else 374))
    false = n_components - len(touched)
    n_kept = len(scores)
    scores += [(0, 374)] * false
    dice, hd95 = np.mean(scores, axis=0) if scores else (1, 0)
    return LesionScores(pytest.approx(dice), pytest.approx(hd95), n_kept, missed, false)


@pytest.mark.parametrize("spacing", [ONE_MM, (2.0, 2.0, 2.0), (0.7, 1.0, 3.0)])
@pytest.mark.parametrize("seed", range(3))
def test_slow_reading_of_the_definition(seed: int, spacing: tuple[float, float, float]) -> None:
    truth = blobs(seed, 0.02, BLOBS, 1.5)
    prediction = imperfect(truth, seed)
    assert lesion_scores(prediction, truth, spacing) == slow(prediction, truth, spacing)


def test_the_slow_reading_met_every_situation() -> None:
    """The random cases above have several lesions, small, missed and false ones among them."""
    truths = [blobs(seed, 0.02, BLOBS, 1.5) for seed in range(3)]
    found = [lesion_scores(imperfect(truth, seed), truth, ONE_MM) for seed, truth in enumerate(truths)]
    components = [label(dilated(truth, 3), np.ones((3, 3, 3)))[1] for truth in truths]
    assert max(scores.truth for scores in found) > 1 and max(scores.false for scores in found) > 0
    assert max(scores.missed for scores in found) > 0
    assert any(n > scores.truth for n, scores in zip(components, found, strict=True)), "none below the minimum"


def test_lesions_that_nearly_touch_are_one() -> None:
    """Six voxels apart the dilations touch; eight apart they do not."""
    for gap, lesions in ((6, 1), (7, 2)):
        truth = boxes((2, 5, 5), (7 + gap, 5, 5))
        scores = lesion_scores(boxes((2, 5, 5)), truth, ONE_MM)
        assert scores.truth == lesions
        assert scores.missed == lesions - 1
        assert scores.dice == pytest.approx(2 * 125 / (125 + 250) if lesions == 1 else 0.5)


def test_a_lesion_split_in_two_is_compared_with_both_parts() -> None:
    truth = boxes((5, 5, 5), side=9)
    prediction = truth.copy()
    prediction[9] = False
    dice, (hd95, _) = 2 * 8 * 81 / (8 * 81 + 729), brute_force(prediction, truth, ONE_MM)
    assert lesion_scores(prediction, truth, ONE_MM) == LesionScores(pytest.approx(dice), pytest.approx(hd95), 1, 0, 0)


def test_one_prediction_over_two_lesions_counts_whole_for_each() -> None:
    truth = boxes((2, 5, 5), (20, 5, 5))
    prediction = truth.copy()
    prediction[2:25, 5:10, 5:10] = True
    scores = lesion_scores(prediction, truth, ONE_MM)
    volume = 23 * 25
    assert (scores.truth, scores.missed, scores.false) == (2, 0, 0)
    assert scores.dice == pytest.approx(2 * 125 / (125 + volume))


def test_a_missed_and_a_false_lesion_count_as_whole_ones() -> None:
    truth, prediction = boxes((2, 5, 5), (20, 5, 5)), boxes((2, 5, 5), (33, 22, 12))
    assert lesion_scores(prediction, truth, ONE_MM) == LesionScores(
        pytest.approx(1 / 3), pytest.approx(2 * HD95_EMPTY_MM / 3), 2, 1, 1
    )


def test_a_false_lesion_has_no_minimum_size() -> None:
    truth, prediction = boxes((2, 5, 5)), boxes((2, 5, 5))
    prediction[35, 25, 15] = True
    assert lesion_scores(prediction, truth, ONE_MM) == LesionScores(0.5, HD95_EMPTY_MM / 2, 1, 0, 1)


def test_a_prediction_beside_its_lesion_belongs_to_it() -> None:
    """It touches the dilated lesion: found, with no overlap, and no false lesion."""
    scores = lesion_scores(boxes((13, 5, 5)), boxes((6, 5, 5)), ONE_MM)
    assert (scores.dice, scores.truth, scores.missed, scores.false) == (0.0, 1, 0, 0)
    assert 0 < scores.hd95_mm < 20


@pytest.mark.parametrize("found", [True, False])
def test_small_lesions_count_neither_found_nor_missed(found: bool) -> None:
    """48 voxels of 1 mm are below the minimum, 49 of 2 mm are not: it is a volume."""
    truth, prediction = boxes((2, 5, 5)), boxes((2, 5, 5))
    truth[20:24, 5:9, 5:8] = True
    if found:
        prediction[20:24, 5:9, 5:8] = True
    assert lesion_scores(prediction, truth, ONE_MM) == LesionScores(1.0, 0.0, 1, 0, 0)
    at_2_mm = lesion_scores(prediction, truth, (2.0, 2.0, 2.0))
    assert (at_2_mm.truth, at_2_mm.missed) == (2, 0 if found else 1)


def test_the_minimum_itself_is_dropped() -> None:
    truth = np.zeros(SHAPE, bool)
    truth[5:10, 5:10, 5:7] = True
    empty = np.zeros_like(truth)
    assert truth.sum() == 50
    assert lesion_scores(empty, truth, ONE_MM) == LesionScores(1.0, 0.0, 0, 0, 0)
    truth[10, 5, 5] = True
    assert lesion_scores(empty, truth, ONE_MM) == LesionScores(0.0, HD95_EMPTY_MM, 1, 1, 0)


def test_empty_regions() -> None:
    empty, two = np.zeros(SHAPE, bool), boxes((2, 5, 5), (20, 5, 5))
    assert lesion_scores(empty, empty, ONE_MM) == LesionScores(1.0, 0.0, 0, 0, 0)
    assert lesion_scores(two, empty, ONE_MM) == LesionScores(0.0, HD95_EMPTY_MM, 0, 0, 2)
    assert lesion_scores(empty, two, ONE_MM) == LesionScores(0.0, HD95_EMPTY_MM, 2, 2, 0)


def test_what_lies_outside_of_the_masks_changes_nothing() -> None:
    """Also for lesions at the volume's border, whose dilation is cut off there."""
    for seed in range(6):
        truth = blobs(seed, 0.05, (20, 16, 12), 1)
        prediction = np.roll(truth, 1, 0)
        assert lesion_scores(prediction, truth, ONE_MM) == lesion_scores(
            np.pad(prediction, 5), np.pad(truth, 5), ONE_MM
        )


@pytest.mark.parametrize("times", [1, 3])
def test_dilation_is_that_of_scipy(times: int) -> None:
    mask = blobs(4, 0.03, (20, 16, 12), 1)
    assert np.array_equal(dilated(mask, times), binary_dilation(mask, generate_binary_structure(3, 2), times))


def test_components_meet_at_corners() -> None:
    """26-connectivity: two cubes that share a corner are one component of the prediction."""
    prediction = boxes((2, 5, 5), (7, 10, 10))
    truth = boxes((2, 5, 5))
    assert lesion_scores(prediction, truth, ONE_MM).dice == pytest.approx(2 * 125 / (125 + 250))
