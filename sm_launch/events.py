"""What a followed job tells: changes of status, log lines, metrics, trials, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

STATUS, LOG, METRIC, TRIAL, NOTE, END = "status", "log", "metric", "trial", "note", "end"


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        status: Completed, Failed, Stopped; of an endpoint InService or Failed; Deleted for what vanished.
        failure: why, in one sentence; None unless it failed.
        billable_seconds: that one instance is billed for; None where AWS tells none.
        run_seconds: that the job ran; None where no container began.
        saving: the part of ``run_seconds`` that spot instances saved, 0 to 1; None on demand.
        metrics: last values, by name.
        best: of a tuning job, the name of its best trial.
    """

    status: str
    failure: str | None = None
    billable_seconds: int | None = None
    run_seconds: int | None = None
    saving: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the job did what it was made for."""
        return self.status in ("Completed", "InService")


@dataclass(frozen=True)
class Event:
    """Something that happened in a job.

    Attributes:
        time: when, in UTC.
        job: the job's name; of a tuning job's trial, the trial's.
        kind: ``status`` (a new status), ``log`` (a line), ``metric`` (a value that a metric definition found in a
            line), ``trial`` (a trial ended), ``note`` (a sentence on the following itself), ``end`` (the last event).
        status: the new status, of a ``trial`` its last; SageMaker's secondary status where the job has one.
        node: algo-1 ..., or an instance id; of a ``log`` and a ``metric``.
        message: the status' message, the line, or the sentence.
        metric: the metric's name; of a ``trial``, the objective's.
        value: the metric's value; None for a trial without one.
        outcome: of an ``end`` only.
    """

    time: datetime
    job: str
    kind: str
    status: str = ""
    node: str = ""
    message: str = ""
    metric: str = ""
    value: float | None = None
    outcome: Outcome | None = None
