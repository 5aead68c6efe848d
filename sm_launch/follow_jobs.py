"""The status of each kind of job, as changes since it was last looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, ClassVar

from sm_launch.events import STATUS, Event, Outcome

ENDED = ("Completed", "Failed", "Stopped")
FAILURE_LENGTH = 400
CAPACITY = "CapacityError"


@dataclass(frozen=True)
class Source:
    """Where a job's log lines come from: the job, its log group and what its streams begin with."""

    job: str
    group: str
    prefix: str


class Watch:
    """A job that is looked at again and again.

    Args:
        client: ``session.client("sagemaker")``.
        name: the job's.

    Attributes:
        ended: whether it will not change any more.
    """

    operation: ClassVar[str]
    key: ClassVar[str]
    status: ClassVar[str]
    group: ClassVar[str]
    begin: ClassVar[str] = ""
    end: ClassVar[str] = ""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name
        self.ended = False
        self.told = ""
        self.answer: Mapping[str, Any] = {}

    def look(self) -> Iterator[Event]:
        """Ask once, and tell what changed.

        Raises:
            botocore.exceptions.ClientError: SageMaker refuses.
        """
        self.answer = getattr(self.client, self.operation)(**{self.key: self.name})
        yield from self.changes()
        self.ended = self.answer[self.status] in ENDED

    def changes(self) -> Iterator[Event]:
        """A new status, where there are no transitions to go by."""
        status = self.answer[self.status]
        if status != self.told:
            self.told = status
            time = self.answer.get("LastModifiedTime") or self.answer.get(self.end) or self.answer["CreationTime"]
            yield Event(time.astimezone(timezone.utc), self.name, STATUS, status, message=self.reason() or "")

    def reason(self) -> str | None:
        """Why it failed, in one sentence."""
        return one_sentence(self.answer.get("FailureReason"))

    def failed(self) -> bool:
        """Whether it failed."""
        return self.answer[self.status] == "Failed"

    def sources(self) -> list[Source]:
        """Where its logs are."""
        return [Source(self.name, self.group, f"{self.name}/")]

    def metric_definitions(self) -> list[Mapping[str, str]]:
        """Name and Regex of its metrics."""
        return []

    def outcome(self) -> Outcome:
        """How it ended."""
        seconds = _seconds(self.answer.get(self.begin), self.answer.get(self.end))
        return Outcome(self.answer[self.status], self.reason(), billable_seconds=seconds, run_seconds=seconds)


class TrainingWatch(Watch):
    """A training job: SecondaryStatusTransitions, each told once, and again when its message changes."""

    operation, key, status = "describe_training_job", "TrainingJobName", "TrainingJobStatus"
    group = "/aws/sagemaker/TrainingJobs"

    def __init__(self, client: Any, name: str) -> None:
        super().__init__(client, name)
        self.seen: list[tuple[str, str]] = []

    def changes(self) -> Iterator[Event]:
        transitions = self.answer.get("SecondaryStatusTransitions", [])
        for index, each in enumerate(transitions):
            found = (each["Status"], each.get("StatusMessage", ""))
            if index < len(self.seen) and self.seen[index] == found:
                continue
            self.seen[index : index + 1] = [found]
            yield Event(each["StartTime"].astimezone(timezone.utc), self.name, STATUS, found[0], message=found[1])

    def metric_definitions(self) -> list[Mapping[str, str]]:
        return self.answer.get("AlgorithmSpecification", {}).get("MetricDefinitions", [])

    def outcome(self) -> Outcome:
        metrics = {each["MetricName"]: each["Value"] for each in self.answer.get("FinalMetricDataList", [])}
        billable, ran = self.answer.get("BillableTimeInSeconds"), self.answer.get("TrainingTimeInSeconds")
        spot = self.answer.get("EnableManagedSpotTraining") and billable is not None and ran
        # API reference, DescribeTrainingJob: the saving is 1 - billable / training time.
        saving = max(0.0, 1 - billable / ran) if spot else None
        return Outcome(self.answer[self.status], self.reason(), billable, ran, saving, metrics)


class ProcessingWatch(Watch):
    """A processing job."""

    operation, key, status = "describe_processing_job", "ProcessingJobName", "ProcessingJobStatus"
    group, begin, end = "/aws/sagemaker/ProcessingJobs", "ProcessingStartTime", "ProcessingEndTime"

    def reason(self) -> str | None:
        # What the container wrote of itself is nearer to the cause than SageMaker's own words.
        return (
            one_sentence(self.answer.get("ExitMessage") or self.answer.get("FailureReason")) if self.failed() else None
        )


class TransformWatch(Watch):
    """A batch transform job."""

    operation, key, status = "describe_transform_job", "TransformJobName", "TransformJobStatus"
    group, begin, end = "/aws/sagemaker/TransformJobs", "TransformStartTime", "TransformEndTime"


class EndpointWatch(Watch):
    """An endpoint, until it is in service or has failed; one that vanishes was deleted."""

    operation, key, status = "describe_endpoint", "EndpointName", "EndpointStatus"
    group = "/aws/sagemaker/Endpoints"
    FINAL = ("InService", "Failed", "OutOfService", "UpdateRollbackFailed")

    def look(self) -> Iterator[Event]:
        yield from super().look()
        self.ended = self.answer[self.status] in self.FINAL

    def sources(self) -> list[Source]:
        return [Source(self.name, f"{self.group}/{self.name}", "")]

    def outcome(self) -> Outcome:
        return Outcome(self.answer[self.status], self.reason())


def one_sentence(reason: str | None) -> str | None:
    """SageMaker's FailureReason without the traceback that may follow, with a next step where there is one."""
    if not reason:
        return None
    text = re.sub(r"\s+", " ", reason.strip().split("\n", 1)[0]).strip()
    if len(text) > FAILURE_LENGTH:
        text = text[:FAILURE_LENGTH].rsplit(" ", 1)[0] + " ..."
    if text.startswith(CAPACITY):
        text = text.rstrip(".") + "; wait and start it again, or choose another instance type or region."
    return text


def _seconds(begin: datetime | None, end: datetime | None) -> int | None:
    return None if begin is None or end is None else max(0, round((end - begin).total_seconds()))
