"""The training loss for overlapping tumour regions."""

from __future__ import annotations

import torch
from torch import nn

from scripts import distributed


class DiceBCELoss(nn.Module):
    """Soft Dice plus binary cross-entropy, both on independent sigmoid channels.

    MONAI's ``DiceCELoss`` is not usable here: with several channels its cross-entropy is a softmax over them, whose
    minimum on an enhancing voxel (target 1, 1, 1) is 3 ln 3 and which is 0 for every prediction on background, so false
    positives cost nothing. nnU-Net, too, trains regions by Dice plus BCE (Isensee et al. 2020, arXiv 2011.00848).

    The Dice term squares both masks in its denominator (Milletari et al. 2016, arXiv 1606.04797), as the Model Zoo's
    BraTS recipe does.

    Args:
        batch_dice: sum over the batch before the ratio, which steadies the term for patches without tumour. The batch
            is that of all processes, as in nnU-Net: N processes then learn what one learns from N times the batch.
        smooth: added to numerator and denominator of the Dice ratio.
    """

    def __init__(self, batch_dice: bool = True, smooth: float = 1e-5) -> None:
        super().__init__()
        self.batch_dice = batch_dice
        self.smooth = smooth
        self.bce = nn.BCEWithLogitsLoss()

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of raw ``logits`` against 0/1 ``target``, both (B, C, H, W, D); returns a scalar."""
        target = target.to(logits.dtype)
        return self._dice(torch.sigmoid(logits), target) + self.bce(logits, target)

    def _dice(self, probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        axes = ((0,) if self.batch_dice else ()) + tuple(range(2, target.ndim))
        overlap = (probability * target).sum(axes)
        total = (probability**2).sum(axes) + (target**2).sum(axes)
        if self.batch_dice:
            overlap, total = distributed.summed(torch.stack([overlap, total]))
        return (1 - (2 * overlap + self.smooth) / (total + self.smooth)).mean()
