"""Claim: of the five ways of reading in configs/data, the store has the cheapest sample, and of the two that keep cases
on disk the smaller files. The published experiment, as one table.

    python benchmarks/data_strategies.py [--dataset_dir DIR] [--epochs N] [--json FILE]

Every row is train.json with that one override, at the published spacing and patch size, in a process of its own on one
thread: what an epoch costs the first time (preparing included) and later, what is read, kept on disk and in memory. The
last row but one is the published recipe, which normalises every crop, read anew in every epoch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import full_size
import published
import timing
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, SmartCacheDataset
from scripts.loader import PatchLoader

CONFIGS = timing.ROOT / "bundle" / "configs"
STRATEGIES = ("dataset", "persistent", "cache", "smart_cache", "store")
PUBLISHED = "published"
COLUMNS = {
    "first_epoch_s": "first epoch, CPU s",
    "later_epoch_s": "later epochs, CPU s",
    "sample_ms": "CPU ms a sample",
    "read_mb": "read a sample, MB",
    "disk_mb": "disk a case, MB",
    "memory_mb": "memory, MB",
}


def loaders(strategy: str, folder: Path, scratch: str) -> Any:
    """The training data loader that a strategy's configs define."""
    items = full_size.cases_of(folder)
    if strategy == PUBLISHED:
        return DataLoader(Dataset(items, published.recipe()), batch_size=1, shuffle=True)
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / "train.json"), str(CONFIGS / "data" / f"{strategy}.json")])
    parser.update({"train::cases": items, "spacing": list(published.SPACING_MM), "crops_per_case": 1})
    parser.update({"patch_size": list(published.PATCH_SIZE)})
    place = {"persistent": "cache_dir", "store": "store_dir"}.get(strategy)
    if place:
        parser.update({place: scratch})
    return parser.get_parsed_content("train::dataloader")


def bytes_read() -> int:
    """Bytes that this process asked the system for by read calls."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def mapped_bytes(loader: PatchLoader) -> float:
    """Bytes of a mean patch in the store's files: they are mapped, so no read call tells."""
    drawn = []
    for index in range(len(loader.dataset)):
        case = loader.dataset.stored(index)
        inside = [min(n, p) for n, p in zip(case.label.shape, loader.recipe.patch_size, strict=True)]
        drawn.append(inside[0] * inside[1] * inside[2] * (2 * case.image.shape[3] + 1))
    return statistics.mean(drawn)


def measure(strategy: str, folder: Path, epochs: int) -> dict[str, float]:
    """One row of the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        before = timing.resident_mb()
        spent, read = [], []
        started = time.process_time()
        loader = loaders(strategy, folder, scratch)
        smart = loader.dataset if isinstance(loader.dataset, SmartCacheDataset) else None
        if smart:
            smart.start()
        for _ in range(epochs):
            asked, samples = bytes_read(), 0
            for batch in loader:
                samples += len(batch["image"])
            if smart:
                smart.update_cache()
            spent.append(time.process_time() - started)
            read.append((bytes_read() - asked) / samples)
            started = time.process_time()
        if smart:
            smart.shutdown()
        grown = timing.resident_mb() - before
        disk = sum(file.stat().st_size for file in Path(scratch).rglob("*") if file.is_file())
        later = statistics.median(spent[1:])
        return {
            "first_epoch_s": spent[0],
            "later_epoch_s": later,
            "sample_ms": 1000 * later / samples,
            "read_mb": (mapped_bytes(loader) if strategy == "store" else statistics.median(read[1:])) / 1e6,
            "disk_mb": disk / len(full_size.cases_of(folder)) / 1e6,
            "memory_mb": grown,
        }


def main() -> None:
    """Run every strategy in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, help="a Decathlon set; default: phantom cases of BraTS's size")
    parser.add_argument("--cases", type=int, default=3, help="phantom cases (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="the first among them (default %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--strategy", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.dataset_dir or full_size.dataset_dir(options.cases)
    if options.strategy:
        sys.stdout.write(json.dumps(measure(options.strategy, folder, options.epochs)) + "\n")
        return
    rows = {}
    for strategy in (*STRATEGIES[:-1], PUBLISHED, STRATEGIES[-1]):
        command = [sys.executable, __file__, "--strategy", strategy, "--dataset_dir", str(folder)]
        command += ["--epochs", str(options.epochs)]
        rows[strategy] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    sys.stdout.write(f"{len(full_size.cases_of(folder))} cases, {timing.machine()}\n")
    sys.stdout.write("".join(f"{title:>22}" for title in ("", *COLUMNS.values())) + "\n")
    for strategy, row in rows.items():
        sys.stdout.write(f"{strategy:>22}" + "".join(f"{row[column]:>22.2f}" for column in COLUMNS) + "\n")
    ratios = {
        f"{strategy}/store CPU a sample": rows[strategy]["sample_ms"] / rows["store"]["sample_ms"]
        for strategy in rows
        if strategy != "store"
    }
    if min(ratios.values()) < 1 or rows["store"]["disk_mb"] > rows["persistent"]["disk_mb"]:
        raise SystemExit("the store is not the cheapest: the claim does not hold here")
    timing.finish(ratios, {}, {}, options.json, rows=rows)


if __name__ == "__main__":
    main()
