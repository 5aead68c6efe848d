"""The folder of one run, and the refusal of overrides that nothing would read."""

from __future__ import annotations

import difflib
import inspect
import json
import logging
import platform
import re
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigComponent, ConfigParser, ConfigWorkflow
from monai.bundle.properties import InferProperties, TrainProperties
from monai.utils import set_determinism

from skin_lesions.distributed import rank, start
from skin_lesions.errors import InputError, install_excepthook
from skin_lesions.files import write_json
from skin_lesions.knob_ranges import KNOBS, refuse_bad_knob

logger = logging.getLogger(__name__)

PACKAGES = ("monai", "torch", "numpy", "scipy", "pillow", "matplotlib", "pytorch-ignite", "scikit-learn")
METRICS_FILE = "metrics.jsonl"
# Read by MONAI itself, never by a reference inside the config.
READ_BY_MONAI = {
    "_meta_", "_desc_", "imports", "initialize", "run", "finalize",
    "tracking_uri", "experiment_name", "run_name", "save_execute_config", "is_not_rank0",
}  # fmt: skip


def run_dir(output_dir: str, run_name: str | int | None) -> str:
    """Folder of this run, absolute: ``output_dir/run_name``; without a name the start time gives one."""
    # On a command line a name of digits arrives as a number.
    return str(Path(output_dir).resolve() / str(run_name or datetime.now().strftime("%Y-%m-%d_%H-%M-%S")))


def check(backend: str = "none", epochs: int = 1, val_interval: int = 1) -> None:
    """First step of every workflow: show bad input as one sentence, refuse unusable knobs, join the other processes.

    Args:
        backend: as :func:`skin_lesions.distributed.start` takes it.
        epochs: of a training.
        val_interval: epochs between its validations.

    Raises:
        InputError: an override names nothing, a knob is out of its range, the processes cannot join, or no epoch would
            be validated.
    """
    install_excepthook()
    refuse_unknown_items(merged_config())
    _refuse_bad_knobs()
    if epochs < val_interval:
        raise InputError(
            f"epochs {epochs} is less than val_interval {val_interval}, so no epoch would be validated and no model "
            "kept; give more epochs or a smaller val_interval."
        )
    start(backend)


def begin(run_dir: str, datalist: Mapping[str, Any], seed: int, deterministic: bool) -> None:
    """Seed everything and write config, datalist and versions into the run's folder (on rank 0).

    Each process draws its own random augmentation, so the seed is offset by the rank.

    Args:
        run_dir: the folder, made if absent.
        datalist: the split.
        seed: of all random generators.
        deterministic: also ask cuDNN for reproducible kernels, at some cost in speed.

    Raises:
        InputError: the folder holds a training already, or cannot be written.
    """
    set_determinism(seed=seed + rank())
    # set_determinism also pins the cuDNN kernels, which only a run that asked for it should pay for.
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    if rank() > 0:
        logging.getLogger().setLevel(logging.WARNING)
        return
    folder = Path(run_dir)
    if (folder / METRICS_FILE).exists():
        raise InputError(f"{folder}: already holds a training; choose another run_name or remove that folder.")
    write_json(folder / "config.json", merged_config())
    write_json(folder / "datalist.json", datalist)
    write_json(folder / "versions.json", versions())
    counts = ", ".join(f"{len(datalist[part])} {part}" for part in ("training", "validation", "test"))
    logger.info("run folder: %s", folder)
    logger.info("%s: %s images", datalist["dataset_dir"], counts)


def merged_config() -> dict[str, Any]:
    """The config of the running workflow as MONAI merged it: files, overrides, macros."""
    return {key: value for key, value in _running_parser().get().items() if key != "_meta_"}


def _refuse_bad_knobs() -> None:
    """Refuse the first knob that no run can use; one that the table names later may be made from it."""
    config, parser = merged_config(), _running_parser()
    for name in KNOBS:
        if name in config and not ConfigComponent.is_instantiable(config[name]):
            refuse_bad_knob(name, parser.get_parsed_content(name))


def _running_parser() -> ConfigParser:
    """The parser of the workflow that is evaluating the expression that called.

    MONAI hands an expression no reference to it, and the command line alone does not tell what a Python caller
    overrode; the workflow is on the call stack.
    """
    # inspect.stack() would read the source of every frame besides.
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConfigWorkflow):
            return owner.parser
        frame = frame.f_back
    raise RuntimeError("the config was asked for outside of a MONAI bundle workflow.")


def refuse_unknown_items(config: Mapping[str, Any]) -> None:
    """Refuse top-level items that nothing reads, which is what a misspelt override becomes.

    Args:
        config: the merged config.

    Raises:
        InputError: naming the item and the nearest known name.
    """
    text = json.dumps(config, default=str)
    properties = {entry["id"].split("::")[0] for entry in (*TrainProperties.values(), *InferProperties.values())}
    known = READ_BY_MONAI | properties | set(config.get("_desc_", {}))
    known |= {key for key in config if re.search(rf"@{re.escape(key)}\b", text)}
    if unknown := [key for key in config if key not in known]:
        near = difflib.get_close_matches(unknown[0], known & set(config), n=1)
        hint = f"did you mean '{near[0]}'?" if near else "see _desc_ in the config for the knobs."
        raise InputError(f"override '{unknown[0]}' is read by nothing in this config; {hint}")


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that a result depends on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    return found | {package: metadata.version(package) for package in PACKAGES}
