"""A CreateHyperParameterTuningJob request, run on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sm_launch.local.results import Event, TuningResult
from sm_launch.local.store import Store
from sm_launch.local.training import KILL_AFTER


def run_tuning(
    request: Mapping[str, Any],
    store: Store,
    work_dir: Path,
    *,
    image_command: Sequence[str] | None = None,
    on_event: Callable[[Event], None] | None = None,
    stop: threading.Event | None = None,
    kill_after: float = KILL_AFTER,
    namespaces: bool | None = None,
) -> TuningResult:
    """Run a tuning job: its trials are drawn from the request's ranges and run as training jobs.

    Args:
        request: the parameters of CreateHyperParameterTuningJob.
        store: where the request's s3:// URIs lead.
        work_dir: a folder for this job; each trial takes one beneath it.
        image_command: as for :func:`sm_launch.local.run_training`; the API has no ContainerEntrypoint for trials.
        on_event: called with the trials' events too, one at a time; ``kind`` trial tells that one ended.
        stop: once set, the running trials are stopped and no new ones begin.
        kill_after: seconds between SIGTERM and SIGKILL.
        namespaces: as for :func:`sm_launch.local.run_training`.

    Raises:
        LaunchError: the request cannot be run here.
    """
