"""What a local run tells at its end, in the words of SageMaker's Describe answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

IN_PROGRESS, COMPLETED, FAILED, STOPPED = "InProgress", "Completed", "Failed", "Stopped"


@dataclass(frozen=True)
class Transition:
    """One of SecondaryStatusTransitions; ``end`` is None for the last one."""

    status: str
    start: datetime
    end: datetime | None
    message: str


@dataclass(frozen=True)
class Metric:
    """One of FinalMetricDataList: the last value that a metric's regular expression found in the logs."""

    name: str
    value: float
    time: datetime


@dataclass(frozen=True)
class JobResult:
    """How a training or processing job ended.

    Attributes:
        name: the job's.
        arn: of the form that AWS gives, account 000000000000.
        status: Completed, Failed or Stopped.
        secondary_status: the last of ``transitions``; of a processing job the same as ``status``.
        failure_reason: as FailureReason, at most 1024 characters; None unless Failed.
        exit_message: of a processing job, what it wrote to /opt/ml/output/message; None if nothing.
        transitions: all, in order.
        created: when the request was taken.
        started: when the first attempt's containers started; None if none did.
        ended: when all was uploaded.
        training_seconds: from ``started`` to the end of the last container, whole seconds.
        billable_seconds: the same less what a spot job waited between attempts, whole seconds an instance.
        metrics: the last value of every metric definition that matched.
        model_artifact_uri: s3:// of model.tar.gz; None if there is none.
        output_uri: s3:// of output.tar.gz; None if the job left nothing in /opt/ml/output/data.
        log_files: a file for each node, algo-1 ...
        environment: facts of the run that a user may want to see: ``isolation`` is "namespaces" or "folders".
    """

    name: str
    arn: str
    status: str
    secondary_status: str
    failure_reason: str | None
    exit_message: str | None
    transitions: tuple[Transition, ...]
    created: datetime
    started: datetime | None
    ended: datetime
    training_seconds: int
    billable_seconds: int
    metrics: tuple[Metric, ...] = ()
    model_artifact_uri: str | None = None
    output_uri: str | None = None
    log_files: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One trial of a tuning job.

    Attributes:
        hyperparameters: the drawn ones (TunedHyperParameters), as the strings that the API carries.
        objective: the objective metric's last value; None if the trial printed none.
        result: the training job's.
        request: the CreateTrainingJob request that the trial was run by; the genuine API has no such call for it, so
            it has no ContainerEntrypoint.
    """

    hyperparameters: Mapping[str, str]
    objective: float | None
    result: JobResult
    request: Mapping[str, Any]


@dataclass(frozen=True)
class TuningResult:
    """How a tuning job ended.

    Attributes:
        name: the job's.
        arn: of the form that AWS gives.
        status: Completed, Failed or Stopped.
        failure_reason: one sentence; None unless Failed.
        trials: in the order in which they were drawn.
        best: the trial of the best objective; None if none has one.
        notes: sentences on what was done otherwise than AWS would: Bayesian and Hyperband searches draw at random here.
        created: when the request was taken.
        ended: when the last trial ended.
    """

    name: str
    arn: str
    status: str
    failure_reason: str | None
    trials: tuple[Trial, ...]
    best: Trial | None
    notes: tuple[str, ...]
    created: datetime
    ended: datetime
