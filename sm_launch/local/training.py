"""A CreateTrainingJob request, run on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sm_launch.local.results import Event, JobResult
from sm_launch.local.store import Store

KILL_AFTER = 120.0


def run_training(
    request: Mapping[str, Any],
    store: Store,
    work_dir: Path,
    *,
    image_command: Sequence[str] | None = None,
    on_event: Callable[[Event], None] | None = None,
    interrupt: threading.Event | None = None,
    stop: threading.Event | None = None,
    kill_after: float = KILL_AFTER,
    namespaces: bool | None = None,
) -> JobResult:
    """Run a training job as SageMaker would, and wait for its end.

    Args:
        request: the parameters of CreateTrainingJob; boto3 would take the same.
        store: where the request's s3:// URIs lead.
        work_dir: a folder for this job; its trees, logs and archives stay there for the user to look at.
        image_command: what the image starts where the request has no ContainerEntrypoint; None is the genuine ``train``
            of the sagemaker-training toolkit in this Python.
        on_event: called with status changes and log lines, from threads of this call, one at a time.
        interrupt: once set, a job of EnableManagedSpotTraining is interrupted: SIGTERM to all, and a new attempt with
            the kept checkpoints. It is cleared when that is done, and looked at for spot jobs alone.
        stop: once set, the job is stopped as by StopTrainingJob.
        kill_after: seconds between SIGTERM and SIGKILL; AWS gives 120 (API reference, StopTrainingJob).
        namespaces: False runs in folders even where namespaces are to be had; None takes them where they are.

    Raises:
        LaunchError: the request cannot be run here: a channel that is not in S3, an absent prefix.
    """
