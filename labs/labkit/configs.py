"""Lab 02: reading a bundle's configs, what its override does, and the exercises about both."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from scripts.errors import find_input_error
from scripts.records import read_metrics

from .checks import answered, require, right
from .model import Training
from .project import BUNDLE, work
from .recipe import recipe

FIRST_CHANNELS = 8
SPACING_MM = 3.0
PATCH = 32


def knob_rows(parser: ConfigParser, names: Sequence[str]) -> list[list[str]]:
    """Name, value and description of knobs."""
    about = parser["_desc_"]
    return [[name, str(parser[name]), about[name]] for name in names]


def refusal(configs: Sequence[str], overrides: Mapping[str, Any]) -> str:
    """The sentence with which the bundle refuses a workflow before it starts, as a command would print it.

    Args:
        configs: files in ``bundle/``.
        overrides: knobs of the command line.

    Raises:
        AssertionError: it is not refused.
    """
    scratch = work("refused")
    # MONAI warns that it leaves the notebook's logging alone, which is what is wanted.
    logging.getLogger(ConfigWorkflow.__module__).setLevel(logging.ERROR)
    workflow = ConfigWorkflow(
        config_file=[str(BUNDLE / config) for config in configs],
        logging_file=False,
        workflow_type="train",
        bundle_root=str(BUNDLE),
        output_dir=str(scratch / "runs"),
        ckpt_dir=str(scratch / "models"),
        **overrides,
    )
    try:
        workflow.initialize()
    # MONAI wraps what a config's expression raises; the sentence is inside.
    except Exception as error:
        if (cause := find_input_error(error)) is None:
            raise
        return str(cause)
    raise AssertionError(f"{dict(overrides)}: was not refused")


def check_overrides(overrides: Any) -> None:
    """Exercise: voxels of 3 mm, crops of 32 voxels, and a first layer of 8 channels in a network of four levels."""
    answered(overrides, "the override")
    require(isinstance(overrides, Mapping), "an override is a dict: the entry's id to its new value.")
    unknown = [name for name in overrides if name.split("::")[0] not in recipe().get()]
    require(not unknown, f"{unknown} names nothing in train.json; the bundle would refuse it. Look at the table again.")
    parser = recipe(overrides)
    require(_equals(parser["spacing"], [SPACING_MM] * 3), "the voxel size has one number an axis, in mm.")
    require(_equals(parser["patch_size"], [PATCH] * 3), "crops are 32 voxels along each of three axes.")
    channels, strides = parser["network_def::channels"], parser["network_def::strides"]
    require(
        _equals(channels, [FIRST_CHANNELS * 2**level for level in range(4)]),
        "network_def is an object; '::' reaches into it. Four levels, the first of 8 channels, each twice the last.",
    )
    require(
        isinstance(strides, Sequence) and len(strides) == len(channels) - 1,
        "between four levels there are three steps down: mind the strides.",
    )
    network = parser.get_parsed_content("network_def")
    logits = network(torch.zeros(1, len(parser["modalities"]), PATCH, PATCH, PATCH))
    weights = sum(weight.numel() for weight in network.parameters())
    right(
        f"MONAI builds a UNet of {weights:,} weights from it: {len(parser['modalities'])} scans in, "
        f"{logits.shape[1]} regions out."
    )


def _equals(value: Any, wanted: list[Any]) -> bool:
    """A tuple is as good as a list; a lone number, or an expression that was not written as a list, is neither."""
    return isinstance(value, Sequence) and list(value) == wanted


def check_best_epoch(best: Any, training: Training) -> None:
    """Exercise: the epoch whose weights were kept, from metrics.jsonl."""
    answered(best, "the best epoch")
    require(isinstance(best, Integral), "write the number of the epoch, not its record.")
    dice = {
        record["epoch"]: record["val_mean_dice"]
        for record in read_metrics(training.run_dir / "metrics.jsonl")
        if "val_mean_dice" in record
    }
    require(best in dice, f"epoch {best} was not validated; only epochs with a val_mean_dice can be chosen by it.")
    require(dice[best] == max(dice.values()), f"another epoch scored more than epoch {best}'s {dice[best]:.3f}.")
    right(f"model.pt holds the weights of epoch {best}; model_last.pt holds those of epoch {max(dice)}.")
