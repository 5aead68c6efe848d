"""One process per device: joining the group that torchrun starts, and leaving it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from monai.data import DistributedSampler

from scripts.errors import InputError
from scripts.step import place

BACKENDS = ("none", "auto", "nccl", "gloo")
# Thousands of times what a thread takes that is given a core.
SETTLE_S = 0.2


def start(backend: str) -> int:
    """Join the process group, unless ``backend`` is ``none``.

    Args:
        backend: ``none`` for a single process; ``auto`` takes nccl where there is a GPU and gloo elsewhere.

    Returns:
        This process's rank.

    Raises:
        InputError: the backend is unknown, or torchrun has not set the environment it needs.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend '{backend}' is unknown; choose one of {', '.join(BACKENDS)}.")
    if backend == "none" or dist.is_initialized():
        return rank()
    if "RANK" not in os.environ:
        raise InputError(
            "multi_gpu_train.json needs one process per device, but the variable RANK is not set; "
            "start it with torchrun --nproc_per_node=N -m monai.bundle run ..."
        )
    if backend == "auto":
        backend = "nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_device())
    dist.init_process_group(backend)
    return rank()


def refuse_rivals() -> None:
    """Refuse torchrun without a process group: every process would do all of the work and write the same files.

    Raises:
        InputError: there are several processes, and they have not joined.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        raise InputError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, but this config runs in one; add "
            "configs/multi_gpu_train.json to --config_file, or start it without torchrun."
        )


def stop() -> None:
    """Leave the process group, if there is one; every process must come here."""
    if dist.is_initialized():
        # gloo's threads let go of a collective's tensors a moment after it is done, and need Python for it: a process
        # that ends in that moment aborts (pytorch/pytorch#179291). A barrier has no such tensors, and no sign tells
        # when the moment is over.
        dist.barrier()
        time.sleep(SETTLE_S)
        dist.destroy_process_group()


def rank() -> int:
    """This process's global rank; 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes; 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def from_rank_zero(make: Callable[[], Any]) -> Any:
    """What ``make`` returns in rank 0, in every process; the others do not call it.

    Raises:
        InputError: as ``make`` did, in every process.
    """
    if not dist.is_initialized():
        return make()
    made: list[Any] = [None]
    if rank() == 0:
        try:
            made = [make()]
        except InputError as error:
            made = [error]
    dist.broadcast_object_list(made, src=0)
    if isinstance(made[0], InputError):
        raise made[0]
    return made[0]


def local_device() -> torch.device:
    """The GPU that torchrun's LOCAL_RANK names on this machine, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def wrap(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """``network`` on ``device``, with gradients averaged over the processes."""
    # Placed before it is wrapped: the wrapper lays its gradient buckets out as the weights are.
    return torch.nn.parallel.DistributedDataParallel(
        place(network, device), device_ids=[device.index] if device.type == "cuda" else None
    )


def sampler(dataset: Sized, part: str, shuffle: bool) -> DistributedSampler:
    """Deal the cases of ``dataset`` out to the processes.

    Training cases are repeated until every process has as many; other cases never are, so each is scored once.

    Args:
        dataset: the cases.
        part: ``training``, ``validation`` or ``test``.
        shuffle: draw a new order every epoch.

    Raises:
        InputError: there are fewer cases than processes.
    """
    if len(dataset) < world_size():
        raise InputError(
            f"{len(dataset)} {part} cases cannot be dealt out to {world_size()} processes; start at most "
            f"{len(dataset)} processes, or raise that part's share in split_ratios."
        )
    return DistributedSampler(dataset, even_divisible=part == "training", shuffle=shuffle)


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """Let rank 0 run the block alone, then the others: they find what it has downloaded, generated or cached."""
    if dist.is_initialized() and rank() > 0:
        dist.barrier()
    yield
    if dist.is_initialized() and rank() == 0:
        dist.barrier()
