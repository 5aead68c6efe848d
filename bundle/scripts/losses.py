"""The training loss for overlapping tumour regions."""

from __future__ import annotations

import math

import torch
from torch import nn

from scripts import distributed
from scripts.errors import InputError


class DiceBCELoss(nn.Module):
    """Soft Dice plus binary cross-entropy, both on independent sigmoid channels.

    MONAI's ``DiceCELoss`` is not usable here: with several channels its cross-entropy is a softmax over them, whose
    minimum on an enhancing voxel (target 1, 1, 1) is 3 ln 3 and which is 0 for every prediction on background, so false
    positives cost nothing. nnU-Net, too, trains regions by Dice plus BCE (Isensee et al. 2020, arXiv 2011.00848).

    Args:
        batch_dice: sum over the batch before the ratio, which steadies the term for patches without tumour. The batch
            is that of all processes, as in nnU-Net: N processes then learn what one learns from N times the batch.
        smooth: added to numerator and denominator of the Dice ratio.
        squared: square both masks in the denominator of the Dice (Milletari et al. 2016, arXiv 1606.04797), as the
            Model Zoo's BraTS recipe does; or sum them as they are, as nnU-Net does (Drozdzal et al. 2016, arXiv
            1608.04117).
        bce_weight: of the cross-entropy, the Dice counting 1; 0 leaves it out. nnU-Net's is 1.

    Raises:
        InputError: ``bce_weight`` is no weight.
    """

    def __init__(
        self, batch_dice: bool = True, smooth: float = 1e-5, squared: bool = True, bce_weight: float = 1.0
    ) -> None:
        super().__init__()
        if not 0 <= bce_weight < math.inf:
            raise InputError(f"bce_weight {bce_weight} is no weight; choose 0 (Dice alone) or more, such as 1.")
        self.batch_dice = batch_dice
        self.smooth = smooth
        self.squared = squared
        self.bce_weight = float(bce_weight)
        self.bce = nn.BCEWithLogitsLoss()

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of raw ``logits`` against 0/1 ``target``, both (B, C, H, W, D); returns a scalar."""
        target = target.to(logits.dtype)
        dice = self._dice(torch.sigmoid(logits), target)
        return dice + self.bce_weight * self.bce(logits, target) if self.bce_weight else dice

    def _dice(self, probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        axes = ((0,) if self.batch_dice else ()) + tuple(range(2, target.ndim))
        overlap = (probability * target).sum(axes)
        power = 2 if self.squared else 1
        total = (probability**power).sum(axes) + (target**power).sum(axes)
        if self.batch_dice:
            overlap, total = distributed.summed(torch.stack([overlap, total]))
        return (1 - (2 * overlap + self.smooth) / (total + self.smooth)).mean()
