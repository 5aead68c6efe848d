"""A folder of cases through an endpoint: resumable, and named as local inference names its label volumes.

Local inference and this give the same arrays, because the container runs the same config. Cases travel under the
checksum of their bytes, so that no patient's file name reaches S3 or a log of AWS.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from sm_launch.errors import LaunchError
from sm_launch.predict_cases import Case, Record, check_sizes, find_cases
from sm_launch.serving import REALTIME

logger = logging.getLogger(__name__)

T = TypeVar("T")
ANSWERED, SKIPPED, FAILED = "answered", "skipped", "failed"
# API reference, InvokeEndpoint: errors that pass by themselves. The container's own 429 and 503 come as ModelError.
_PASSING = {
    "ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown",
    "ServiceUnavailable", "ServiceUnavailableException", "InternalFailure", "InternalDependencyException",
    "ModelNotReadyException",
}  # fmt: skip
_PASSING_STATUS = {429, 503}
ATTEMPTS, FIRST_PAUSE_S, LONGEST_PAUSE_S = 8, 1.0, 60.0

Progress = Callable[["Event"], None]


@dataclass(frozen=True)
class Event:
    """What became of one case.

    Attributes:
        case: its name.
        state: answered, skipped (it was answered before) or failed.
        done: cases that are through, this one included.
        total: all cases.
        detail: the file that was written, or the reason.
    """

    case: str
    state: str
    done: int
    total: int
    detail: str


@dataclass
class Report:
    """What became of all cases.

    Attributes:
        answered: files that were written, by case.
        skipped: cases that had been answered before.
        failed: the reason, by case.
    """

    answered: dict[str, Path] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


class Prediction:
    """The cases of a folder on their way to answers; the modes differ in how they get them.

    Args:
        cases_dir: folder of the images.
        output_dir: folder of the answers, made if absent.
        mode: of :mod:`sm_launch.serving`, for the limit of a case's size.
        progress: called for each case that is through, from any thread, one at a time.

    Raises:
        LaunchError: there are no cases, or one is too large for the mode.
    """

    def __init__(self, cases_dir: Path, output_dir: Path, mode: str, progress: Progress | None = None) -> None:
        cases = find_cases(cases_dir)
        self.record, self.report, self.total = Record(output_dir), Report(), len(cases)
        self._progress, self._lock, self._done = progress, Lock(), 0
        self.pending: list[Case] = []
        answered = [case for case in cases if self.record.is_answered(case)]
        self.pending = [case for case in cases if case not in answered]
        check_sizes(self.pending, mode)
        for case in answered:
            self.report.skipped.append(case.name)
            self._tell(case, SKIPPED, "answered before")

    def answered(self, case: Case, content: bytes) -> None:
        """Write and note an answer."""
        with self._lock:
            target = self.record.write(case, content)
            self.report.answered[case.name] = target
            self._tell(case, ANSWERED, str(target))

    def failed(self, case: Case, reason: str) -> None:
        """Note that a case has no answer."""
        with self._lock:
            self.record.forget(case)
            self.report.failed[case.name] = reason
            self._tell(case, FAILED, reason)

    def expect(self, case: Case, where: dict[str, Any]) -> None:
        """Note where a case's answer will be."""
        with self._lock:
            self.record.expect(case, where)

    def _tell(self, case: Case, state: str, detail: str) -> None:
        self._done += 1
        if self._progress:
            self._progress(Event(case.name, state, self._done, self.total, detail))


def predict_realtime(
    cases_dir: Path,
    output_dir: Path,
    endpoint: str,
    runtime: Any,
    *,
    mode: str = REALTIME,
    parallel: int = 1,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Report:
    """Send each case to a real-time or serverless endpoint. Cases that were answered before are not sent again.

    Args:
        cases_dir: folder of the images.
        output_dir: folder of the answers, ``<case>_seg.nii.gz`` (or ``<case>.json`` of a classifier).
        endpoint: name of the endpoint.
        runtime: boto3 client of ``sagemaker-runtime``.
        mode: realtime or serverless, for the limit of a case's size.
        parallel: requests at a time; more than the endpoint's machines only wait there.
        progress: called for each case that is through.
        sleep: waits between attempts.

    Raises:
        LaunchError: there are no cases, one is too large, or AWS refuses them all (no such endpoint, no permission).
    """
    prediction = Prediction(cases_dir, output_dir, mode, progress)

    def send(case: Case) -> None:
        def invoke() -> bytes:
            answer = runtime.invoke_endpoint(
                EndpointName=endpoint,
                ContentType=case.content_type,
                Accept=case.content_type,
                Body=case.content(),
            )
            return answer["Body"].read()

        try:
            content = patiently(f"ask the endpoint {endpoint}", invoke, sleep)
        except Refused as refused:
            prediction.failed(case, str(refused))
        else:
            prediction.answered(case, content)

    in_parallel(send, prediction.pending, parallel)
    return prediction.report


class Refused(Exception):
    """The model refused this case, which says nothing of the others."""


def patiently(what: str, call: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Call AWS, and again with growing pauses while it is only busy.

    Raises:
        Refused: the container refused the case; the message is its sentence.
        LaunchError: AWS refused, or stayed busy or out of reach.
    """
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except ClientError as error:
            if not _passes(error):
                raise _refusal(what, error) from error
            reason = _words(error)
        except HTTPClientError as error:
            reason = str(error)
        except BotoCoreError as error:
            raise LaunchError(f"could not {what}: {error}; check the client's settings.") from error
        if attempt < ATTEMPTS:
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
            logger.info("%s: %s; again in %.0f s", what, reason, pause)
            sleep(pause)
    raise LaunchError(
        f"could not {what} in {ATTEMPTS} attempts: {reason.rstrip('.')}; run the same command again later, it goes on "
        "with the cases that are left."
    )


def in_parallel(send: Callable[[Case], None], cases: Sequence[Case], parallel: int) -> None:
    """Do all, some at a time; an error stops those that have not begun."""
    with ThreadPoolExecutor(max(1, parallel)) as pool:
        futures = [pool.submit(send, case) for case in cases]
        try:
            for future in futures:
                future.result()
        except BaseException:
            _cancel(futures)
            raise


def _cancel(futures: Iterable[Any]) -> None:
    for future in futures:
        future.cancel()


def _passes(error: Any) -> bool:
    if error.response.get("Error", {}).get("Code") == "ModelError":
        return error.response.get("OriginalStatusCode") in _PASSING_STATUS
    return error.response.get("Error", {}).get("Code") in _PASSING


def _words(error: Any) -> str:
    found = error.response.get("Error", {})
    return f"{found.get('Code')}, {' '.join(str(found.get('Message', '')).split())}"


def _refusal(what: str, error: Any) -> Exception:
    if error.response.get("Error", {}).get("Code") == "ModelError":
        return Refused(sentence(str(error.response.get("OriginalMessage", ""))))
    return LaunchError(f"could not {what}: AWS says {_words(error).rstrip('.')}; mend that and run the command again.")


def sentence(body: str) -> str:
    """What the container says of a case that it refused."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, LookupError, TypeError):
        return " ".join(body.split())[:300] or "the container gave no reason; see the endpoint's log"
