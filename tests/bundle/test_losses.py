"""The loss on overlapping regions."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceCELoss, DiceFocalLoss
from scripts.errors import InputError
from scripts.losses import DiceBCELoss


def voxel(*values: float) -> torch.Tensor:
    return torch.tensor(values).reshape(1, 3, 1, 1, 1)


def test_perfect_prediction_of_nested_regions_costs_nothing() -> None:
    loss = DiceBCELoss()
    for truth in ((1.0, 1.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0)):
        target = voxel(*truth)
        # Dice of an empty target needs the smoothing to vanish, hence the large logits.
        assert loss((target * 2 - 1) * 50, target).item() < 1e-3


def test_monai_dice_ce_would_not_do() -> None:
    """Why the class exists: softmax cross-entropy over regions cannot reach 0, nor see a false positive."""
    everything = voxel(1.0, 1.0, 1.0)
    assert DiceCELoss(sigmoid=True)(everything * 50, everything).item() > 3 * math.log(3) - 0.1
    nothing = voxel(0.0, 0.0, 0.0)
    assert DiceCELoss(sigmoid=True, lambda_dice=0.0)(voxel(50.0, 50.0, 50.0), nothing).item() == 0
    assert DiceBCELoss()(voxel(50.0, 50.0, 50.0), nothing).item() > 40


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("bce_weight", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_equals_dice_plus_sigmoid_bce_of_monai(dtype: torch.dtype, bce_weight: float, squared: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, 6, generator=generator)
    target = (torch.rand(2, 3, 4, 5, 6, generator=generator) > 0.7).to(dtype)
    reference = DiceFocalLoss(
        sigmoid=True, squared_pred=squared, gamma=0.0, batch=True, smooth_nr=1e-5, smooth_dr=1e-5,
        lambda_focal=bce_weight,
    )  # fmt: skip
    loss = DiceBCELoss(squared=squared, bce_weight=bce_weight)
    torch.testing.assert_close(loss(logits, target), reference(logits, target.float()))


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_impossible_weight_is_one_sentence(weight: float) -> None:
    with pytest.raises(InputError, match=f"bce_weight {weight} is no weight; choose 0"):
        DiceBCELoss(bce_weight=weight)
