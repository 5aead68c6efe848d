"""Claim: two processes that average their gradients do at least 0.93 of the work of two that do not.

    python benchmarks/scaling.py     # two or three minutes on two cores, which nothing else should use

Both sides are the training step of train.json: its UNet, loss, patch size and patches a step, through
``scripts.engine.Trainer``, one thread each. Two processes, each on a core of its own, run them in turns and at the same
time: *independent*, so that they fight for memory as hard, and with the network wrapped by ``scripts.distributed.wrap``
over gloo. The unit is wall time, as waiting for each other is what is measured; the order of the sides alternates.
Correctness: the gradients of the wrapped networks are the mean of the independent ones' in both processes.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timing
import torch
import torch.distributed as dist
from scripts.checkpoints import from_recipe, unwrapped
from scripts.distributed import wrap
from scripts.engine import RegionBatch, Trainer
from scripts.step import place
from torch import multiprocessing

PROCESSES = 2
SIDES = ("independent", "averaging")
TOLERANCE = 1e-5


def section(name: str) -> Any:
    """A part of the recipe that ships, instantiated: nothing has been trained in this folder."""
    return from_recipe("", str(timing.ROOT / "bundle"), name)


def make_batch(rank: int) -> dict[str, torch.Tensor]:
    """This process's batch of a step: image (B, 4, H, W, D) and label (B, 1, H, W, D) of noise."""
    generator = torch.Generator().manual_seed(rank)
    shape = (section("batch_size") * section("crops_per_case"), 1, *section("patch_size"))
    image = torch.randn(shape[0], len(section("modalities")), *shape[2:], generator=generator)
    label = torch.randint(0, 4, shape, generator=generator, dtype=torch.uint8)
    return {"image": image.contiguous(memory_format=torch.channels_last_3d), "label": label}


def make_network(side: str) -> torch.nn.Module:
    """The recipe's network, with the same weights in both processes and on both sides."""
    torch.manual_seed(0)
    network, device = section("network_def"), torch.device("cpu")
    return wrap(network, device) if side == "averaging" else place(network, device)


def make_step(network: torch.nn.Module, batch: dict[str, torch.Tensor], steps: int) -> Callable[[], None]:
    """A function that trains for ``steps`` steps."""
    trainer = Trainer(
        device=torch.device("cpu"), max_epochs=0, train_data_loader=[batch] * steps, network=network,
        loss_function=section("loss"), prepare_batch=RegionBatch("msd"),
        optimizer=torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True),
    )  # fmt: skip

    def step() -> None:
        trainer.state.max_epochs += 1
        trainer.run()

    return step


def gradients(network: torch.nn.Module) -> torch.Tensor:
    """All gradients of the last step, as one vector."""
    return torch.cat([parameter.grad.flatten() for parameter in unwrapped(network).parameters()])


def check_gradients(batch: dict[str, torch.Tensor]) -> float:
    """Largest difference of the wrapped gradients from the mean of the others, relative to the largest gradient.

    Raises:
        AssertionError: it is more than rounding.
    """
    found = {}
    for side in SIDES:
        network = make_network(side)
        make_step(network, batch, 1)()
        found[side] = gradients(network)
    mean = found["independent"].clone()
    dist.all_reduce(mean)
    mean /= PROCESSES
    worst = float((found["averaging"] - mean).abs().max() / mean.abs().max())
    if torch.equal(mean, found["independent"]) or worst > TOLERANCE:
        raise AssertionError(f"averaged gradients differ from the mean by {worst:.1e} of the largest")
    return worst


def all_reduce_ms(size: int) -> float:
    """Median milliseconds of an all-reduce of ``size`` float32 by itself."""
    values, seconds = torch.zeros(size), []
    for _ in range(20):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(values)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def process(rank: int, folder: str, rounds: int, steps: int) -> None:
    """One of the two processes: leaves its figures in ``folder``."""
    torch.set_num_threads(1)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) >= PROCESSES:
        os.sched_setaffinity(0, {cores[rank]})
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=PROCESSES)
    batch = make_batch(rank)
    checks = {"pinned": len(cores) >= PROCESSES, "gradients": check_gradients(batch)}
    networks = {side: make_network(side) for side in SIDES}
    work = {side: make_step(network, batch, steps) for side, network in networks.items()}
    checks["all_reduce_ms"] = all_reduce_ms(gradients_size := sum(p.numel() for p in networks[SIDES[0]].parameters()))
    checks["gradient_mb"] = 4 * gradients_size / 1e6
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(1 + rounds):
        for side in SIDES if turn % 2 else reversed(SIDES):
            dist.barrier()
            start = time.perf_counter()
            work[side]()
            # The first turn is for caches and allocators.
            if turn:
                seconds[side].append((time.perf_counter() - start) / steps)
    torch.save({"seconds": seconds, "checks": checks}, Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    """Run the benchmark."""
    parser = timing.arguments(__doc__, rounds=12)
    parser.add_argument("--steps", type=int, default=5, help="steps of a side in a round (default %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(process, (folder, options.rounds, options.steps), nprocs=PROCESSES)
        found = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]
    samples = section("batch_size") * section("crops_per_case")
    # Independent processes need not end together: their rates are added, not their times.
    a_sample = {
        side: [1 / sum(samples / s for s in both) for both in zip(*(f["seconds"][side] for f in found), strict=True)]
        for side in SIDES
    }
    rows = {
        side: {"samples_per_s": 1 / statistics.median(seconds), "step_ms": 2000 * samples * statistics.median(seconds)}
        for side, seconds in a_sample.items()
    }
    checks = {
        "cores": "one a process" if found[0]["checks"]["pinned"] else "shared",
        "patches a step and process": samples,
        "gradients against the mean, relative": f"{max(f['checks']['gradients'] for f in found):.1e}",
        "gradients, MB": f"{found[0]['checks']['gradient_mb']:.1f}",
        "their all-reduce by itself, ms": f"{found[0]['checks']['all_reduce_ms']:.1f}",
    }
    for side, row in rows.items():
        print(f"{side:<12} {row['samples_per_s']:8.2f} samples/s {row['step_ms']:9.1f} ms a step")
    ratios = {"averaging/independent": timing.Ratio(a_sample["independent"], a_sample["averaging"])}
    timing.finish(ratios, {}, checks, options.json, rows=rows, seconds_a_sample=a_sample)


if __name__ == "__main__":
    main()
