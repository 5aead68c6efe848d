"""A folder of cases through an endpoint: resumable, and named as local inference names its label volumes.

Local inference and this give the same arrays, because the container runs the same config. Cases travel under the
checksum of their bytes, so that no patient's file name reaches S3 or a log of AWS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from sm_launch.predict_cases import Case, check_sizes, find_cases
from sm_launch.predict_record import Record
from sm_launch.predict_retry import Refused, patiently
from sm_launch.serving import REALTIME

ANSWERED, SKIPPED, FAILED = "answered", "skipped", "failed"
Progress = Callable[["Event"], None]
Agree = Callable[["Sending"], None]


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


@dataclass(frozen=True)
class Sending:
    """What is about to be sent.

    Attributes:
        cases: that have no answer yet.
        total: all cases of the folder.
        size: bytes of those without an answer.
    """

    cases: int
    total: int
    size: int


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
        answered_by: what answers; an answer of anything else does not count.
        progress: called for each case that is through, from any thread, one at a time.
        agree: called before the first case is sent, if any is to be; raises to send none.

    Raises:
        LaunchError: there are no cases, or one is too large for the mode.
    """

    def __init__(
        self,
        cases_dir: Path,
        output_dir: Path,
        mode: str,
        answered_by: str,
        progress: Progress | None = None,
        agree: Agree | None = None,
    ) -> None:
        cases = find_cases(cases_dir)
        self.record, self.report, self.total = Record(output_dir, answered_by), Report(), len(cases)
        self._progress, self._lock, self._done = progress, Lock(), 0
        self.pending: list[Case] = []
        answered = [case for case in cases if self.record.is_answered(case)]
        self.pending = [case for case in cases if case not in answered]
        check_sizes(self.pending, mode)
        if agree and self.pending:
            agree(Sending(len(self.pending), len(cases), sum(case.size for case in self.pending)))
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
    answered_by: str = "",
    agree: Agree | None = None,
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
        answered_by: tells this model from another behind the same name, so that answers of that one do not count;
            empty for the endpoint's name.
        agree: called before the first case is sent, if any is to be; raises to send none.
        sleep: waits between attempts.

    Raises:
        LaunchError: there are no cases, one is too large, or AWS refuses them all (no such endpoint, no permission).
    """
    prediction = Prediction(cases_dir, output_dir, mode, answered_by or endpoint, progress, agree)

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
