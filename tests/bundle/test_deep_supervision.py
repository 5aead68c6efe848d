"""The loss at several resolutions."""

from __future__ import annotations

import pytest
import torch
from monai.losses import DeepSupervisionLoss as MonaiDeepSupervisionLoss
from monai.losses import DiceLoss
from scripts.deep_supervision import DeepSupervisionLoss, reduced, resolutions
from scripts.losses import DiceBCELoss

SIDES = (16, 8, 4)


def masks() -> torch.Tensor:
    """Nested regions TC, WT, ET (2, 3, 16, 16, 16) of 0 and 1."""
    level = torch.rand(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    return torch.cat([level > 0.6, level > 0.3, level > 0.8], 1).float()


def heads() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 3, side, side, side, generator=generator) for side in SIDES]


def test_weights_are_halved_and_normalised() -> None:
    loss, target = DiceBCELoss(), masks()
    parts = [loss(head, reduced(target, head.shape[2:])) for head in heads()]
    wanted = (parts[0] + parts[1] / 2 + parts[2] / 4) / 1.75
    torch.testing.assert_close(DeepSupervisionLoss(loss)(heads(), target), wanted)


def test_equals_monais_but_for_the_sum_of_the_weights() -> None:
    """MONAI, too, takes the nearest voxel, and its weights 1, 1/2, 1/4 are not normalised."""
    reference = MonaiDeepSupervisionLoss(DiceLoss(sigmoid=True))(heads(), masks()) / 1.75
    torch.testing.assert_close(DeepSupervisionLoss(DiceLoss(sigmoid=True))(heads(), masks()), reference)


def test_one_resolution_is_the_plain_loss() -> None:
    head, target = heads()[0], masks()
    assert torch.equal(DeepSupervisionLoss(DiceBCELoss())(head, target), DiceBCELoss()(head, target))


def test_loss_without_reduction_is_averaged() -> None:
    """MONAI's losses may return a value a channel."""
    each = DeepSupervisionLoss(DiceLoss(sigmoid=True, reduction="none"))(heads(), masks())
    torch.testing.assert_close(each, DeepSupervisionLoss(DiceLoss(sigmoid=True))(heads(), masks()))


def test_reduced_regions_are_those_of_the_reduced_label_map() -> None:
    """As nnU-Net does it (batchgeneratorsv2, DownsampleSegForDSTransform): nearest-exact, after the regions."""
    regions = reduced(masks(), (8, 8, 8))
    # Of an even side the exact middle lies between two voxels, and the upper one is taken.
    assert torch.equal(regions, masks()[..., 1::2, 1::2, 1::2])
    core, tumour, enhancing = regions.bool().unbind(1)
    assert not (core & ~tumour).any() and not (enhancing & ~core).any()
    assert reduced(regions, (8, 8, 8)) is regions


def test_every_form_of_several_outputs_is_taken() -> None:
    full = [torch.zeros(2, 3, 8, 8, 8), torch.ones(2, 3, 8, 8, 8)]
    for prediction in (full, tuple(full), torch.stack(full, dim=1)):
        found = resolutions(prediction)
        assert [float(output.mean()) for output in found] == [0, 1] and found[0].shape == (2, 3, 8, 8, 8)
    assert resolutions(full[0])[0] is full[0]


@pytest.mark.parametrize("head", range(len(SIDES)))
def test_every_head_is_trained(head: int) -> None:
    outputs = [output.requires_grad_() for output in heads()]
    DeepSupervisionLoss(DiceBCELoss())(outputs, masks()).backward()
    assert outputs[head].grad is not None and float(outputs[head].grad.abs().sum()) > 0
