"""Exponential moving average (EMA) of the weights: steadier scores than the last step's, for one copy of the weights.

Off where the knob ``ema_decay`` is 0. The average is what is validated, chosen and written to ``model.pt``; training
goes on from the weights themselves, and ``model_last.pt`` keeps both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from ignite.engine import Engine
from torch import nn
from torch.optim.swa_utils import AveragedModel

from scripts.checkpoints import unwrapped
from scripts.errors import InputError
from scripts.fsdp import gathered
from scripts.step import StepEvents


def scored_network(network: nn.Module, ema_decay: float) -> nn.Module:
    """The network to validate and to save: ``network`` itself, or a copy for the average of its weights.

    Args:
        network: the network that is trained, wrapped for distributed training or not.
        ema_decay: largest share of the average that a step keeps, at least 0 and below 1; 0 means no average.

    Raises:
        InputError: ``ema_decay`` is out of range.
    """
    if not 0 <= ema_decay < 1:
        raise InputError(
            f"ema_decay {ema_decay} is out of range; choose 0 (no average) or a value below 1, such as 0.999."
        )
    if ema_decay == 0:
        return network
    # Buffers belong to the model that is saved as much as weights do.
    average = AveragedModel(unwrapped(network), multi_avg_fn=moving_average(ema_decay), use_buffers=True)
    # It starts on the CPU, where nccl cannot broadcast it (scripts.distributed.SameBuffers).
    average.n_averaged = average.n_averaged.to(next(network.parameters()).device)
    return average


def moving_average(decay: float) -> Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], torch.Tensor], None]:
    """What ``AveragedModel`` calls after each step but the first, to move averages towards weights, in place.

    The n-th step keeps ``min(decay, (1 + n) / (10 + n))`` of the average (``tf.train.ExponentialMovingAverage`` with
    ``num_updates``), so it spans about the last ninth of a short training: a constant 0.999 would give the weights of
    the first step a share of 0.6 after 500. n is part of the average's state, so a continued training goes on exactly.

    Args:
        decay: what a long training keeps.
    """

    @torch.no_grad()
    def move(averages: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], steps: torch.Tensor) -> None:
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, weights)
            return
        # A tensor on the weights' device: to read the count the host would wait for the GPU in every step.
        kept = ((1 + steps) / (10 + steps)).clamp(max=decay)
        torch._foreach_sub_(averages, weights)
        torch._foreach_mul_(averages, kept)
        torch._foreach_add_(averages, weights)

    return move


class UpdateAverage:
    """Trainer handler: moves the average after every step of the optimiser, in every process alike.

    The average starts as the weights after the first step, so it never remembers the random initial ones.

    Args:
        network: the network that is trained, wrapped or not.
        average: what :func:`scored_network` made of it; without an average this handler does nothing.
    """

    def __init__(self, network: nn.Module, average: nn.Module) -> None:
        self.network = network
        self.average = average

    def attach(self, engine: Engine) -> None:
        """Register after each step of the optimiser."""
        if isinstance(self.average, AveragedModel):
            engine.add_event_handler(StepEvents.OPTIMIZER_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Move the average."""
        with gathered(self.network):
            self.average.update_parameters(unwrapped(self.network))
