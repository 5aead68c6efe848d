"""Two processes measure themselves: what DDP and FSDP keep in memory, and what averaging gradients takes.

    torchrun --standalone --nproc_per_node=2 -m labs.labkit.rank_memory FOLDER

Each writes ``RANK.json`` into the folder. Lab 05 reads it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from scripts import distributed, fsdp
from scripts.files import write_json
from torch import nn

from .recipe import recipe

CPU = torch.device("cpu")
PATCH = 32
# The first step makes the optimiser's state; the others are timed.
STEPS = 4


def local_mb(tensors: Iterable[Any]) -> float:
    """Memory of this process's part of tensors, in MB (10^6 bytes)."""
    parts = (value.to_local() if hasattr(value, "to_local") else value for value in tensors)
    return sum(part.numel() * part.element_size() for part in parts if isinstance(part, torch.Tensor)) / 1e6


def make_network() -> nn.Module:
    """The recipe's network, the same weights in every process."""
    torch.manual_seed(0)
    return recipe().get_parsed_content("network_def").to(CPU)


def state_of(network: nn.Module) -> dict[str, float]:
    """One step of AdamW; then weights, gradients and moments of this process in MB."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    network(torch.zeros(1, 4, PATCH, PATCH, PATCH)).mean().backward()
    optimizer.step()
    parameters = list(network.parameters())
    return {
        "weights": local_mb(parameters),
        "gradients": local_mb(parameter.grad for parameter in parameters),
        # The count of steps is a tensor as well, of one number.
        "moments": local_mb(value for state in optimizer.state.values() for value in state.values() if value.ndim),
    }


def seconds_of_a_step(network: nn.Module, patch: torch.Tensor) -> float:
    """Median wall time of a forward and a backward pass."""
    seconds = []
    for _ in range(STEPS):
        dist.barrier()
        began = time.perf_counter()
        network(patch).mean().backward()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def seconds_of_an_exchange(count: int) -> float:
    """Median wall time of an all-reduce of ``count`` float32."""
    values, seconds = torch.zeros(count), []
    for _ in range(STEPS):
        dist.barrier()
        began = time.perf_counter()
        dist.all_reduce(values)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def measure() -> dict[str, Any]:
    """All figures of this process."""
    whole = make_network()
    parameters = sum(parameter.numel() for parameter in whole.parameters())
    patch = torch.randn(1, 4, PATCH, PATCH, PATCH)
    return {
        "parameters": parameters,
        "FSDP": state_of(fsdp.sharded_copy(whole, CPU)) | {"whole copy": local_mb(whole.parameters())},
        "DDP": state_of(distributed.wrap(whole, CPU)),
        "compute_s": seconds_of_a_step(make_network(), patch),
        "exchange_s": seconds_of_an_exchange(parameters),
    }


def main(folder: Path) -> None:
    """Join the group, measure, write, leave."""
    torch.set_num_threads(1)
    distributed.start("gloo")
    write_json(folder / f"{distributed.rank()}.json", measure())
    distributed.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
