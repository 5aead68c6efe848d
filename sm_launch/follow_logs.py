"""Log streams of CloudWatch, read on from where the last poll ended: nothing twice, nothing left out."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

NODE = re.compile(r"(algo-\d+)-\d+")
# GetLogEvents: a token is good for 24 hours; what was read stays known by its time.
EXPIRED = "InvalidParameterException"
ABSENT = "ResourceNotFoundException"


@dataclass(frozen=True)
class Line:
    """One line of a log: when it was written (UTC), by which node, what."""

    time: datetime
    node: str
    text: str


@dataclass
class _Stream:
    """How far a stream was read: the token to go on with, from which time on it counts (0 is the stream's beginning),
    and how many events of the last millisecond were seen."""

    name: str
    token: str | None = None
    since: int = 0
    last: int = 0
    of_last: int = 0


class LogTail:
    """The streams of one job, in a log group of SageMaker.

    Args:
        client: ``session.client("logs")``.
        group: /aws/sagemaker/TrainingJobs ...
        prefix: what the names of the job's streams begin with.
    """

    def __init__(self, client: Any, group: str, prefix: str) -> None:
        self._client = client
        self._group = group
        self._prefix = prefix
        self._streams: dict[str, _Stream] = {}

    def poll(self) -> Iterator[Line]:
        """Lines that came since the last poll, nodes interleaved by time.

        There is no group before the account's first job has begun, and no stream before a container has: that is no
        error. Pages are taken from all streams in turn, so a long log is never held as a whole.

        Raises:
            botocore.exceptions.ClientError: CloudWatch refuses.
            botocore.exceptions.BotoCoreError: it cannot be reached; the next poll goes on where this one ended.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        self._find_streams()
        behind = list(self._streams.values())
        while behind:
            pages, refused = [], None
            for stream in behind:
                try:
                    pages.append((stream, *self._page(stream)))
                except (BotoCoreError, ClientError) as error:
                    # What the others gave counts as read, so it is told before the error is.
                    refused = error
                    break
            yield from heapq.merge(*(lines for _, lines, _ in pages), key=lambda line: line.time)
            if refused is not None:
                raise refused
            behind = [stream for stream, _, more in pages if more]

    def _find_streams(self) -> None:
        from botocore.exceptions import ClientError

        names = {"logGroupName": self._group}
        if self._prefix:
            names["logStreamNamePrefix"] = self._prefix
        try:
            for page in self._client.get_paginator("describe_log_streams").paginate(**names):
                for found in page["logStreams"]:
                    name = found["logStreamName"]
                    self._streams.setdefault(name, _Stream(name))
        except ClientError as error:
            if error.response["Error"]["Code"] != ABSENT:
                raise

    def _page(self, stream: _Stream) -> tuple[list[Line], bool]:
        """The next page of a stream, and whether there may be another."""
        from botocore.exceptions import ClientError

        names = {"logGroupName": self._group, "logStreamName": stream.name, "startFromHead": True}
        skip = 0
        if stream.token is not None:
            names["nextToken"] = stream.token
        elif stream.last:
            stream.since, skip = stream.last, stream.of_last
        if stream.since:
            names["startTime"] = stream.since
        try:
            page = self._client.get_log_events(**names)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == ABSENT:
                return [], False
            if code != EXPIRED or stream.token is None:
                raise
            stream.token = None
            return [], True
        events = page["events"][skip:]
        for event in events:
            stream.of_last = stream.of_last + 1 if event["timestamp"] == stream.last else 1
            stream.last = event["timestamp"]
        # CloudWatch repeats the token that it was given when the end is reached; a page may be empty before that.
        more = page["nextForwardToken"] != stream.token
        stream.token = page["nextForwardToken"]
        node = node_of(stream.name)
        return [Line(_time(event["timestamp"]), node, event["message"].rstrip("\n")) for event in events], more


def node_of(stream: str) -> str:
    """algo-1 of JOB/algo-1-1700000000; the last part of any other name."""
    last = stream.rpartition("/")[2]
    found = NODE.fullmatch(last)
    return found.group(1) if found else last


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
