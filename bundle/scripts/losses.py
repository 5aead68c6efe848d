"""The training loss for overlapping tumour regions."""

from __future__ import annotations

import torch
from monai.losses import DiceLoss
from torch import nn


class DiceBCELoss(nn.Module):
    """Soft Dice plus binary cross-entropy, both on independent sigmoid channels.

    MONAI's ``DiceCELoss`` is not usable here: with several channels its cross-entropy is a softmax over them, whose
    minimum on an enhancing voxel (target 1, 1, 1) is 3 ln 3 and which is 0 for every prediction on background, so false
    positives cost nothing. nnU-Net, too, trains regions by Dice plus BCE (Isensee et al. 2020, arXiv 2011.00848).

    The Dice term squares both masks in its denominator (Milletari et al. 2016, arXiv 1606.04797), as the Model Zoo's
    BraTS recipe does.

    Args:
        batch_dice: sum over the batch before the ratio, which steadies the term for patches without tumour.
        smooth: added to numerator and denominator of the Dice ratio.
    """

    def __init__(self, batch_dice: bool = True, smooth: float = 1e-5) -> None:
        super().__init__()
        self.dice = DiceLoss(sigmoid=True, squared_pred=True, batch=batch_dice, smooth_nr=smooth, smooth_dr=smooth)
        self.bce = nn.BCEWithLogitsLoss()

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of raw ``logits`` against 0/1 ``target``, both (B, C, H, W, D); returns a scalar."""
        target = target.to(logits.dtype)
        return self.dice(logits, target) + self.bce(logits, target)
