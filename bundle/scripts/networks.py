"""MONAI's U-Nets with deep supervision: heads on the lower levels of the decoder, which train and are then left out.

Weights near the bottleneck learn from a loss at their own resolution instead of through the whole decoder (Lee et al.
2015, arXiv 1409.5185), as in nnU-Net. In training these networks return a list of logits, the full resolution first; in
evaluation one tensor. ``SegResNetDS`` of MONAI does the same by itself; :mod:`scripts.deep_supervision` takes both.
"""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.blocks.dynunet_block import UnetOutBlock
from monai.networks.layers.simplelayers import SkipConnection
from monai.networks.nets import DynUNet, UNet
from torch import nn

from scripts.errors import InputError


class UNetDS(UNet):
    """``monai.networks.nets.UNet`` with heads; its other weights have that network's names, and fit it.

    Args:
        deep_supervision: number of lower resolutions with a head, at most the number of strides less one.
        options: the arguments of MONAI's UNet.

    Raises:
        InputError: there are not so many lower resolutions.
    """

    def __init__(self, *, deep_supervision: int, **options: Any) -> None:
        super().__init__(**options)
        lower = list(self.channels)[: len(self.channels) - 2]
        refuse_heads(deep_supervision, len(lower))
        # A level of MONAI's decoder ends in as many channels as the level above it has.
        self.heads = nn.ModuleList(
            UnetOutBlock(self.dimensions, channels, options["out_channels"]) for channels in lower[:deep_supervision]
        )

    def _get_connection_block(self, down_path: nn.Module, up_path: nn.Module, subblock: nn.Module) -> nn.Module:
        """MONAI's hook for one level; called from the lowest level upwards."""
        return _Level(down_path, _Skip(subblock), up_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits (B, R, H, W, D); in training a list of them, each half the size of the one before."""
        features: list[torch.Tensor] = self.model(x)
        outputs = [features[0]]
        if not self.training:
            return outputs[0]
        for index, head in enumerate(self.heads):
            outputs.append(head(features[index + 1]))
        return outputs


class _Level(nn.Sequential):
    """Way down, skip connection and way up; returns the features of this level and of all below it.

    Returned and not kept aside by a hook: compiled, exported and sharded networks allow no side effects.
    """

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        features: list[torch.Tensor] = self[1](self[0](x))
        return [self[2](features[0])] + features[1:]


class _Skip(SkipConnection):
    """MONAI's connection by concatenation, over a module that is a level or the bottom of the network."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        below = self.submodule(x)
        features: list[torch.Tensor] = [below] if isinstance(below, torch.Tensor) else below
        return [torch.cat([x, features[0]], dim=1)] + features


class DynUNetDS(DynUNet):
    """``monai.networks.nets.DynUNet`` whose heads give their own resolution, as nnU-Net's do.

    MONAI's enlarges them to the full one and stacks them, which costs the memory and time of as many full-size losses.
    Each weight has one name here, where MONAI's network has two; and this one can be exported by TorchScript.

    Args:
        deep_supervision: number of lower resolutions with a head; 0 for none. nnU-Net's plans leave the two lowest of
            six without, so it has 3 besides the full resolution.
        options: the arguments of MONAI's DynUNet but for ``deep_supervision`` and ``deep_supr_num``.

    Raises:
        InputError: there are not so many lower resolutions.
    """

    def __init__(self, *, deep_supervision: int, **options: Any) -> None:
        refuse_heads(deep_supervision, len(options["strides"]) - 2)
        super().__init__(**options, deep_supervision=deep_supervision > 0, deep_supr_num=max(1, deep_supervision))
        if deep_supervision == 0:
            self.deep_supervision_heads = nn.ModuleList()
        # The same blocks once more, in a nest that hands the heads on through a shared list.
        del self.skip_layers
        del self.heads

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits (B, R, H, W, D); in training a list of them, by falling resolution."""
        skips = [self.input_block(x)]
        for block in self.downsamples:
            skips.append(block(skips[-1]))
        x = self.bottleneck(skips[-1])
        features: list[torch.Tensor] = []
        for block in self.upsamples:
            x = block(x, skips.pop())
            features.append(x)
        outputs = [self.output_block(x)]
        if not self.training:
            return outputs[0]
        for index, head in enumerate(self.deep_supervision_heads):
            outputs.append(head(features[len(features) - 2 - index]))
        return outputs


def refuse_heads(heads: int, most: int) -> None:
    """Refuse a number of heads that a network has no place for.

    Raises:
        InputError: it is no number from 0 to ``most``.
    """
    if isinstance(heads, bool) or not isinstance(heads, int) or not 0 <= heads <= most:
        raise InputError(
            f"deep_supervision {heads} is no number of lower resolutions; this network takes 0 (none) to {most}."
        )
