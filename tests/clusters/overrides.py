"""The smallest training for two processes on a command line."""

from __future__ import annotations

from pathlib import Path

TINY = {
    # A validation case for each of the two processes.
    "split_ratios": "[0.5,0.25,0.25]",
    "patch_size": "[32,32,32]",
    "val_interval": "1",
    "network_def::channels": "[4,8,16]",
    "network_def::strides": "[2,2]",
    "network_def::num_res_units": "1",
}


def knobs(data: Path, folder: Path, **more: str) -> list[str]:
    """Overrides for a tiny training whose every output lies in ``folder``."""
    values = TINY | {"dataset_dir": str(data), "output_dir": str(folder / "runs")} | more
    return [word for name, value in values.items() for word in (f"--{name}", value)]
