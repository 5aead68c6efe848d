"""The processes of a job: joining their group and leaving it, and each one's device and share of the cases."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import ignite.distributed as idist
import torch
import torch.distributed as dist
from ignite.distributed.comp_models.base import _SerialModel
from ignite.distributed.comp_models.native import _NativeDistModel
from ignite.engine import Engine, Events
from monai.data import DistributedSampler

from scripts import backends
from scripts.errors import InputError, install_excepthook
from scripts.keepalive import keep_alive
from scripts.launchers import Launch, find_launch
from scripts.step import place

logger = logging.getLogger(__name__)

# The others wait while rank 0 makes the phantom, checks the cases or builds a store. PyTorch's own for gloo; nccl's is
# ten minutes. A process that dies is noticed at once all the same: by its launcher, and by its closed connections; a
# machine that vanishes, by keep-alive (gloo's connections: nccl makes its own later).
TIMEOUT = timedelta(minutes=30)
# Thousands of times what a thread takes that is given a core.
SETTLE_S = 0.2


def start(backend: str) -> int:
    """Join the process group, unless ``backend`` is ``none``.

    Args:
        backend: ``none`` for a single process; ``auto`` chooses (:mod:`scripts.backends`) and logs what and why.

    Returns:
        This process's rank.

    Raises:
        InputError: the backend cannot be used, or no launcher has started this process.
    """
    # The first of the bundle to speak to the user.
    install_excepthook()
    if backend == "none" or dist.is_initialized():
        return rank()
    found = find_launch()
    if found is None:
        raise InputError(
            "multi_gpu_train.json needs one process per device, but no launcher started this one; start it with "
            "torchrun --nproc_per_node=N -m monai.bundle run ..., mpirun or srun."
        )
    os.environ.update(found.variables())
    backend, reason = backends.choose(backend, found)
    if torch.cuda.is_available():
        if found.local_rank >= torch.cuda.device_count():
            raise InputError(
                f"{found.local_world_size} processes were started on a machine with {torch.cuda.device_count()} GPUs; "
                "start one for each GPU."
            )
        torch.cuda.set_device(local_device())
    dist.init_process_group(backend, timeout=TIMEOUT)
    keep_alive()
    # ignite, which MONAI's metrics gather by, would find the group by itself, but by making another one of gloo, which
    # SMDDP forbids; and in a Slurm job it would set LOCAL_RANK to srun's, which is 0 in every process of a torchrun.
    idist.utils._set_model(_KnownGroup(found))
    if rank() == 0:
        logger.info("backend %s: %s; %d processes by %s", backend, reason, found.world_size, found.launcher)
    return rank()


class _KnownGroup(_NativeDistModel):
    """ignite's view of the process group, told what it would otherwise find out."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        super().__init__()

    def _identify_local_rank(self) -> None:
        self._local_rank = self.launch.local_rank
        self._node = self.launch.rank // self.launch.local_world_size

    def _compute_nproc_per_node(self) -> int:
        return self.launch.local_world_size


def refuse_rivals() -> None:
    """Refuse several processes without a group: each would do all of the work and write the same files.

    Raises:
        InputError: there are several processes, and they have not joined.
    """
    if dist.is_initialized():
        return
    found = find_launch()
    if found is not None and found.world_size > 1:
        raise InputError(
            f"{found.launcher} started {found.world_size} processes, but this config runs in one; add "
            f"configs/multi_gpu_train.json to --config_file, or start it without {found.launcher}."
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
        idist.utils._set_model(_SerialModel())


def backend_name() -> str:
    """The backend in use, for people."""
    return dist.get_backend() if dist.is_initialized() else "none"


def launch() -> Launch | None:
    """How the processes of the group were started; None without a group of :func:`start`."""
    model = idist.utils._model
    return model.launch if isinstance(model, _KnownGroup) else None


def summed(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` summed over the processes, for a loss that every process computes from the sum alike.

    Gradients are averaged over the processes afterwards. For that average to be the gradient of the loss of all, the
    own part counts once a process.
    """
    if world_size() == 1:
        return tensor
    total = tensor.detach().clone()
    dist.all_reduce(total)
    own = tensor * world_size()
    return own + (total - own).detach()


def gathered(rows: list[Any]) -> list[Any]:
    """The rows of all processes in the order of their ranks, in every process; every process must come here."""
    if world_size() == 1:
        return rows
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, rows)
    return [row for part in parts for row in part]


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
    """The GPU that LOCAL_RANK, set by :func:`start`, names on this machine, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def wrap(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """``network`` on ``device``, with gradients averaged over the processes."""
    # Placed before it is wrapped: the wrapper lays its gradient buckets out as the weights are.
    return torch.nn.parallel.DistributedDataParallel(
        place(network, device), device_ids=[device.index] if device.type == "cuda" else None
    )


class SameBuffers:
    """Trainer handler: before each validation every process takes rank 0's buffers, such as batch norm's statistics.

    Each process's own statistics come from its own batches; rank 0's are what is saved, so all validate with them.

    Args:
        network: the network that is trained, wrapped or not.
        average: the network that is validated.
    """

    def __init__(self, network: torch.nn.Module, average: torch.nn.Module) -> None:
        self.networks = (network, average)

    def attach(self, engine: Engine) -> None:
        """Register after the last step of each epoch."""
        last = Events.ITERATION_COMPLETED(event_filter=lambda engine, step: step % engine.state.epoch_length == 0)
        engine.add_event_handler(last, self)

    def __call__(self, engine: Engine) -> None:
        """Broadcast."""
        for network in self.networks:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)


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
