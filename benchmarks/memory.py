"""Claim: on two processes FSDP holds a quarter less weights, gradients and optimiser state than DDP in each process,
which is little of what a training step takes in all, also for a network of 60 M parameters.

    python benchmarks/memory.py [--patch_size N] [--json FILE]

Every row is a network of configs/, wrapped as multi_gpu_train.json or fsdp_train.json does it, in two gloo processes of
one thread each: three steps of AdamW on one patch of random voxels. Tensors are counted one by one; ``whole_mb`` is the
copy that fsdp_train.json validates and saves. ``peak_mb`` is the largest growth of the process's resident memory from
before the network was made (Linux), activations, buffers and collectives included. Both ways must have the same losses.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import timing
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from scripts import distributed, fsdp
from scripts.engine import RegionBatch, Trainer
from scripts.losses import DiceBCELoss
from torch import nn

CONFIGS = timing.ROOT / "bundle" / "configs"
NETWORKS = {"UNet": (), "SegResNet": ("network/segresnet.json",), "SwinUNETR": ("network/swinunetr.json",)}
SIDES = ("DDP", "FSDP")
STEPS = 3
# Rounding of sums in another order.
LOSS_TOLERANCE = 1e-4


def megabytes(tensors: Iterable[Any]) -> float:
    """Memory of this process's part of tensors, in MB; anything else in between counts nothing."""
    local = (t.to_local() if hasattr(t, "to_local") else t for t in tensors if isinstance(t, torch.Tensor))
    return sum(t.numel() * t.element_size() for t in local) / 1e6


def forget_peak() -> None:
    """Let the kernel count the peak of the resident memory from here on."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """Peak of the resident memory since :func:`forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def batches(patch: int, rank: int) -> list[dict[str, torch.Tensor]]:
    """The patches of one process, (1, 4, H, W, D) and (1, 1, H, W, D)."""
    generator = torch.Generator().manual_seed(rank)
    return [
        {
            "image": torch.randn(1, 4, *[patch] * 3, generator=generator),
            "label": torch.randint(0, 4, (1, 1, *[patch] * 3), generator=generator, dtype=torch.uint8),
        }
        for _ in range(STEPS)
    ]


def measure(name: str, side: str, patch: int) -> dict[str, Any]:
    """One row, in one of two processes."""
    torch.set_num_threads(1)
    distributed.start("gloo")
    cpu = torch.device("cpu")
    data = batches(patch, distributed.rank())
    before = timing.resident_mb()
    torch.manual_seed(0)
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / "train.json"), *(str(CONFIGS / file) for file in NETWORKS[name])])
    # Dropout would draw other numbers in the order of the wrappers.
    whole = parser.get_parsed_content("network_def")
    for module in whole.modules():
        if isinstance(module, nn.Dropout3d):
            module.p = 0.0
    network = distributed.wrap(whole, cpu) if side == "DDP" else fsdp.sharded_copy(whole, cpu)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    losses: list[float] = []
    trainer = Trainer(
        device=cpu, max_epochs=1, train_data_loader=data, network=network, optimizer=optimizer,
        loss_function=DiceBCELoss(), prepare_batch=RegionBatch("msd"),
    )  # fmt: skip
    # The first step makes the optimiser's state and the buffers of the collectives.
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda engine: forget_peak())
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output[0]["loss"]))
    )
    trainer.run()
    peak = peak_mb() - before
    parameters = list(network.parameters())
    row = {
        "million_parameters": sum(p.numel() for p in parameters) / 1e6,
        "weights_mb": megabytes(parameters),
        "gradients_mb": megabytes(p.grad for p in parameters),
        "optimizer_mb": megabytes(value for state in optimizer.state.values() for value in state.values()),
        "whole_mb": 0.0 if side == "DDP" else megabytes(whole.parameters()),
    }
    row["state_mb"] = sum(value for key, value in row.items() if key.endswith("_mb"))
    distributed.stop()
    return row | {"peak_mb": peak, "losses": losses}


def main() -> None:
    """Run every row in two processes of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patch_size", type=int, default=64, help="side of the patch in voxels (default %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        row = measure(*options.row, options.patch_size)
        if os.environ["RANK"] == "0":
            sys.stdout.write(json.dumps(row) + "\n")
        return
    rows, largest = {}, 0.0
    for name in NETWORKS:
        losses = []
        for side in SIDES:
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", __file__]
            command += ["--row", name, side, "--patch_size", str(options.patch_size)]
            row = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
            losses.append(row.pop("losses"))
            rows[f"{name}, {side}"] = row
        largest = max(largest, *(abs(a - b) for a, b in zip(*losses, strict=True)))
        if largest > LOSS_TOLERANCE:
            raise SystemExit(f"{name}: DDP and FSDP differ by {largest} in the loss, {LOSS_TOLERANCE} is allowed")
    columns = list(next(iter(rows.values())))
    sys.stdout.write(f"{timing.machine()}\n" + "".join(f"{column:>20}" for column in ("", *columns)) + "\n")
    for title, row in rows.items():
        sys.stdout.write(f"{title:>20}" + "".join(f"{value:>20.1f}" for value in row.values()) + "\n")
    ratios = {
        f"{name} DDP/FSDP {what}": rows[f"{name}, DDP"][column] / rows[f"{name}, FSDP"][column]
        for what, column in (("state", "state_mb"), ("peak", "peak_mb"))
        for name in NETWORKS
    }
    checks = {"largest difference of the losses": f"{largest:.1e}", "patch": options.patch_size}
    timing.finish(ratios, {}, checks, options.json, rows=rows)


if __name__ == "__main__":
    main()
