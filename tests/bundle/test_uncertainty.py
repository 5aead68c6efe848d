"""The map's unit and the Dice that a case expects of itself."""

from __future__ import annotations

import pytest
import torch
from scripts.metrics import region_dice
from scripts.uncertainty import entropy_bits, expected_dice


def test_entropy_is_in_bits() -> None:
    probability = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    torch.testing.assert_close(entropy_bits(probability), torch.tensor([0.0, 0.811278, 1.0, 0.811278, 0.0]))


def test_expected_dice_is_the_mean_over_truths_drawn_from_the_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(2, 12, 12, 12, generator=generator) ** 3
    masks = (probabilities > 0.5).to(torch.uint8)
    truths = torch.stack([torch.bernoulli(probabilities, generator=generator) for _ in range(50)])
    sampled = region_dice(masks[None].expand_as(truths), truths).mean(0).double()
    torch.testing.assert_close(expected_dice(probabilities, masks), sampled, atol=5e-3, rtol=0)


def test_a_certain_prediction_expects_a_perfect_score() -> None:
    masks = torch.zeros(2, 4, 4, 4)
    masks[0, 1:3, 1:3, 1:3] = 1
    assert expected_dice(masks, masks).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("most", [0.1, 0.4])
def test_nothing_found_is_as_sure_as_the_likeliest_voxel_is_not(most: float) -> None:
    probabilities = torch.zeros(1, 4, 4, 4)
    probabilities[0, 1] = most / 2
    probabilities[0, 0, 0, 0] = most
    assert expected_dice(probabilities, torch.zeros(1, 4, 4, 4)).item() == pytest.approx(1 - most)
