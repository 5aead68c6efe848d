"""Follow a job or an endpoint: its status, its logs by node, its metrics, until it ends.

``follow`` only asks and tells; ``follow_view`` shows what it tells in a terminal or a notebook.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from sm_launch import aws, resources
from sm_launch.errors import LaunchError
from sm_launch.events import END, LOG, METRIC, NOTE, Event, Outcome
from sm_launch.follow_jobs import EndpointWatch, ProcessingWatch, Source, TrainingWatch, TransformWatch, Watch
from sm_launch.follow_logs import LogTail
from sm_launch.follow_tuning import TuningWatch
from sm_launch.metrics import MetricFinder

WATCHES: Mapping[str, type[Watch]] = {
    resources.TRAINING: TrainingWatch,
    resources.PROCESSING: ProcessingWatch,
    resources.TRANSFORM: TransformWatch,
    resources.TUNING: TuningWatch,
    resources.ENDPOINT: EndpointWatch,
}
# Lines reach CloudWatch a moment after the job has ended: the end is told after so many polls that brought none,
# at most so many seconds apart.
QUIET_POLLS, QUIET_SECONDS = 2, 3.0
# Polls in a row that may fail by throttling or a broken line; botocore has tried each several times by then.
PATIENCE = 5
SERVER_ERRORS = 500
THROTTLED = ("Throttl", "TooManyRequests", "RequestLimitExceeded")
DELETED = "Deleted"


def follow(session: Any, job_kind: str, name: str, poll_seconds: float = 10.0) -> Iterator[Event]:
    """Tell what happens in a job until it has ended, or in an endpoint until it is in service or has failed.

    A job that has ended already is told from its beginning. Leaving the iterator leaves the job alone.

    Args:
        session: boto3 session; its credentials and its region are used for SageMaker and CloudWatch Logs alike.
        job_kind: training-job, processing-job, transform-job, tuning-job or endpoint.
        name: its name.
        poll_seconds: pause between two looks.

    Yields:
        events, by look: status first, then log lines by time, each followed by the metrics in it; ``end`` comes last.

    Raises:
        LaunchError: there is no such job, it may not be looked at, or AWS could not be reached for several polls.
    """
    if job_kind not in WATCHES:
        raise LaunchError(f"'{job_kind}' cannot be followed; choose one of {', '.join(WATCHES)}.")
    watch = WATCHES[job_kind](aws.client(session, "sagemaker"), name)
    logs = _Logs(aws.client(session, "logs"))
    looks = _Looks(watch, job_kind)
    quiet = 0
    while quiet < QUIET_POLLS:
        yield from looks.look()
        lines = 0
        for event in logs.read(watch):
            lines += event.kind == LOG
            yield event
        ended = watch.ended or looks.gone
        quiet = quiet + 1 if ended and not lines else 0
        if quiet < QUIET_POLLS:
            time.sleep(min(poll_seconds, QUIET_SECONDS) if ended else poll_seconds)
    yield Event(_now(), name, END, outcome=Outcome(DELETED) if looks.gone else watch.outcome())


class _Looks:
    """Looks at a job, with patience.

    Attributes:
        gone: whether it vanished while it was followed.
    """

    def __init__(self, watch: Watch, job_kind: str) -> None:
        self.watch = watch
        self.what = job_kind
        self.misses = 0
        self.gone = False

    def look(self) -> Iterator[Event]:
        """Changes since the last look; one failed look is a note, too many are an error."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        if self.watch.ended or self.gone:
            return
        what = f"look at the {self.what} {self.watch.name}"
        try:
            yield from self.watch.look()
            self.misses = 0
        except ClientError as error:
            if resources.is_absent(error):
                self._vanish(error)
            elif not _is_passing(error) or self._too_many():
                raise LaunchError(aws.refusal(what, error)) from error
            else:
                yield _note(self.watch.name, aws.refusal(what, error))
        except NoCredentialsError as error:
            raise LaunchError(f"could not {what}: {error}; run 'aws configure' or 'aws sso login'.") from error
        except BotoCoreError as error:
            if self._too_many():
                raise LaunchError(f"could not {what}: {error}; the job goes on, follow it again later.") from error
            yield _note(self.watch.name, f"could not {what}: {error}; trying again.")

    def _too_many(self) -> bool:
        self.misses += 1
        return self.misses > PATIENCE

    def _vanish(self, error: Exception) -> None:
        if not self.watch.answer:
            region = self.watch.client.meta.region_name
            raise LaunchError(
                f"there is no {self.what} '{self.watch.name}' in {region}; check the name and the region."
            ) from error
        self.gone = True


class _Logs:
    """All log streams of a job and its trials, and the metrics in them."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.tails: dict[Source, LogTail] = {}
        self.finder: MetricFinder | None = None
        self.noted: set[str] = set()

    def read(self, watch: Watch) -> Iterator[Event]:
        """Lines since the last read. Where logs cannot be read that is noted once: the status goes on to be told."""
        from botocore.exceptions import BotoCoreError, ClientError

        if not watch.answer:
            return
        if self.finder is None:
            self.finder = MetricFinder(watch.metric_definitions())
        for source in watch.sources():
            tail = self.tails.setdefault(source, LogTail(self.client, source.group, source.prefix))
            try:
                for line in tail.poll():
                    yield Event(line.time, source.job, LOG, node=line.node, message=line.text)
                    for metric, value in self.finder.find(line.text):
                        yield Event(line.time, source.job, METRIC, node=line.node, metric=metric, value=value)
            except (BotoCoreError, ClientError) as error:
                refused = isinstance(error, ClientError)
                text = aws.refusal(f"read the log of {source.job}", error) if refused else str(error)
                if text not in self.noted:
                    self.noted.add(text)
                    yield _note(watch.name, text)


def _is_passing(error: Any) -> bool:
    """Whether the same question may be answered a moment later."""
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= SERVER_ERRORS or any(word in code for word in THROTTLED)


def _note(job: str, text: str) -> Event:
    return Event(_now(), job, NOTE, message=text)


def _now() -> datetime:
    return datetime.now(timezone.utc)
