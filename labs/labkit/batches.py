"""Lab 05's batches over several processes: their arithmetic, checks of what learners write, and who saw which case."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.files import read_json
from torch.utils.data import DistributedSampler

from .checks import called, counted, hint, require, right
from .tables import Table

# AWS's sample, notebook and src/multi_gpu_training.py: 484 cases less 1 %, 8 GPUs a machine.
TRAINING_CASES, EPOCHS, BATCH_SIZE = 479, 10, 32
# Of a mean that was added up in another order.
TOLERANCE = 1e-9


def published_batch_size(batch_size: int, world_size: int) -> int:
    """Cases a GPU by the published line, ``batch_size //= world_size // 8``.

    Raises:
        ZeroDivisionError: there are fewer than 8 GPUs.
    """
    return batch_size // (world_size // 8)


def steps_an_epoch(cases: int, batch_size: int, processes: int) -> int:
    """Optimiser steps of an epoch.

    Args:
        cases: in the training set, dealt out with padding.
        batch_size: cases a process and step.
        processes: of the job.
    """
    return math.ceil(math.ceil(cases / processes) / batch_size)


def batch_table(world_sizes: Sequence[int], batch_size: int = BATCH_SIZE) -> Table:
    """What the published line does on so many GPUs, as it runs."""
    rows = []
    for world_size in world_sizes:
        try:
            each = published_batch_size(batch_size, world_size)
        except ZeroDivisionError as error:
            rows.append([world_size, type(error).__name__, "-", "-", "-"])
            continue
        steps = steps_an_epoch(TRAINING_CASES, each, world_size)
        rows.append([world_size, each, each * world_size, steps, steps * EPOCHS])
    columns = ["GPUs", "cases a GPU", "global batch", "steps an epoch", f"steps in {EPOCHS} epochs"]
    return Table(columns, rows, f"batch_size {batch_size}, {TRAINING_CASES} training cases")


def check_steps(answer: Callable[[int, int, int], int]) -> None:
    """The exercise "steps of an epoch"."""
    cases = TRAINING_CASES
    alone = counted(answer, cases, 16, 1)
    require(alone == 30, f"{cases} cases, 16 a step, one process: {alone} steps; is the smaller last batch counted?")
    eight = counted(answer, cases, BATCH_SIZE, 8)
    require(eight == 2, f"8 processes, 32 a step: {eight} steps; how many cases has each, before it makes batches?")
    four = counted(answer, 9, 2, 4)
    require(four == 2, f"9 cases, 4 processes, 2 a step: {four} steps; all make as many as the one with most cases.")
    right("each process gets its share, rounded up, and makes batches of it; the last batch may be smaller.")


def check_cases_a_gpu(answer: Callable[[int, int], int]) -> None:
    """The exercise "spot the bug": the global batch stays what was asked for."""
    for world_size in (1, 4, 8, 16):
        try:
            each = counted(answer, BATCH_SIZE, world_size)
        except ZeroDivisionError:
            hint(f"{world_size} GPUs: something is divided by zero; by what should the batch be divided?")
        require(
            each * world_size == BATCH_SIZE,
            f"{world_size} GPUs with {each} cases each make a global batch of {each * world_size}; 32 were asked for.",
        )
    right("the batch is shared out among all processes, so the global batch does not depend on the machine.")


def dealt(cases: int, processes: int, shuffle: bool = True) -> list[list[int]]:
    """What PyTorch's DistributedSampler gives each process in its first epoch.

    Args:
        cases: of the data set.
        processes: of the job.
        shuffle: as the sampler comes; without, the cases stay in the order of the files.
    """
    return [
        list(DistributedSampler(range(cases), num_replicas=processes, rank=rank, shuffle=shuffle))
        for rank in range(processes)
    ]


def twice(shares: Sequence[Sequence[int]]) -> list[int]:
    """Cases that were dealt out more than once."""
    return sorted(case for case, count in Counter(case for share in shares for case in share).items() if count > 1)


def check_deal(answer: Callable[[int, int, int], Sequence[int]]) -> None:
    """The exercise "every case once"."""
    for cases, processes in ((5, 2), (5, 4), (12, 3)):
        shares = [called(answer, cases, rank, processes) for rank in range(processes)]
        require(all(isinstance(share, Iterable) for share in shares), "return a list of cases, those of this rank.")
        shares = [list(share) for share in shares]
        require(not twice(shares), f"{cases} cases on {processes} processes: case {twice(shares)} is scored twice.")
        require(
            sorted(case for share in shares for case in share) == list(range(cases)),
            f"{cases} cases on {processes} processes: you dealt out {shares}; a case, 0 to {cases - 1}, is missing.",
        )
        sizes = [len(share) for share in shares]
        require(max(sizes) - min(sizes) <= 1, f"the shares have {sizes} cases; the longest keeps the others waiting.")
    right("shares differ by one case at most, none is scored twice; the scores are gathered before they are averaged.")


def logged_loss(batch_means: Sequence[float], batch_sizes: Sequence[int]) -> float:
    """An epoch's loss by the published lines: the sum of batch means over the number of samples."""
    return sum(batch_means) / sum(batch_sizes)


def check_mean_loss(answer: Callable[[Sequence[float], Sequence[int]], float]) -> None:
    """The exercise "average a loss"."""
    alike = counted(answer, [0.996] * 3, [2, 2, 1])
    require(abs(alike - 0.996) < TOLERANCE, f"all batches have a mean loss of 0.996; your epoch has {alike:.4f}.")
    uneven = counted(answer, [1.0, 0.4], [3, 1])
    require(
        abs(uneven - 0.85) < TOLERANCE,
        f"three samples of loss 1.0 and one of 0.4: yours is {uneven:.3f}; how much does each sample count?",
    )
    right("a batch's mean counts as many times as the batch has samples; across processes, sum both, then divide.")


def scaled_rate(learning_rate: float, rule: str, processes: int) -> float:
    """The learning rate of ``processes`` times the batch, by a rule of ``scale_learning_rate``."""
    return learning_rate * {"none": 1.0, "linear": float(processes), "sqrt": math.sqrt(processes)}[rule]


def best_epochs(scores: Mapping[int, Mapping[str, float]], own: Sequence[str]) -> tuple[int, int]:
    """The best epoch by the mean over all cases, and by the mean over one process's own cases.

    Args:
        scores: epoch to case to Dice.
        own: the cases of that process.
    """
    by_all = {epoch: sum(cases.values()) / len(cases) for epoch, cases in scores.items()}
    by_own = {epoch: sum(cases[name] for name in own) / len(own) for epoch, cases in scores.items()}
    return max(by_all, key=by_all.__getitem__), max(by_own, key=by_own.__getitem__)


def notes(folder: Path, part: str) -> list[list[dict[str, Any]]]:
    """What the processes noted by ``ranks.NoteCases``, a list a process."""
    files = sorted(folder.glob(f"{part}_*.json"), key=lambda file: int(file.stem.rpartition("_")[2]))
    return [read_json(file, "notes") for file in files]


def scores(folder: Path) -> dict[int, dict[str, float]]:
    """Epoch to case to Dice, of all processes."""
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for process in notes(folder, "validation"):
        for entry in process:
            found[entry["epoch"]][entry["case"]] = entry["dice"]
    return dict(found)


def own_cases(folder: Path, rank: int) -> list[str]:
    """The cases that a process validated, each once."""
    return list(dict.fromkeys(entry["case"] for entry in notes(folder, "validation")[rank]))
