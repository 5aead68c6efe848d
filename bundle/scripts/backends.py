"""Which library carries tensors between the processes: SMDDP on the machines it supports, nccl on GPUs, else gloo.

SMDDP is AWS's data parallel library, a PyTorch backend that its import registers. It lives in AWS's PyTorch images up
to PyTorch 2.4 and averages gradients on few types of machine; it needs an mpirun launch, allows one group alone, and no
``barrier(device_ids=...)``. Its use here follows AWS's pages and is **untested on AWS**: docs/distributed.md.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping

import torch
import torch.distributed as dist

from scripts.errors import InputError
from scripts.launchers import MPIRUN, Launch

AUTO, SMDDP, NCCL, GLOO = "auto", "smddp", "nccl", "gloo"
BACKENDS = (AUTO, SMDDP, NCCL, GLOO)
SMDDP_MODULE = "smdistributed.dataparallel.torch.torch_smddp"
# docs.aws.amazon.com/sagemaker, "Supported frameworks, AWS Regions, and instances types" of SMDDP, November 2026.
SMDDP_INSTANCES = ("ml.p4d.24xlarge", "ml.p4de.24xlarge")


def choose(backend: str, launch: Launch, env: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """The backend to use, and why, as half a sentence.

    Args:
        backend: ``auto``, or one that must be used.
        launch: how this process was started.
        env: variables by name.

    Raises:
        InputError: the backend is unknown, or was asked for and cannot be used here.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend '{backend}' is unknown; choose one of none, {', '.join(BACKENDS)}.")
    if backend == AUTO:
        return _automatic(launch, env)
    if backend == NCCL and not torch.cuda.is_available():
        raise InputError("backend nccl needs a GPU, but PyTorch finds none; choose gloo or auto.")
    if not (backend == SMDDP or dist.is_backend_available(backend)):
        raise InputError(f"backend {backend} is not part of this PyTorch {torch.__version__}; choose auto.")
    if backend == SMDDP and launch.launcher != MPIRUN:
        raise InputError(f"backend smddp needs mpirun, but {launch.launcher} started this; use mpirun, or choose nccl.")
    if backend == SMDDP and (reason := _import_smddp()):
        raise InputError(f"backend smddp cannot be used: {reason}; choose nccl or auto.")
    return backend, "asked for"


def _automatic(launch: Launch, env: Mapping[str, str]) -> tuple[str, str]:
    instance = instance_type(env)
    fallback, reason = GLOO, "there is no GPU"
    if torch.cuda.is_available():
        fallback, reason = (NCCL, "there are GPUs") if dist.is_nccl_available() else (GLOO, "this PyTorch has no nccl")
    if not instance:
        return fallback, reason
    if instance not in SMDDP_INSTANCES:
        why_not = f"is for {' and '.join(SMDDP_INSTANCES)}, this is {instance}"
    elif launch.launcher != MPIRUN:
        why_not = f"needs mpirun, this is {launch.launcher}"
    elif not (why_not := _import_smddp()):
        return SMDDP, f"instance type {instance}, started by mpirun"
    return fallback, f"{reason}; not smddp: {why_not}"


def instance_type(env: Mapping[str, str]) -> str:
    """SageMaker's name of this machine's type, empty elsewhere."""
    if env.get("SM_CURRENT_INSTANCE_TYPE"):
        return env["SM_CURRENT_INSTANCE_TYPE"]
    try:
        return str(json.loads(env.get("SM_TRAINING_ENV", "{}")).get("current_instance_type", ""))
    except (ValueError, AttributeError):
        return ""


def _import_smddp() -> str:
    """Register SMDDP's backend; return why that failed, or an empty text."""
    try:
        importlib.import_module(SMDDP_MODULE)
    # From 2.3 on the import itself refuses machines that it does not support, by an exception of its own.
    except Exception as error:
        return f"{SMDDP_MODULE} does not import ({type(error).__name__}: {error})"
    return ""
