"""Lab 06: the SageMaker SDK's ModelTrainer made from a spec, looked at before it trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sm_launch.reading import read
from sm_launch.sdk import to_model_trainer
from sm_launch.sdk_parts import PIP

from .tables import Table, table

if TYPE_CHECKING:
    from sagemaker.train import ModelTrainer

HOW_TO_GET = f"The SageMaker SDK is not installed here. In an environment of its own (1 GB): {PIP} ./sm_launch"
# The SDK asks IAM about the role when a trainer is made, which takes credentials; this leaves the question out.
VALIDATE_ROLE = "SAGEMAKER_VALIDATE_ROLE"


def sdk_is_there() -> bool:
    """Whether the SageMaker Python SDK, version 3, can be imported."""
    return find_spec("sagemaker") is not None and find_spec("sagemaker.train") is not None


def trainer_of(spec: Path, run: str, changes: Sequence[str], folder: Path, in_account: bool) -> ModelTrainer:
    """The SDK's trainer of a spec's training; nothing is uploaded or asked of AWS before its ``train``.

    Args:
        spec: YAML file.
        run: the run's id.
        changes: as after ``--set``; the SDK copies no data set, so ``data.source`` must be in S3.
        folder: absent or empty; takes the files that ``train`` would upload.
        in_account: whether there is an account whose IAM may be asked about the role.

    Raises:
        LaunchError: the SDK is not installed or cannot express the spec, or the plan is refused.
    """
    if not in_account:
        os.environ[VALIDATE_ROLE] = "false"
    return to_model_trainer(read(spec, changes), run, folder=folder)


def trainer_table(trainer: ModelTrainer) -> Table:
    """What a trainer would start: image, command, machines, limits and channels."""
    compute, code = trainer.compute, trainer.source_code
    channels = ", ".join(channel.channel_name for channel in trainer.input_data_config)
    rows = [
        ["training_image", trainer.training_image.split("/")[-1]],
        ["source_code", f"{len(list(Path(code.source_dir).rglob('*')))} files and folders, '{code.command}'"],
        ["compute", f"{compute.instance_count} x {compute.instance_type}, spot {compute.enable_managed_spot_training}"],
        ["stopping_condition", f"{trainer.stopping_condition.max_runtime_in_seconds} s"],
        ["input_data_config", channels],
    ]
    return table(rows, ("ModelTrainer", "value"))
