"""Fully sharded data parallel: each process keeps its share of weights, gradients and optimiser state, not all of them.

PyTorch's ``fully_shard`` (FSDP2) gathers the weights of one block at a time for its forward and its backward pass. A
forward pass is then a collective: a process that makes one more than the others waits for ever. Training steps are
equally many everywhere; validation is not, as cases and their windows are dealt out unevenly. So ``network_def`` itself
stays whole and is what is validated and saved, filled at the end of each epoch, while a sharded copy of it is trained.

Every function here is a collective where weights are sharded, and does nothing special where they are not.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import AveragedModel

from scripts import distributed
from scripts.errors import InputError

# A unit is gathered at once, so it bounds the memory saved; each costs three collectives a step. The gain flattens at
# about ten of them.
UNIT_SHARE = 0.1


def sharded_copy(network: nn.Module, device: torch.device) -> nn.Module:
    """A copy of ``network`` on ``device`` whose weights are dealt out to the processes; names and shapes stay.

    Its convolutions' weights are not channels-last, which FSDP cannot shard.

    Args:
        network: left as it is. Rank 0's values are taken, as seeds differ between processes.
        device: of this process.

    Raises:
        InputError: there is no process group, its backend cannot gather shards, or PyTorch has no ``fully_shard``.
    """
    if not dist.is_initialized():
        raise InputError(
            "fsdp_train.json shards a network over the processes of a group, but there is none; name "
            "configs/multi_gpu_train.json before configs/fsdp_train.json."
        )
    if dist.get_backend() == "smddp":
        raise InputError("backend smddp averages gradients of whole networks; set backend to nccl for fsdp_train.json.")
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise InputError(
            f"fsdp_train.json needs PyTorch 2.6 or later, but this is {torch.__version__}; install one, or name "
            "multi_gpu_train.json alone."
        ) from error
    network = copy.deepcopy(network).to(device)
    for tensor in network.state_dict().values():
        dist.broadcast(tensor, src=0)
    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    for block in (*units(network), network):
        fully_shard(block, mesh=mesh)
    return network


def units(network: nn.Module) -> list[nn.Module]:
    """Blocks to shard and gather as one, innermost first: each holds at least a tenth of all parameters.

    A block is a module with children: a parent may read the weights of a leaf without calling it, as attention does.
    """
    smallest = UNIT_SHARE * sum(parameter.numel() for parameter in network.parameters())
    chosen: list[nn.Module] = []
    seen: set[int] = set()

    def unassigned(module: nn.Module) -> int:
        """Parameters in ``module`` that no chosen block holds; chooses it if they are enough."""
        if id(module) in seen:
            return 0
        seen.add(id(module))
        children = list(module.children())
        count = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        count += sum(map(unassigned, children))
        # Lists are never called, and calling is what gathers.
        if count < smallest or not children or module is network or isinstance(module, (nn.ModuleList, nn.ModuleDict)):
            return count
        chosen.append(module)
        return 0

    unassigned(network)
    return chosen


def is_sharded(network: nn.Module) -> bool:
    """Whether :func:`sharded_copy` made it."""
    return hasattr(network, "unshard")


@contextmanager
def gathered(network: nn.Module) -> Iterator[None]:
    """Context in which the parameters of a sharded network are whole tensors in every process, to be read.

    Buffers, which are not sharded, become rank 0's.
    """
    blocks = [module for module in network.modules() if is_sharded(module)]
    for block in blocks:
        block.unshard()
    if blocks:
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)
    try:
        yield
    finally:
        for block in blocks:
            block.reshard()


class GatherWeights:
    """Trainer handler: fills the whole network at the start, and after an epoch's last step, before its validation.

    Args:
        network: the sharded network that is trained.
        whole: what is validated and saved. A moving average fills itself after each step, and is left alone.
    """

    def __init__(self, network: nn.Module, whole: nn.Module) -> None:
        self.network = network
        self.whole = whole

    def attach(self, engine: Engine) -> None:
        """Register at the start, where a state may have been taken up, and after the last step of each epoch."""
        if not isinstance(self.whole, AveragedModel):
            last = Events.ITERATION_COMPLETED(event_filter=lambda engine, step: step % engine.state.epoch_length == 0)
            engine.add_event_handler(Events.STARTED, self)
            engine.add_event_handler(last, self)

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        """Gather."""
        with gathered(self.network):
            for kept, trained in zip(_tensors(self.whole), _tensors(self.network), strict=True):
                kept.copy_(trained)


def full_state(part: Any) -> dict[str, Any]:
    """``part.state_dict()`` with sharded tensors gathered, as one process would have it: the same keys and shapes.

    Gathered tensors are on the CPU, and on rank 0 only; the other processes get None in their place.

    Args:
        part: a network, an optimiser or anything else with a ``state_dict``.
    """
    return _mapped(part.state_dict())


def load_full_state(part: Any, state: Mapping[str, Any]) -> None:
    """The reverse of :func:`full_state`: load a whole state, sharding it as ``part`` is.

    Args:
        part: a network, an optimiser or anything else with a ``load_state_dict``.
        state: the same in every process.
    """
    if isinstance(part, nn.Module):
        own = part.state_dict()
        state = {name: _sharded_like(value, own.get(name)) for name, value in state.items()}
    elif isinstance(part, torch.optim.Optimizer):
        parameters = [parameter for group in part.param_groups for parameter in group["params"]]
        entries = {
            index: {
                # Moments have their parameter's shape and are sharded like it; a count of steps is not.
                name: _sharded_like(value, parameters[index] if _shape(value) == parameters[index].shape else None)
                for name, value in entry.items()
            }
            for index, entry in state["state"].items()
        }
        state = {**state, "state": entries}
    part.load_state_dict(state)


def _tensors(network: nn.Module) -> Iterator[torch.Tensor]:
    """Parameters and buffers in their order; asking for the ``state_dict`` would shard gathered ones again."""
    return itertools.chain(network.parameters(), network.buffers())


def _mapped(value: Any) -> Any:
    """``value`` with every sharded tensor in it gathered."""
    if isinstance(value, Mapping):
        return {name: _mapped(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_mapped(entry) for entry in value]
    if not hasattr(value, "full_tensor"):
        return value
    whole = value.full_tensor()
    return whole.cpu() if distributed.rank() == 0 else None


def _sharded_like(value: Any, model: Any) -> Any:
    """``value`` sharded as ``model`` is, or as it is where that is no sharded tensor."""
    if not hasattr(model, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(model.device), model.device_mesh, model.placements)


def _shape(value: Any) -> Any:
    return value.shape if isinstance(value, torch.Tensor) else None
