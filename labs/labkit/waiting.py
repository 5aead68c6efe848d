"""How long a network waits for its samples: a short training whose seconds are split into waiting and working."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import DataLoader, Dataset
from monai.data.utils import list_data_collate

from .recipe import recipe

PROCESS = "process"


@dataclass(frozen=True)
class Waiting:
    """Where the wall time of a few epochs went.

    Attributes:
        first_s: seconds until an epoch's first batch came, mean over the epochs after the first.
        wait_s: all seconds of waiting for a batch.
        step_s: all seconds in the network's steps.
        workers: processes that made the batches, over all epochs.
    """

    first_s: float
    wait_s: float
    step_s: float
    workers: int

    @property
    def share(self) -> float:
        """Share of the time that the network waits."""
        return share_at(self.wait_s, self.step_s)


def collate_with_process(samples: Sequence[Any]) -> dict[str, Any]:
    """MONAI's collate, and the id of the process that did it."""
    return {**list_data_collate(samples), PROCESS: os.getpid()}


def plain_loader(items: Sequence[Any], chain: Sequence[Any], workers: int, keep_workers: bool = False) -> DataLoader:
    """A loader over a plain ``Dataset``, as the published training had it: every sample prepared anew.

    Args:
        items: cases.
        chain: all transforms.
        workers: processes that prepare samples; 0 prepares them in this one.
        keep_workers: let them live from epoch to epoch.
    """
    return DataLoader(
        Dataset(items, chain),
        batch_size=1,
        shuffle=True,
        num_workers=workers,
        persistent_workers=keep_workers,
        collate_fn=collate_with_process,
    )


def training_step() -> Callable[[torch.Tensor, torch.Tensor], None]:
    """One step of the recipe's network, forward, backward and update, towards the whole tumour in all channels."""
    network = recipe().get_parsed_content("network_def")
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def step(image: torch.Tensor, label: torch.Tensor) -> None:
        """``image`` (B, C, H, W, D), ``label`` (B, 1, H, W, D)."""
        optimizer.zero_grad()
        logits = network(image)
        truth = (label > 0).to(logits.dtype).expand_as(logits)
        torch.nn.functional.binary_cross_entropy_with_logits(logits, truth).backward()
        optimizer.step()

    return step


def watch(loader: Iterable[Any], step: Callable[[torch.Tensor, torch.Tensor], None], epochs: int) -> Waiting:
    """Train ``epochs`` epochs, the first one unmeasured, and note what was waited for.

    Args:
        loader: gives batches with ``image`` and ``label``.
        step: what the network does with them.
        epochs: at least 2.
    """
    first, waited, worked, processes = [], 0.0, 0.0, set()
    for epoch in range(epochs):
        asked, batches = time.perf_counter(), 0
        for batch in loader:
            came = time.perf_counter()
            step(batch["image"], batch["label"])
            done = time.perf_counter()
            processes.add(batch.get(PROCESS, os.getpid()))
            if epoch:
                waited += came - asked
                worked += done - came
                if batches == 0:
                    first.append(came - asked)
            asked, batches = done, batches + 1
        # What an epoch's end takes (workers that are joined) is waited for as well.
        if epoch:
            waited += time.perf_counter() - asked
    return Waiting(sum(first) / len(first), waited, worked, len(processes))


def share_at(sample_s: float, step_s: float) -> float:
    """Share of the time that a network waits if nothing prepares the next sample meanwhile.

    Args:
        sample_s: seconds to prepare a sample, or all seconds of waiting.
        step_s: seconds of a step, or all seconds of steps.
    """
    return sample_s / (sample_s + step_s)
