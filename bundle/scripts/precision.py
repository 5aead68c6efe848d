"""The ``precision`` knob: the number format that a network computes in, on any device.

MONAI's engines know CUDA's autocast alone. Weights, gradients and losses stay float32 throughout: autocast lowers the
convolutions and matrix products, which is where the time goes and where rounding averages out.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from monai.inferers import Inferer

from scripts.errors import InputError

logger = logging.getLogger(__name__)

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def usable_precision(precision: str, device: torch.device) -> str:
    """The precision to compute in on ``device``: the one asked for, or fp32 where a CPU could only emulate bf16.

    PyTorch does emulate it, many times slower than fp32, and gains nothing by it.

    Raises:
        InputError: there is no precision of that name, or it is fp16 on a CPU.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision '{precision}' is unknown; choose one of {', '.join(PRECISIONS)}.")
    if precision == "fp16" and device.type == "cpu":
        raise InputError("precision fp16 needs a GPU, but the device is the CPU; choose fp32 or bf16.")
    if precision == "bf16" and device.type == "cpu" and not cpu_has_bf16():
        logger.warning("precision bf16: this CPU has no instructions for it and would be many times slower; using fp32")
        return "fp32"
    return precision


def cpu_has_bf16() -> bool:
    """Whether oneDNN, which computes PyTorch's convolutions on a CPU, takes bf16 there (AVX-512, AMX or Arm's BF16)."""
    # PyTorch asks itself the same question by the same name; a build without oneDNN has no such operator.
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Context in which a network computes in ``precision`` on ``device``."""
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, PRECISIONS[precision])


class PrecisionInferer(Inferer):
    """An inferer that runs another one in a given precision and returns float32, as postprocessing wants it.

    Args:
        inferer: does the work.
        precision: fp32, bf16 or fp16.
        device: where the inputs are.
    """

    def __init__(self, inferer: Inferer, precision: str, device: torch.device) -> None:
        super().__init__()
        self.inferer = inferer
        self.precision = precision
        self.device = device

    def __call__(self, inputs: torch.Tensor, network: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return what the inferer makes of (B, M, H, W, D); ``args`` and ``kwargs`` are handed on to it."""
        with autocast(self.precision, self.device):
            prediction = self.inferer(inputs, network, *args, **kwargs)
        return prediction.float()
