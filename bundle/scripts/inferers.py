"""From a volume to its logits: the brain's box in one pass where the network was trained on such, else in windows.

A sliding window over the volume computes the air around the head, and most of the brain several times: on a BraTS
volume of 240 x 240 x 155 voxels, windows of 128 x 128 x 64 that overlap by half compute 4 times the volume, which is
10 times the box of the brain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer
from monai.utils import convert_to_dst_type
from torch.nn import functional

from scripts.boxes import Box, box_sides, grown, largest_window, nonzero_box, one_pass_sides, relative
from scripts.ensemble import Members
from scripts.errors import InputError

Predictor = Callable[..., torch.Tensor]

BRAIN_BOX, SLIDING_WINDOW = "brain_box", "sliding_window"
# sigmoid(-20) is 2e-9: no tumour. Finite, and in the range of half floats, so interpolation and averages stay finite.
OUTSIDE_LOGIT = -20.0


class BrainBoxInferer(Inferer):
    """Logits of each case from the box of its nonzero voxels, on the grid of the whole volume.

    Images are normalised over the brain with air left at 0, so the box of the nonzero voxels is the brain's. Outside of
    it every logit is ``OUTSIDE_LOGIT``: nothing is tumour where there is no brain.

    One pass takes the box grown to the training patch or, on longer sides, to a multiple of the network's stride:
    within the volume first, then by zeros, which is what surrounded brains in training. A box too large for one pass is
    run as it is, in the largest windows that are allowed, by MONAI's ``SlidingWindowInferer`` with Gaussian weights.

    Args:
        patch_size: of the training, (H, W, D) in voxels: what the network is fitted to, and the smallest window.
        mode: ``brain_box``; or ``sliding_window``: MONAI's inferer, windows of ``patch_size`` over all it is given.
        overlap: of neighbouring windows as a share of their sides, 0 up to, not including, 1.
        one_pass_ratio: how many times the voxels of the training patch one pass may have, at least 1. Networks with
            instance normalisation see other statistics in a larger field than in training; docs/README.md has figures.
        size_multiple: total stride of the network.
        tta_axes: spatial axes (0 to 2) to flip for test-time augmentation; the mean of the logits over all
            combinations of flips is returned, as nnU-Net does. Logits and not probabilities, because that is also how
            overlapping windows are blended. Empty for none; each axis doubles the time.
        sw_batch_size: windows in a batch.
        compile: run the network by torch.compile, which compiles anew for each size of field. At a ``one_pass_ratio``
            of 1 there is one size, the patch's.
        members: the trainings of an ensemble, whose probabilities are averaged; None takes the network as it is.

    Raises:
        InputError: an argument makes no sense.
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        mode: str = BRAIN_BOX,
        overlap: float = 0.25,
        one_pass_ratio: float = 1.0,
        size_multiple: int = 16,
        tta_axes: Sequence[int] = (),
        sw_batch_size: int = 2,
        compile: bool = False,
        members: Members | None = None,
    ) -> None:
        super().__init__()
        if mode not in (BRAIN_BOX, SLIDING_WINDOW):
            raise InputError(f"inference_mode '{mode}' is unknown; choose {BRAIN_BOX} or {SLIDING_WINDOW}.")
        if one_pass_ratio < 1:
            raise InputError(
                f"one_pass_ratio {one_pass_ratio} is below 1; 1 is one pass for boxes of the patch's size."
            )
        if not set(tta_axes) <= {0, 1, 2}:
            raise InputError(f"tta_axes {list(tta_axes)} are no spatial axes; choose from 0, 1 and 2, or [] for none.")
        self.patch_size = tuple(patch_size)
        self.mode = mode
        self.overlap = overlap
        self.one_pass_voxels = int(one_pass_ratio * math.prod(self.patch_size))
        self.size_multiple = size_multiple
        self.tta_axes = tuple(sorted(set(tta_axes)))
        self.sw_batch_size = sw_batch_size
        self.compile = compile
        self.members = members
        self._compiled: tuple[Predictor, Predictor] | None = None

    def __call__(self, inputs: torch.Tensor, network: Predictor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits (B, R, H, W, D) of ``inputs`` (B, C, H, W, D), of its type and with its metadata.

        ``args`` and ``kwargs`` are handed to ``network``.
        """
        forward = self._forward(network)

        def logits() -> torch.Tensor:
            return self._logits(inputs, lambda image: forward(image, *args, **kwargs))

        return logits() if self.members is None else self.members.logits(network, logits)

    def _logits(self, inputs: torch.Tensor, forward: Predictor) -> torch.Tensor:
        """Logits (B, R, H, W, D) of one network."""

        def predict(image: torch.Tensor) -> torch.Tensor:
            return flip_mean(image, forward, self.tta_axes)

        if self.mode == SLIDING_WINDOW:
            return self._windows(self.patch_size, predict)(inputs)
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        parts = [self._brain(image, predict) for image in images]
        logits = images.new_full((len(images), parts[0][1].shape[0], *images.shape[2:]), OUTSIDE_LOGIT)
        for case, (brain, inside) in zip(logits, parts, strict=True):
            case[(slice(None), *brain)] = inside.to(case.dtype)
        return convert_to_dst_type(logits, inputs)[0]

    def _forward(self, network: Predictor) -> Predictor:
        """The network, compiled once where that was asked for."""
        if not self.compile:
            return network
        if self._compiled is None or self._compiled[0] is not network:
            self._compiled = (network, torch.compile(network, dynamic=False))
        return self._compiled[1]

    def _brain(self, image: torch.Tensor, predict: Predictor) -> tuple[Box, torch.Tensor]:
        """The brain's box in an image (C, H, W, D), and the logits (R, h, w, d) inside."""
        # A blank image has an empty box, which grows to the patch: how many channels come out is the network's to say.
        brain = nonzero_box(image) or (slice(0, 0),) * 3
        sides = one_pass_sides(box_sides(brain), self.patch_size, self.size_multiple)
        if math.prod(sides) <= self.one_pass_voxels:
            box = grown(brain, image.shape[1:], sides)
            logits = _padded(image[(slice(None), *box)][None], sides, predict)
            return brain, logits[(0, slice(None), *relative(brain, box))]
        window = largest_window(sides, self.patch_size, self.size_multiple, self.one_pass_voxels, self.overlap)
        return brain, self._windows(window, predict)(image[(slice(None), *brain)][None])[0]

    def _windows(self, size: Sequence[int], predict: Predictor) -> Callable[[torch.Tensor], torch.Tensor]:
        """MONAI's sliding window of one size, waiting for its input."""
        inferer = SlidingWindowInferer(size, sw_batch_size=self.sw_batch_size, overlap=self.overlap, mode="gaussian")
        return lambda inputs: inferer(inputs, predict)


def flip_mean(image: torch.Tensor, predict: Predictor, axes: Sequence[int]) -> torch.Tensor:
    """Mean of the predictions over all combinations of flips along ``axes``, each flipped back.

    Args:
        image: (B, C, H, W, D).
        predict: maps it to (B, R, H, W, D).
        axes: spatial axes, 0 to 2; none means one plain prediction.
    """
    total = predict(image)
    flips = [combination for n in range(1, len(axes) + 1) for combination in itertools.combinations(axes, n)]
    for flip in flips:
        dims = [axis + 2 for axis in flip]
        total = total + predict(image.flip(dims)).flip(dims)
    return total / (len(flips) + 1) if flips else total


def _padded(image: torch.Tensor, sides: Sequence[int], predict: Predictor) -> torch.Tensor:
    """``predict`` on an image (1, C, h, w, d) that is padded to ``sides`` with zeros, half of them on either end."""
    missing = [side - extent for side, extent in zip(sides, image.shape[2:], strict=True)]
    before = [count // 2 for count in missing]
    # torch.nn.functional.pad takes the last axis first.
    widths = [
        width for low, count in zip(reversed(before), reversed(missing), strict=True) for width in (low, count - low)
    ]
    logits = predict(functional.pad(image, widths))
    inner = (slice(low, low + extent) for low, extent in zip(before, image.shape[2:], strict=True))
    return logits[(..., *inner)]
