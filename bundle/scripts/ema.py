"""Exponential moving average (EMA) of the weights: steadier scores than the last step's, for one copy of the weights.

Off where the knob ``ema_decay`` is 0. The average is what is validated, chosen and written to ``model.pt``; training
goes on from the weights themselves, and ``model_last.pt`` keeps both.
"""

from __future__ import annotations

from ignite.engine import Engine
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from scripts.checkpoints import unwrapped
from scripts.errors import InputError
from scripts.fsdp import gathered
from scripts.step import StepEvents


def scored_network(network: nn.Module, ema_decay: float) -> nn.Module:
    """The network to validate and to save: ``network`` itself, or a copy for the average of its weights.

    Args:
        network: the network that is trained, wrapped for distributed training or not.
        ema_decay: share of the average that a step keeps, at least 0 and below 1; 0 means no average.

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
    return AveragedModel(unwrapped(network), multi_avg_fn=get_ema_multi_avg_fn(ema_decay), use_buffers=True)


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
