"""What a run of benchmarks/accuracy.py trains on, and which of its seconds count there.

On a CPU: CPU seconds of one thread, so that a figure does not depend on what else the machine does. On a GPU: wall
seconds, since most of the work is not the CPU's; each side then loads by as many processes as it wants. That a GPU does
so has not been tried on one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from scripts.errors import InputError


@dataclass(frozen=True)
class Device:
    """``CPU`` or ``GPU``; ``name`` is PyTorch's."""

    name: str

    @property
    def is_gpu(self) -> bool:
        """Whether it is the GPU."""
        return self.name != "cpu"

    @property
    def clock(self) -> str:
        """Which seconds count, as keys of results name them."""
        return "wall" if self.is_gpu else "cpu"

    @property
    def unit(self) -> str:
        """The minutes of a budget, in words."""
        return f"{'GPU' if self.is_gpu else 'CPU'} minutes"

    def now(self) -> float:
        """Seconds of the clock that counts, once the GPU has done all that it was given.

        ``time.process_time`` counts all threads of the process and none of its children, which is why no side may train
        with worker processes on a CPU.
        """
        if not self.is_gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def kind(self) -> str:
        """Its model, such as ``NVIDIA H100``; ``cpu`` for the CPU, whose model the result's ``machine`` names.

        Raises:
            InputError: there is no GPU that PyTorch can use.
        """
        if not self.is_gpu:
            return self.name
        if not torch.cuda.is_available():
            raise InputError(f"--device {self.name}: PyTorch finds no GPU on this machine; give --device {CPU.name}.")
        return torch.cuda.get_device_name()


CPU, GPU = Device("cpu"), Device("cuda")
DEVICES = {device.name: device for device in (CPU, GPU)}
