"""Every measure of a case, against counts by hand, and its rules for empty regions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from blobs import pair
from monai.metrics import ConfusionMatrixMetric, DiceMetric
from scripts.metrics import region_dice, region_hd95_mm
from scripts.scores import COUNTS, SCORES, score_case, voxel_size_mm

SPACING = (1.0, 1.5, 2.0)
VOXEL_ML = 0.003


def cube(*corner: int, filled: bool = True) -> np.ndarray:
    mask = np.zeros((1, 20, 20, 20), np.uint8)
    mask[0, corner[0] : corner[0] + 6, corner[1] : corner[1] + 6, corner[2] : corner[2] + 6] = filled
    return mask


def score(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    return {name: values["WT"] for name, values in score_case(prediction, truth, SPACING, ["WT"]).items()}


def test_a_shifted_cube_by_hand() -> None:
    prediction = cube(4, 4, 4)
    prediction[0, 4] = 0
    scores = score(prediction, cube(6, 4, 4))
    assert scores["dice"] == 2 * 4 * 36 / (5 * 36 + 216)
    assert scores["sensitivity"] == 4 / 6
    assert scores["precision"] == 4 / 5
    assert (scores["truth_ml"], scores["prediction_ml"]) == pytest.approx((216 * VOXEL_ML, 180 * VOXEL_ML))
    assert scores["volume_error_ml"] == pytest.approx(-36 * VOXEL_ML)
    assert scores["volume_error_relative"] == pytest.approx(-36 / 198)
    assert (scores["lesions"], scores["lesions_missed"], scores["lesions_false"]) == (1, 0, 0)
    # One lesion, found by one component: the lesion's scores are the region's.
    assert (scores["lesion_dice"], scores["lesion_hd95_mm"]) == (scores["dice"], scores["hd95_mm"])


@pytest.mark.parametrize("seed", range(5))
def test_overlap_is_that_of_monai(seed: int) -> None:
    masks = [torch.from_numpy(mask)[None, None].float() for mask in pair(seed)]
    dice = DiceMetric()
    dice(*masks)
    confusion = ConfusionMatrixMetric(metric_name=["sensitivity", "precision"])
    confusion(*masks)
    sensitivity, precision = (float(value) for value in confusion.aggregate())
    scores = score(*(mask[None].astype(np.uint8) for mask in pair(seed)))
    wanted = (float(dice.aggregate()), sensitivity, precision)
    assert (scores["dice"], scores["sensitivity"], scores["precision"]) == pytest.approx(wanted)


PERFECT = {
    "dice": 1, "hd95_mm": 0, "surface_dice": 1, "sensitivity": 1, "precision": 1, "volume_error_ml": 0,
    "volume_error_relative": 0, "lesion_dice": 1, "lesion_hd95_mm": 0,
}  # fmt: skip
WORST = {
    "dice": 0, "hd95_mm": 374, "surface_dice": 0, "sensitivity": 0, "precision": 0, "lesion_dice": 0,
    "lesion_hd95_mm": 374,
}  # fmt: skip
FULL, EMPTY = cube(5, 5, 5), cube(5, 5, 5, filled=False)


@pytest.mark.parametrize(
    ("prediction", "truth", "wanted"),
    [
        (EMPTY, EMPTY, PERFECT | dict.fromkeys(COUNTS, 0)),
        (FULL, FULL, PERFECT | {"lesions": 1}),
        (FULL, EMPTY, WORST | {"volume_error_relative": 2, "lesions": 0, "lesions_missed": 0, "lesions_false": 1}),
        (EMPTY, FULL, WORST | {"volume_error_relative": -2, "lesions": 1, "lesions_missed": 1, "lesions_false": 0}),
    ],
    ids=["both empty", "perfect", "truth empty", "prediction empty"],
)
def test_empty_region_rules(prediction: np.ndarray, truth: np.ndarray, wanted: dict[str, float]) -> None:
    scores = score(prediction, truth)
    assert set(scores) == {*SCORES, *COUNTS}
    assert {name: scores[name] for name in wanted} == wanted
    volume = 216 * VOXEL_ML
    assert scores["volume_error_ml"] == pytest.approx(volume * (int(prediction.any()) - int(truth.any())))


def test_regions_are_scored_by_themselves() -> None:
    prediction, truth = np.concatenate([FULL, EMPTY]), np.concatenate([FULL, FULL])
    scores = score_case(prediction, truth, SPACING, ("TC", "ET"))
    assert scores["dice"] == {"TC": 1.0, "ET": 0.0}
    with pytest.raises(ValueError, match="masks of 3 regions"):
        score_case(prediction, truth, SPACING)


def test_training_and_evaluation_have_one_dice_and_hd95() -> None:
    for seed in range(3):
        prediction, truth = (mask[None].astype(np.uint8) for mask in pair(seed))
        scores = score(prediction, truth)
        tensors = [torch.from_numpy(mask)[None] for mask in (prediction, truth)]
        assert region_dice(*tensors).item() == pytest.approx(scores["dice"])
        assert region_hd95_mm(*tensors, SPACING).item() == pytest.approx(scores["hd95_mm"])


def test_voxel_size_is_free_of_a_headers_rounding() -> None:
    turned = np.array([[0, 2.0000001, 0], [-1.0000002, 0, 0], [0, 0, 0.97656]])
    affine = np.eye(4)
    affine[:3, :3] = turned
    assert voxel_size_mm(affine) == (1.0, 2.0, 0.9766)
