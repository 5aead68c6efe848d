"""Batches of random patches from a store, made by one background thread into buffers that are used again and again.

Worker processes, PyTorch's usual way, would cost twenty times the patch itself: every batch is copied into shared
memory, announced, and copied out again. Here a batch is written once, in the layout that the network reads. The gather
runs in C or in PyTorch, outside of Python's lock, while the network works on the batch before.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch.utils.data import DistributedSampler, Sampler

from scripts import distributed
from scripts.errors import InputError
from scripts.gather import gather
from scripts.patches import patch_recipe
from scripts.resident import ResidentStore
from scripts.store_data import StoreDataset


class Buffer:
    """Memory of one batch, and the names of the cases in it.

    ``image`` is float32 (B, C, h, w, d), channels innermost in memory (channels_last_3d); ``label`` uint8
    (B, 1, h, w, d).
    """

    def __init__(self, patches: int, channels: int, patch_size: Sequence[int], device: torch.device) -> None:
        # A GPU copies pinned memory without a detour. The copy must be over when the next batch is asked for, as it is
        # with the engines' default, non_blocking false.
        pinned = device.type == "cpu" and torch.cuda.is_available()
        self.voxels = torch.empty((patches, *patch_size, channels), device=device, pin_memory=pinned)
        self.ids = torch.empty((patches, *patch_size), dtype=torch.uint8, device=device, pin_memory=pinned)
        self.names: list[str] = []

    def batch(self) -> dict[str, Any]:
        """The filled part as a batch; it shares this buffer's memory."""
        count = len(self.names)
        return {
            "image": self.voxels[:count].permute(0, 4, 1, 2, 3),
            "label": self.ids[:count, None],
            "case": list(self.names),
        }


class PatchLoader:
    """Iterable over the batches of an epoch, like a ``DataLoader``.

    A batch is valid until the next one is asked for: its memory is then filled anew. What is drawn depends on ``seed``,
    the epoch, the rank and the position in the epoch alone, not on the timing of threads, so an epoch can be repeated.

    Args:
        dataset: the cases.
        transforms: the recipe's random transforms; they must be the ones that the store can make: LocateTumourd and
            RandPatchd.
        batch_size: cases a batch; a batch holds ``batch_size * num_samples`` patches.
        seed: of order and augmentation.
        shuffle: draw a new order every epoch.
        sampler: gives the indices of the cases instead, for example this process's share.
        ahead: batches made before they are asked for.
    """

    def __init__(
        self,
        dataset: StoreDataset,
        transforms: Sequence[Any],
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        sampler: Sampler[int] | None = None,
        ahead: int = 2,
    ) -> None:
        if ahead < 1 or batch_size < 1:
            raise InputError(f"batch_size is {batch_size} and ahead {ahead}, but both are at least 1; correct them.")
        if distributed.world_size() > 1 and sampler is None:
            raise InputError(
                f"{distributed.world_size()} processes would each train on every case; name "
                "configs/multi_gpu_train.json after configs/data/store.json, which then deals the cases out."
            )
        self.dataset = dataset
        self.recipe, self.num_samples = patch_recipe(transforms)
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.sampler = sampler
        self.ahead = ahead
        self.epoch = 0
        self._spare: list[Buffer] = []
        self._resident = None if dataset.device.type == "cpu" else ResidentStore(dataset.cases(), dataset.device)

    def __len__(self) -> int:
        cases: Sized = self.dataset if self.sampler is None else self.sampler
        return math.ceil(len(cases) / self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Number of the epoch that is iterated next, from 0; each iteration counts on."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # Kept for the next epoch, but two epochs that run at the same time have buffers of their own.
        buffers, self._spare = self._spare or [self._buffer() for _ in range(self.ahead + 1)], []
        free: queue.SimpleQueue[Buffer] = queue.SimpleQueue()
        ready: queue.SimpleQueue[Buffer | BaseException | None] = queue.SimpleQueue()
        for buffer in buffers:
            free.put(buffer)
        stop = threading.Event()
        threads, limited = torch.get_num_threads(), threading.Event()
        thread = threading.Thread(target=self._fill, args=(self.epoch, free, ready, stop, limited), daemon=True)
        self.epoch += 1
        thread.start()
        # The limit is a thread's own in OpenMP, but MKL has one for all: the caller's is set again.
        limited.wait()
        torch.set_num_threads(threads)
        try:
            while (made := ready.get()) is not None:
                if isinstance(made, BaseException):
                    raise made
                yield made.batch()
                free.put(made)
        finally:
            # Also reached when the caller stops early: the thread must not write into buffers that are used again.
            stop.set()
            free.put(buffers[0])
            thread.join()
            self._spare = buffers

    def _buffer(self) -> Buffer:
        channels = len(self.dataset.stored(0).units)
        return Buffer(self.batch_size * self.num_samples, channels, self.recipe.patch_size, self.dataset.device)

    def _order(self, epoch: int) -> list[int]:
        if self.sampler is not None:
            # MONAI's engines do this for a DataLoader only.
            if isinstance(self.sampler, DistributedSampler):
                self.sampler.set_epoch(epoch)
            return list(self.sampler)
        if not self.shuffle:
            return list(range(len(self.dataset)))
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.dataset)).tolist()

    def _fill(
        self,
        epoch: int,
        free: queue.SimpleQueue,
        ready: queue.SimpleQueue,
        stop: threading.Event,
        limited: threading.Event,
    ) -> None:
        # The gather is one pass over memory; more threads would only take cores from the network.
        torch.set_num_threads(1)
        limited.set()
        try:
            order = self._order(epoch)
            for first in range(0, len(order), self.batch_size):
                buffer = free.get()
                if stop.is_set():
                    return
                positions = range(first, min(first + self.batch_size, len(order)))
                self._fill_one(buffer, [order[p] for p in positions], [self._rng(epoch, p) for p in positions])
                ready.put(buffer)
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    def _rng(self, epoch: int, position: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch, distributed.rank(), position))

    def _fill_one(self, buffer: Buffer, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> None:
        chosen = [index for index in indices for _ in range(self.num_samples)]
        cases = [self.dataset.stored(index) for index in chosen]
        draws = [
            self.recipe.draw(rng, case.label.shape, len(case.units), case.locations, case.spacing_mm)
            for case, rng in zip(cases, [rng for rng in rngs for _ in range(self.num_samples)], strict=True)
        ]
        buffer.names = [case.name for case in cases]
        if self._resident is not None:
            self._resident.gather(buffer.names, draws, buffer.voxels[: len(chosen)], buffer.ids[: len(chosen)])
            return
        for case, draw, out, ids in zip(cases, draws, buffer.voxels, buffer.ids, strict=False):
            gather(case.image, case.label, draw, draw.gain * case.units, out, ids)
