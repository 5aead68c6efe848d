"""The folder of one run, and the checks of its config before there is one."""

from __future__ import annotations

import inspect
import logging
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigComponent, ConfigParser, ConfigWorkflow
from monai.utils import set_determinism

from scripts import distributed
from scripts.credentials import refuse_credentials
from scripts.errors import InputError, install_excepthook
from scripts.files import unwritable, write_aside, write_json
from scripts.knob_ranges import KNOBS, refuse_bad_knobs
from scripts.overrides import refuse_two_workflows, refuse_unknown_items, shipped_items

logger = logging.getLogger(__name__)

PACKAGES = ("monai", "torch", "numpy", "nibabel", "pytorch-ignite", "scipy", "nilearn", "matplotlib", "tensorboard")
LOG_HANDLER = "run folder"
METRICS_FILE = "metrics.jsonl"


def run_dir(output_dir: str, run_name: str | int | None) -> str:
    """Folder of this run, absolute: ``output_dir/run_name``; without a name the start time gives one.

    Raises:
        InputError: the name is no folder's.
    """
    # On a command line a name of digits arrives as a number.
    name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S") if run_name is None else str(run_name)
    if name in ("", "..") or name != Path(name).name:
        raise InputError(
            f"run_name '{name}' is not the name of a folder; name other folders above the run's by output_dir."
        )
    return str(Path(output_dir).resolve() / name)


def recorded_dir(recorded: Path, output_dir: str) -> str:
    """A run's folder by the path that was noted in it; one of another machine means nothing here but its name."""
    return str(recorded if recorded.is_dir() else Path(output_dir).resolve() / recorded.name)


def check(bundle_root: str) -> None:
    """First step of every workflow: show bad input as one sentence, refuse unknown overrides and unusable knobs.

    Raises:
        InputError: an override names nothing or holds a credential, a knob is out of its range, the config is two
            workflows at once, or several processes would do the same work.
    """
    install_excepthook()
    distributed.refuse_rivals()
    config, shipped = merged_config(), shipped_items(Path(bundle_root) / "configs")
    refuse_credentials(config)
    refuse_two_workflows(config, shipped)
    refuse_unknown_items(config, shipped)
    refuse_bad_knobs(knob_values())


def begin(run_dir: str, datalist: Mapping[str, Any], seed: int, deterministic: bool, continues: bool = False) -> None:
    """Start of a training or evaluation whose data are sound: seed, and open the run folder (on rank 0).

    The folder gets the merged config, the exact command, the versions, the datalist and a log file. Each process draws
    its own random augmentation, so the seed is offset by the rank.

    Args:
        run_dir: the folder, made if absent.
        datalist: the split; that every process has it before any goes on is why it is asked for here.
        seed: of all random generators.
        deterministic: also ask PyTorch and cuDNN for reproducible kernels, at some cost in speed.
        continues: the folder may hold the earlier epochs of this very training.

    Raises:
        InputError: the folder holds a training already, or cannot be written.
    """
    set_determinism(seed=seed + distributed.rank())
    # set_determinism also pins the cuDNN kernels, which only a run that asked for it should pay for.
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    folder = Path(run_dir)
    if (folder / METRICS_FILE).exists() and not continues:
        raise InputError(
            f"{folder}: already holds a training; choose another run_name, continue it with resume auto, or remove "
            "that folder."
        )
    if distributed.rank() > 0:
        logging.getLogger().setLevel(logging.WARNING)
        return
    write_json(folder / "config.json", merged_config())
    write_json(folder / "datalist.json", datalist)
    write_json(folder / "versions.json", versions())
    commands = folder / "command.txt"
    before = commands.read_text(encoding="utf-8") if continues and commands.is_file() else ""
    with write_aside(commands) as aside:
        aside.write_text(before + command() + "\n", encoding="utf-8")
    open_log(folder / "log.txt")
    logger.info("run folder: %s", folder)
    counts = ", ".join(f"{len(datalist[part])} {part}" for part in ("training", "validation", "test"))
    logger.info("%s: %s cases, label scheme %s", datalist["dataset_dir"], counts, datalist["label_scheme"])


def merged_config() -> dict[str, Any]:
    """The config of the running workflow as MONAI merged it: files, overrides, macros."""
    return {key: value for key, value in _running_parser().get().items() if key != "_meta_"}


def knob_values() -> dict[str, Any]:
    """The plain knobs of the running workflow, as :func:`plain_knobs`."""
    return plain_knobs(_running_parser())


def plain_knobs(parser: ConfigParser) -> dict[str, Any]:
    """The plain knobs of a config by name, each with what its expression or reference gives.

    A knob that a component makes, such as a section of a trained model's recipe, is not plain.
    """
    config = parser.get()
    plain = [name for name in KNOBS if name in config and not ConfigComponent.is_instantiable(config[name])]
    return {name: parser.get_parsed_content(name) for name in plain}


def _running_parser() -> ConfigParser:
    """The parser of the workflow that is evaluating the expression that called.

    MONAI hands an expression no reference to it, and the command line alone does not tell what a Python caller
    overrode; but the workflow is on the call stack.
    """
    # inspect.stack() would read the source of every frame besides.
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConfigWorkflow):
            return owner.parser
        frame = frame.f_back
    raise RuntimeError("the config was asked for outside of a MONAI bundle workflow.")


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that a result depends on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def command() -> str:
    """The command line that started this process, as it can be typed again."""
    if launch := distributed.launch():
        return shlex.join([*launch.command(), "-m", "monai.bundle", *sys.argv[1:]])
    if sys.argv and sys.argv[0].endswith(("monai/bundle/__main__.py", "monai\\bundle\\__main__.py")):
        return shlex.join(["python", "-m", "monai.bundle", *sys.argv[1:]])
    return shlex.join(["python", *sys.argv])


def open_log(path: Path) -> None:
    """Send everything logged from now on to ``path`` as well, until :func:`close_log`."""
    close_log()
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from error
    handler.name = LOG_HANDLER
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    # A caller from Python may have no logging set up, which means warnings only; the run's own log is complete.
    logging.getLogger("scripts").setLevel(logging.INFO)


def close_log() -> None:
    """Close the run's log file, so that the next run of this Python process does not write into it."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if handler.name == LOG_HANDLER]:
        root.removeHandler(handler)
        handler.close()
