"""Deep supervision: a loss at each resolution that a network returns in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class DeepSupervisionLoss(nn.Module):
    """Any loss, at each resolution that a network with deep supervision returns.

    The resolutions weigh 1, 1/2, 1/4 ..., divided by their sum, as in nnU-Net. nnU-Net gives its two lowest none, and
    in distributed training 1e-6, because it has heads there whose gradients every process waits for; networks of
    :mod:`scripts.networks` have no head that is not trained.

    Targets are taken at the nearest voxel's middle, as nnU-Net takes its own: masks stay masks, and regions nested.

    Args:
        loss: takes prediction and target, (B, R, H, W, D) both, and returns a loss.
    """

    def __init__(self, loss: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, prediction: Any, target: torch.Tensor) -> torch.Tensor:
        """Mean loss, a scalar.

        Args:
            prediction: logits (B, R, H, W, D), or several as :func:`resolutions` takes them.
            target: 0/1, (B, R, H, W, D), of the full resolution.
        """
        outputs = resolutions(prediction)
        weights = [0.5**level for level in range(len(outputs))]
        losses = [
            weight / sum(weights) * self.loss(output, reduced(target, output.shape[2:])).mean()
            for weight, output in zip(weights, outputs, strict=True)
        ]
        return torch.stack(losses).sum()


def resolutions(prediction: Any) -> list[torch.Tensor]:
    """What a network returned, as a list with the full resolution first.

    Args:
        prediction: one tensor (B, R, H, W, D); a list or tuple of such by falling resolution, as of ``SegResNetDS`` or
            :mod:`scripts.networks`; or (B, levels, R, H, W, D), all enlarged to the full resolution, as of ``DynUNet``.
    """
    if isinstance(prediction, (list, tuple)):
        return list(prediction)
    return list(prediction.unbind(1)) if prediction.ndim == 6 else [prediction]


def reduced(target: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """``target`` (B, R, H, W, D) at ``size`` voxels; itself where it has that size."""
    if tuple(target.shape[2:]) == tuple(size):
        return target
    return functional.interpolate(target, tuple(size), mode="nearest-exact")
