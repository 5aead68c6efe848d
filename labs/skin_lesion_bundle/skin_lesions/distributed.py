"""One process a device, as torchrun starts them: joining and leaving the group, and each one's device."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sized
from contextlib import contextmanager

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.data import DistributedSampler
from torch import nn
from torch.utils.data import Sampler, SequentialSampler

from skin_lesions.errors import InputError


def start(backend: str) -> None:
    """Join the process group, unless ``backend`` is ``none``.

    Args:
        backend: ``none``, ``nccl``, ``gloo``, or ``auto``: nccl where there is a GPU, else gloo.

    Raises:
        InputError: no launcher has started this process, or one has started several that would not join.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if backend == "none":
        if processes > 1:
            raise InputError(
                f"{processes} processes were started, but this config runs in one; add configs/multi_gpu_train.json to "
                "--config_file, or start it without a launcher."
            )
        return
    if "WORLD_SIZE" not in os.environ:
        raise InputError(
            "multi_gpu_train.json needs one process a device, but no launcher started this one; start it with "
            "torchrun --nproc_per_node=N -m monai.bundle run ..."
        )
    if backend == "auto":
        backend = "nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_device())
    if not dist.is_initialized():
        dist.init_process_group(backend)


def stop() -> None:
    """Leave the process group, if there is one; every process must come here."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def rank() -> int:
    """This process's global rank; 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes; 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_device() -> torch.device:
    """The GPU that LOCAL_RANK names on this machine, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def wrap(network: nn.Module, device: torch.device) -> nn.Module:
    """``network``, already on ``device``, with gradients averaged over the processes."""
    return nn.parallel.DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)


def validation_sampler(dataset: Sized) -> Sampler[int]:
    """Each item once, in order, shared out where there are several processes."""
    if world_size() > 1:
        return DistributedSampler(dataset, even_divisible=False, shuffle=False)
    return SequentialSampler(dataset)


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """Let rank 0 run the block alone, then the others, who find what it has made."""
    if rank() > 0:
        dist.barrier()
    yield
    if dist.is_initialized() and rank() == 0:
        dist.barrier()


class SameBuffers:
    """Trainer handler: at the end of each epoch every process takes rank 0's batch-norm statistics.

    Each process has those of its own batches; rank 0's are what is saved, so all validate with them.

    Args:
        network: the network, wrapped or not.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Register after the last step of each epoch, which is before any validation."""
        last = Events.ITERATION_COMPLETED(event_filter=lambda engine, step: step % engine.state.epoch_length == 0)
        engine.add_event_handler(last, self)

    def __call__(self, engine: Engine) -> None:
        """Broadcast."""
        for buffer in self.network.buffers():
            dist.broadcast(buffer, src=0)
