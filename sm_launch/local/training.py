"""A CreateTrainingJob request, run on this machine."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sm_launch.events import Event
from sm_launch.local.archives import merge, pack
from sm_launch.local.container import (
    TOOLKIT_VARIABLES,
    arn,
    failure_reason,
    free_port,
    region_of,
    toolkit_command,
)
from sm_launch.local.group import Outcome, is_set, run_group
from sm_launch.local.isolation import Isolation
from sm_launch.local.journal import Journal, now
from sm_launch.local.metrics import LastMetrics
from sm_launch.local.nodes import NodePlan
from sm_launch.local.results import COMPLETED, FAILED, STOPPED, JobResult
from sm_launch.local.store import Store
from sm_launch.local.training_tree import TrainingTree
from sm_launch.s3_uri import join

# AWS's time between SIGTERM and SIGKILL in seconds (API reference, StopTrainingJob).
KILL_AFTER = 120.0
# Of StoppingCondition (API reference): a day.
DEFAULT_MAX_RUNTIME = 86400
INTERRUPTED, STOP, TIMEOUT = "interrupted", "stop", "timeout"


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
        kill_after: seconds between SIGTERM and SIGKILL.
        namespaces: False runs in folders even where namespaces are to be had; None takes them where they are.

    Raises:
        LaunchError: the request cannot be run here: a channel that is not in S3, an absent prefix.
    """
    algorithm = request["AlgorithmSpecification"]
    finder = LastMetrics(algorithm.get("MetricDefinitions", ()))
    network = not request.get("EnableNetworkIsolation", False)
    with (
        Isolation(namespaces, network) as isolation,
        Journal(request["TrainingJobName"], work_dir / "logs", finder, on_event) as journal,
    ):
        entrypoint = algorithm.get("ContainerEntrypoint") or image_command or toolkit_command()
        command = [*entrypoint, *algorithm.get("ContainerArguments", ())]
        job = _Training(request, command, store, work_dir, isolation, journal)
        return job.run(interrupt, stop, kill_after)


class _Training:
    """One job's steps.

    Args:
        request: of CreateTrainingJob.
        command: what its containers start.
        store: where its URIs lead.
        work_dir: the job's folder.
        isolation: entered.
        journal: entered.
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        command: Sequence[str],
        store: Store,
        work_dir: Path,
        isolation: Isolation,
        journal: Journal,
    ) -> None:
        self.request = request
        self.command = command
        self.store = store
        self.work_dir = work_dir
        self.isolation = isolation
        self.journal = journal
        self.name = request["TrainingJobName"]
        region = region_of(request["AlgorithmSpecification"].get("TrainingImage", ""))
        self.arn = arn(region, "training-job", self.name)
        self.tree = TrainingTree(request, store, work_dir, isolation)
        self.variables = {
            "AWS_REGION": region,
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.arn,
            # Jobs that run at a time would meet at the fixed port of torchrun's launchers.
            "SM_LAUNCH_MASTER_PORT": str(free_port()),
            **TOOLKIT_VARIABLES,
            **request.get("Environment", {}),
        }

    def run(self, interrupt: threading.Event | None, stop: threading.Event | None, kill_after: float) -> JobResult:
        """All attempts, then the upload."""
        created = now()
        started = None
        billable = 0.0
        spot = self.request.get("EnableManagedSpotTraining", False)
        longest = self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME)
        self.journal.status("Starting", "Preparing the instances for training")
        while True:
            self.journal.status("Downloading", "Downloading input data")
            folders = self.tree.make()
            started = started or now()
            self.journal.status("Training", "Training image download completed. Training in progress.")
            begun, left = time.monotonic(), longest - billable
            conditions = {STOP: is_set(stop), TIMEOUT: lambda begun=begun, left=left: time.monotonic() - begun > left}
            if spot:
                conditions[INTERRUPTED] = is_set(interrupt)
            outcome = run_group(
                self._plans(folders), self.isolation, self.journal, conditions, kill_after, self._tell_cause
            )
            billable += outcome.seconds
            trained = now()
            self.tree.upload_checkpoints()
            if outcome.cause != INTERRUPTED:
                break
            assert interrupt is not None
            interrupt.clear()
            self.journal.status("Starting", "Preparing the instances for training")
        status, secondary, reason = self._end(outcome)
        model_uri, output_uri = self._upload(status)
        self.journal.status(secondary, reason or f"Training job {secondary.lower()}")
        return JobResult(
            name=self.name,
            arn=self.arn,
            status=status,
            secondary_status=secondary,
            failure_reason=reason,
            exit_message=None,
            transitions=self.journal.transitions,
            created=created,
            started=started,
            ended=now(),
            training_seconds=math.ceil((trained - started).total_seconds()),
            billable_seconds=math.ceil(billable),
            metrics=self.journal.metrics.last(),
            model_artifact_uri=model_uri,
            output_uri=output_uri,
            log_files=self.journal.log_files,
            environment={"isolation": self.isolation.kind},
        )

    def _plans(self, folders: Sequence[Path]) -> list[NodePlan]:
        return [NodePlan(folder.name, folder, self.command, self.variables, self.tree.addresses) for folder in folders]

    def _tell_cause(self, cause: str) -> None:
        if cause == INTERRUPTED:
            self.journal.status("Interrupted", "The spot capacity was taken back; training goes on from checkpoints")
        else:
            self.journal.status("Stopping", "Stopping the training job")

    def _end(self, outcome: Outcome) -> tuple[str, str, str | None]:
        """Status, secondary status and failure reason."""
        if outcome.cause == STOP:
            return STOPPED, "Stopped", None
        if outcome.cause == TIMEOUT:
            return STOPPED, "MaxRuntimeExceeded", None
        if outcome.first_failed:
            told = self.tree.failure(outcome.first_failed)
            return FAILED, "Failed", failure_reason(outcome.codes[outcome.first_failed], told)
        return COMPLETED, "Completed", None

    def _upload(self, status: str) -> tuple[str | None, str | None]:
        """URIs of the model and of the other output; a failed job has no model."""
        self.journal.status("Uploading", "Uploading generated training model")
        config = self.request["OutputDataConfig"]
        target = join(config["S3OutputPath"], self.name, "output")
        uris: dict[str, str] = {}
        for kind, folder in (("model", "model"), ("output", "output/data")):
            gathered = self.work_dir / "gathered" / kind
            if (kind == "model" and status == FAILED) or not merge(self.tree.folders(folder), gathered):
                continue
            if config.get("CompressionType", "GZIP") == "NONE":
                uris[kind] = join(target, kind) + "/"
                self.store.upload(gathered, uris[kind])
            else:
                uris[kind] = join(target, f"{kind}.tar.gz")
                self.store.upload(pack(gathered, self.work_dir / f"{kind}.tar.gz"), uris[kind])
        shutil.rmtree(self.work_dir / "gathered", ignore_errors=True)
        self.tree.upload_tensorboard()
        return uris.get("model"), uris.get("output")
