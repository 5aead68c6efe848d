"""One training step's parts: where a network lies, network and loss as one region, and which steps share a gradient."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from ignite.engine import EventEnum
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import nn

from scripts.deep_supervision import DeepSupervisionLoss, resolutions
from scripts.errors import InputError
from scripts.precision import autocast

logger = logging.getLogger(__name__)

# PyTorch's own search order for the compiler of generated CPU code, $CXX first.
CPP_COMPILERS = ("g++", "clang++", "c++", "cl", "icpx")


class StepEvents(EventEnum):
    """What :class:`scripts.engine.Trainer` fires beyond MONAI's ``IterationEvents``.

    Attributes:
        OPTIMIZER_COMPLETED: the weights have moved; with gradient accumulation not in every iteration.
    """

    OPTIMIZER_COMPLETED = "optimizer_completed"


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """``network`` on ``device``, its 3-D convolutions' weights channels-last, which every backend computes fastest.

    Only the order in memory changes: shapes, names and values of the weights stay, and so do checkpoints.
    """
    return network.to(device=device, memory_format=torch.channels_last_3d)


def plain(tensor: Any, channels_last: bool = False) -> Any:
    """A MetaTensor's tensor, for code that wants neither its bookkeeping nor its subclass; others as they are.

    Args:
        tensor: a tensor, or something else, which is returned unchanged.
        channels_last: also bring a (B, C, H, W, D) tensor into the memory order channels_last_3d.
    """
    if not isinstance(tensor, torch.Tensor):
        return tensor
    if isinstance(tensor, MetaTensor):
        tensor = tensor.as_tensor()
    return tensor.contiguous(memory_format=torch.channels_last_3d) if channels_last and tensor.ndim == 5 else tensor


class ForwardLoss:
    """Network and loss as one function of plain tensors: what ``compile`` compiles, as one region.

    The loss is computed in float32 whatever the network's precision: a Dice sums a million voxels. A network that
    returns several resolutions in training is trained on all, and its prediction is the full one.

    Args:
        loss_function: takes prediction and target, (B, R, H, W, D) float32 both, and returns a loss.
        inferer: applies the network to the image.
        precision: of the network.
        device: where all tensors are.
        compile: compile with torch.compile, anew for each shape of batch.

    Raises:
        InputError: ``compile`` on a CPU without a C++ compiler.
    """

    def __init__(
        self,
        loss_function: Callable[..., torch.Tensor],
        inferer: Inferer,
        precision: str,
        device: torch.device,
        compile: bool = False,
    ) -> None:
        self.loss_function = DeepSupervisionLoss(loss_function)
        self.inferer = inferer
        self.precision = precision
        self.device = device
        self.region: Callable[..., Any] = self._forward
        if compile:
            check_compiler(device)
            logger.info("network and loss are compiled in the first step, which may take two minutes")
            self.region = torch.compile(self._forward, dynamic=False)

    def __call__(
        self, network: nn.Module, image: torch.Tensor, target: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return prediction (B, R, H, W, D) and mean loss, a scalar; ``args`` and ``kwargs`` go to the network."""
        return self.region(network, image, target, *args, **kwargs)

    def _forward(
        self, network: nn.Module, image: torch.Tensor, target: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with autocast(self.precision, self.device):
            outputs = resolutions(self.inferer(image, network, *args, **kwargs))
        loss = self.loss_function([output.float() for output in outputs], target.float())
        return outputs[0], loss


def check_compiler(device: torch.device) -> None:
    """Refuse ``compile`` where PyTorch would find no compiler for the code it generates.

    Raises:
        InputError: the device is the CPU and there is no C++ compiler.
    """
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", ""), *CPP_COMPILERS))):
        raise InputError(
            "compile needs a C++ compiler on a CPU, but none was found; install g++ or set compile to false."
        )


class Accumulation:
    """Which iterations share one step of the optimiser: ``steps`` in a row, fewer at the end of an epoch.

    Args:
        steps: iterations a step.

    Raises:
        InputError: ``steps`` is not a positive whole number.
    """

    def __init__(self, steps: int) -> None:
        if not isinstance(steps, int) or steps < 1:
            raise InputError(
                f"accumulation_steps {steps} is not a positive whole number; 1 means a step each iteration."
            )
        self.steps = steps

    def group(self, iteration: int, epoch_length: int | None) -> tuple[int, int]:
        """Position of an iteration in its group, from 0, and the group's size.

        Args:
            iteration: counted from 1 over all epochs, as ignite does.
            epoch_length: iterations an epoch, None where the data have no length.
        """
        if epoch_length is None:
            return (iteration - 1) % self.steps, self.steps
        index = (iteration - 1) % epoch_length
        start = index - index % self.steps
        return index - start, min(self.steps, epoch_length - start)


def gradient_sync(network: nn.Module, wanted: bool) -> AbstractContextManager[Any]:
    """Context of forward and backward that leaves gradients unexchanged between processes unless ``wanted``."""
    if isinstance(network, nn.parallel.DistributedDataParallel) and not wanted:
        return network.no_sync()
    # A sharded network has a switch instead of a context.
    if hasattr(network, "set_requires_gradient_sync"):
        network.set_requires_gradient_sync(wanted)
    return nullcontext()
