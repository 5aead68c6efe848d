"""Log lines on their way to CloudWatch Logs, which moto serves: a group for a kind of job, a stream for a node."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from emulator.world import World

GROUPS = {
    "training-job": "/aws/sagemaker/TrainingJobs",
    "processing-job": "/aws/sagemaker/ProcessingJobs",
    "transform-job": "/aws/sagemaker/TransformJobs",
}
ENDPOINTS = "/aws/sagemaker/Endpoints"
# The API's limit of a call is 10,000 events and 1 MiB.
BATCH = 1000


class Shipper:
    """Collects the lines of one job or endpoint and sends them now and then, as CloudWatch's agent does.

    Args:
        world: the account.
        group: the log group; made with the first line, as AWS makes it.
        delay: seconds that lines lie here after ``close``, as they may at AWS.
    """

    def __init__(self, world: World, group: str, delay: float = 0.0) -> None:
        self._client = world.clients("logs")
        self._world = world
        self._group = group
        self._delay = delay
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._lines: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._streams: set[str] = set()
        self._last = time.monotonic()

    def put(self, stream: str, line: str, when: datetime) -> None:
        """Take a line; CloudWatch refuses empty messages."""
        with self._lock:
            self._lines[stream].append((int(when.timestamp() * 1000), line or " "))
            due = not self._delay and time.monotonic() - self._last > 0.2
        if due:
            self.flush()

    def flush(self) -> None:
        """Send what there is."""
        with self._sending:
            with self._lock:
                lines, self._lines = self._lines, defaultdict(list)
                self._last = time.monotonic()
            for stream, each in lines.items():
                self._make(stream)
                # Lines of two streams of a process may come a millisecond out of order, which the API refuses.
                events: list[dict[str, Any]] = [{"timestamp": at, "message": line} for at, line in sorted_by_time(each)]
                for first in range(0, len(events), BATCH):
                    batch = events[first : first + BATCH]
                    self._client.put_log_events(logGroupName=self._group, logStreamName=stream, logEvents=batch)

    def close(self) -> None:
        """Send the rest; later, where the lines of this job are to be late."""
        if not self._delay:
            self.flush()
            return

        def later() -> None:
            self._world.pause(self._delay)
            self.flush()

        self._world.begin(later)

    def _make(self, stream: str) -> None:
        if stream in self._streams:
            return
        for call, names in (
            (self._client.create_log_group, {"logGroupName": self._group}),
            (self._client.create_log_stream, {"logGroupName": self._group, "logStreamName": stream}),
        ):
            try:
                call(**names)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                    raise
        self._streams.add(stream)


def sorted_by_time(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Lines by time; those of one millisecond stay in their order."""
    return sorted(lines, key=lambda line: line[0])
