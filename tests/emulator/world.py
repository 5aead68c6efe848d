"""One AWS account in one region: what exists in it, what was called, and who answers a call."""

from __future__ import annotations

import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from emulator.errors import AwsError
from emulator.faults import Faults

ACCOUNT = "123456789012"
USER = f"arn:aws:iam::{ACCOUNT}:user/tester"
Handler = Callable[["World", dict[str, Any]], dict[str, Any] | None]
HANDLERS: dict[tuple[str, str], Handler] = {}


def operation(service: str, name: str) -> Callable[[Handler], Handler]:
    """Register a function as the answer to an operation; it takes a checked request and gives the answer's members."""

    def register(handler: Handler) -> Handler:
        HANDLERS[service, name] = handler
        return handler

    return register


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Call:
    """A request that arrived; ``error`` is the code of the answer if it was one."""

    service: str
    operation: str
    request: Mapping[str, Any]
    error: str = ""


@dataclass
class World:
    """The state of the account; every table is by name.

    Attributes:
        folder: where jobs and containers work.
        region: the one region.
        clients: makes a boto3 client of a service that moto serves.
        serve_command: what a hosting image starts, by image; "" for any other image.
        image_command: what a training image starts for a request without an entry point; None is the toolkit's train.
        pace: seconds that a state lasts which nothing here takes time for: Starting, Creating, Deleting.
        kill_after: seconds between SIGTERM and SIGKILL of a stopped job.
        payload_limit: bytes of a real-time request.
        invoke_timeout: seconds that a container may take for a request.
    """

    folder: Path
    region: str
    clients: Callable[[str], Any]
    serve_command: Mapping[str, Sequence[str]]
    image_command: Sequence[str] | None = None
    pace: float = 0.02
    kill_after: float = 20.0
    payload_limit: int = 25 * 1024 * 1024
    invoke_timeout: float = 60.0
    namespaces: bool | None = None
    faults: Faults = field(default_factory=Faults)
    calls: list[Call] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    tags: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    lock: threading.RLock = field(default_factory=threading.RLock)
    closing: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    stoppers: list[Callable[[], None]] = field(default_factory=list)

    def arn(self, kind: str, name: str, service: str = "sagemaker") -> str:
        """The ARN of something in this account."""
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{kind}/{name}"

    def call(self, service: str, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a checked request.

        Raises:
            AwsError: the answer is an error.
        """
        try:
            self.faults.before(service, name, USER, self.arn(name, "*", service))
            answer = HANDLERS[service, name](self, request) or {}
        except AwsError as error:
            self.calls.append(Call(service, name, request, error.code))
            raise
        self.calls.append(Call(service, name, request))
        return answer

    def called(self, name: str) -> list[Mapping[str, Any]]:
        """The requests of an operation that succeeded, in order."""
        return [call.request for call in self.calls if call.operation == name and not call.error]

    def begin(self, work: Callable[[], None]) -> None:
        """Do something in a thread; an exception in it is a complaint, on which the test fails."""

        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - a thread has no one else to tell
                self.complaints.append("".join(traceback.format_exception(error)))

        thread = threading.Thread(target=guarded, daemon=True)
        self.threads.append(thread)
        thread.start()

    def pause(self, seconds: float | None = None) -> None:
        """Let a state last, unless the emulator closes."""
        self.closing.wait(self.pace if seconds is None else seconds)

    def close(self) -> None:
        """Stop all jobs and containers and wait for their threads."""
        self.closing.set()
        for stop in self.stoppers:
            stop()
        deadline = time.monotonic() + self.kill_after + 30
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self.complaints.append("a thread of the emulator did not end")


def epoch(value: Any) -> Any:
    """An answer as JSON has it: times as seconds, absent members left out."""
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    if isinstance(value, Mapping):
        return {key: epoch(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [epoch(item) for item in value]
    return value
