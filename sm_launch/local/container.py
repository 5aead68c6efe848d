"""What all jobs share of a container's inside: hosts, platform variables, names."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.local.isolation import Isolation
from sm_launch.local.nodes import ML, rebased

ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"
REGION_IN_IMAGE = re.compile(r"\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com")
TOOLKIT, TOOLKIT_PYTORCH = "sagemaker_training", "sagemaker_pytorch_container"
# What AWS's PyTorch image sets; the toolkit asks for it.
TOOLKIT_VARIABLES = {"SAGEMAKER_TRAINING_MODULE": f"{TOOLKIT_PYTORCH}.training:main"}
LOOPBACK = "lo" if sys.platform == "linux" else "lo0"


def region_of(image: str) -> str:
    """The region of an ECR image; else the user's, else us-east-1."""
    found = REGION_IN_IMAGE.search(image)
    return found.group(1) if found else os.environ.get("AWS_REGION", DEFAULT_REGION)


def arn(region: str, kind: str, name: str) -> str:
    """As AWS would give it."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name}"


def addresses(count: int, isolation: Isolation) -> dict[str, str]:
    """Names and addresses of a job's hosts: algo-1 ..., each at a loopback address of its own.

    Without namespaces there is no /etc/hosts to write; then an address is its own name.

    Raises:
        LaunchError: several hosts on a system whose loopback has one address.
    """
    if isolation.namespaces:
        return {f"algo-{index + 1}": f"127.0.0.{index + 2}" for index in range(count)}
    if count > 1 and sys.platform != "linux":
        raise LaunchError(
            f"the job has {count} instances, but only Linux runs several locally; set the local run's count to 1."
        )
    return {f"127.0.0.{index + 1}": f"127.0.0.{index + 1}" for index in range(count)}


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def toolkit_command() -> list[str]:
    """The genuine ``train`` of AWS's PyTorch images, in this Python.

    Raises:
        LaunchError: the toolkit is not installed.
    """
    if find_spec(TOOLKIT) is None or find_spec(TOOLKIT_PYTORCH) is None:
        raise LaunchError(
            "the job starts its image's own 'train', which is the sagemaker-training toolkit's and not installed here; "
            "install it by: pip install sagemaker-training sagemaker-pytorch-training"
        )
    return ["python3", "-m", f"{TOOLKIT}.cli.train"]


def place_of(path: str, tree: Path, what: str) -> Path:
    """The folder on this machine of a path in the container.

    Raises:
        LaunchError: it does not lie beneath /opt/ml.
    """
    if not path.startswith(ML + "/"):
        raise LaunchError(f"{what}: is '{path}', but a local run has folders beneath {ML} only; choose one there.")
    return tree / path[len(ML) + 1 :]


def write_config(folder: Path, files: Mapping[str, Any]) -> None:
    """Write config files as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")


def hyperparameters_here(values: Mapping[str, str], tree: Path, isolation: Isolation) -> dict[str, str]:
    """Hyperparameters whose paths hold on this machine."""
    if isolation.namespaces:
        return dict(values)
    return {name: rebased(value, tree) for name, value in values.items()}


def failure_reason(code: int, message: str) -> str:
    """FailureReason of a container that failed, in AWS's form."""
    told = message.strip() or "See job logs for more information"
    end = f", exit code: {code}"
    return f"AlgorithmError: {told}"[: 1024 - len(end)] + end
