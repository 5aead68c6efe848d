"""What all jobs have in common: a name that stays taken, a status with its transitions, a thread, an end."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from emulator.errors import IN_USE, AwsError, invalid, job_exists
from emulator.world import World, now

IN_PROGRESS, STOPPING, STOPPED, FAILED, COMPLETED = "InProgress", "Stopping", "Stopped", "Failed", "Completed"
ENDED = (STOPPED, FAILED, COMPLETED)
TRAINING, PROCESSING, TRANSFORM, TUNING = (
    "training-job",
    "processing-job",
    "transform-job",
    "hyper-parameter-tuning-job",
)


@dataclass
class Job:
    """A job of any kind.

    Attributes:
        request: its Create request.
        instances: types and counts that it holds while it runs.
        extra: what its Describe answers beyond the request and the status.
        inner: what the emulator knows of it and Describe does not tell.
        stop: set by its Stop operation.
        interrupt: set when its spot instances go.
    """

    kind: str
    name: str
    arn: str
    request: Mapping[str, Any]
    created: datetime = field(default_factory=now)
    status: str = IN_PROGRESS
    secondary: str = ""
    transitions: list[dict[str, Any]] = field(default_factory=list)
    started: datetime | None = None
    ended: datetime | None = None
    modified: datetime = field(default_factory=now)
    failure: str | None = None
    instances: list[tuple[str, int]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    inner: dict[str, Any] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    interrupt: threading.Event = field(default_factory=threading.Event)

    def move(self, secondary: str, message: str, time: datetime | None = None) -> None:
        """Take a further secondary status."""
        time = time or now()
        if self.transitions:
            self.transitions[-1].setdefault("EndTime", time)
        self.transitions.append({"Status": secondary, "StartTime": time, "StatusMessage": message})
        self.secondary, self.modified = secondary, time

    def finish(self, status: str, failure: str | None = None, secondary: str = "", message: str = "") -> None:
        """End; everything that Describe should say must be in place before."""
        if self.transitions:
            self.move(secondary or status, message or failure or status)
            self.transitions[-1]["EndTime"] = self.transitions[-1]["StartTime"]
        self.ended = self.modified = now()
        self.failure = failure[:1024] if failure else None
        self.status = status

    def begun(self, status: str, name: str) -> dict[str, Any]:
        """The members that every summary has, by the names of this kind of job."""
        return {f"{name}Name": self.name, f"{name}Arn": self.arn, "CreationTime": self.created, status: self.status}


def add_job(world: World, kind: str, name: str, request: Mapping[str, Any]) -> Job:
    """Take a new job into the account.

    Raises:
        AwsError: ResourceInUse, the name is taken.
    """
    with world.lock:
        arn = world.arn(kind, name)
        # Names of jobs differ by more than case: AWS compares them without it.
        if any(name.lower() == taken.lower() for taken in world.tables[kind]):
            raise job_exists(arn)
        job = Job(kind, name, arn, request)
        world.tables[kind][name] = job
        world.tags[arn] = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
        world.stoppers.append(job.stop.set)
        return job


def stop_job(job: Job, what: str) -> None:
    """Answer a Stop operation.

    Raises:
        AwsError: the job has ended.
    """
    if job.status in ENDED:
        raise invalid(f"The request was rejected because the {what} job is in status {job.status}.")
    job.status = STOPPING
    job.stop.set()


def delete_job(world: World, job: Job, what: str) -> None:
    """Answer a Delete operation.

    Raises:
        AwsError: the job runs.
    """
    if job.status not in ENDED:
        raise AwsError(IN_USE, f"The {what} job {job.name} is in status {job.status} and cannot be deleted.")
    with world.lock:
        del world.tables[job.kind][job.name]
        world.tags.pop(job.arn, None)
