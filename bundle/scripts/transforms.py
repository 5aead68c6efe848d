"""The few transforms and predicates that MONAI does not have."""

from __future__ import annotations

import torch


def is_brain(image: torch.Tensor) -> torch.Tensor:
    """Mask of the voxels that a skull-stripped image did not blank, for ``CropForegroundd``; any shape in and out.

    Not ``image > 0``, MONAI's default: some releases are stored z-scored, where half of the brain is negative.
    """
    return image != 0
