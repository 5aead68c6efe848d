"""A CreateProcessingJob request, run on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sm_launch.local.results import Event, JobResult
from sm_launch.local.store import Store
from sm_launch.local.training import KILL_AFTER


def run_processing(
    request: Mapping[str, Any],
    store: Store,
    work_dir: Path,
    *,
    image_command: Sequence[str] | None = None,
    on_event: Callable[[Event], None] | None = None,
    stop: threading.Event | None = None,
    kill_after: float = KILL_AFTER,
    namespaces: bool | None = None,
) -> JobResult:
    """Run a processing job as SageMaker would, and wait for its end.

    Args:
        request: the parameters of CreateProcessingJob.
        store: where the request's s3:// URIs lead.
        work_dir: a folder for this job.
        image_command: what the image starts where AppSpecification has no ContainerEntrypoint.
        on_event: as for :func:`sm_launch.local.run_training`.
        stop: once set, the job is stopped as by StopProcessingJob.
        kill_after: seconds between SIGTERM and SIGKILL.
        namespaces: as for :func:`sm_launch.local.run_training`.

    Raises:
        LaunchError: the request cannot be run here.
    """
