"""Labs 09, 10: the serving container's own program on this machine, and three ways in which SageMaker hands it a case.

Real-time, async and batch are not three containers: all of them end as one POST to /invocations. They differ in who
holds the case while it is computed, and so in size, time and price. What SageMaker does around the container (a
queue, S3, a walk over a folder) is done here by a thread and folders.
"""

from __future__ import annotations

import atexit
import http.client
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sm_launch.container.artifact import assemble
from sm_launch.local import Server, start_server
from sm_launch.predict_cases import Case, answer_name, find_cases
from sm_launch.serving import ASYNC, BATCH, REALTIME, check_payload

from .project import BUNDLE, ROOT

# What of a bundle a container needs to infer, besides its Python package.
SERVED = ("configs/*", "models/model.pt", "models/model.json")
PACKAGE = "scripts"
START_SECONDS, ANSWER_SECONDS = 300.0, 300.0
JSON, ANY = "application/json", "*/*"
OK = 200
BATCH_ENDING = ".out"


@dataclass(frozen=True)
class Answer:
    """What the container said to one case.

    Attributes:
        status: HTTP status, 200 if it was computed.
        content: the file that the bundle wrote, or JSON.
        seconds: from sending to the last byte.
    """

    status: int
    content: bytes
    seconds: float

    def json(self) -> Any:
        """The content as JSON."""
        return json.loads(self.content)


def make_artifact(model_dir: Path, target: Path, bundle: Path = BUNDLE, package: str = PACKAGE) -> Path:
    """A model artifact of a bundle, as a training by sm_launch leaves it.

    Args:
        model_dir: folder of model.pt and model.json.
        target: folder of the artifact, emptied first.
        bundle: folder of the bundle.
        package: folder of its Python files in it.

    Returns:
        ``target``, with bundle/ and manifest.json, the checksum of every file.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    assemble(bundle, model_dir, target, (*SERVED, f"{package}/*"), {})
    return target


def cases_folder(listed: Sequence[Mapping[str, Any]], target: Path) -> list[Case]:
    """The images of some cases in a folder of their own, labels left out, as they would be sent.

    Args:
        listed: as ``data.listed`` gives them.
        target: folder to fill; a case of several files gets one of its own in it.
    """
    for case in listed:
        images = [Path(path) for path in case["image"]]
        folder = target / case["case"] if len(images) > 1 else target
        folder.mkdir(parents=True, exist_ok=True)
        for image in images:
            shutil.copyfile(image, folder / image.name)
    return find_cases(target)


class Endpoint:
    """A model behind the serving program, listening on this machine's loopback alone, until :meth:`stop`.

    Args:
        artifact: folder of :func:`make_artifact`.
        folder: for the server's own files.

    Attributes:
        cold_start_s: seconds from the start of the program to its first 200 to /ping, a first case computed.

    Raises:
        LaunchError: it did not become ready.
    """

    def __init__(self, artifact: Path, folder: Path) -> None:
        command = [sys.executable, "-m", "sm_launch.container.serve"]
        environment = {"BIND_HOST": "127.0.0.1", "PYTHONPATH": str(ROOT)}
        if threads := os.environ.get("OMP_NUM_THREADS"):
            environment["OMP_NUM_THREADS"] = threads
        began = time.perf_counter()
        self.server: Server = start_server(command, artifact, folder, environment=environment)
        # A notebook that breaks off leaves no server behind.
        atexit.register(self.stop)
        self.server.wait_ready(START_SECONDS)
        self.cold_start_s = time.perf_counter() - began
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="queue")

    def realtime(self, case: Case, accept: str = ANY) -> Answer:
        """Send a case and wait for its answer, as InvokeEndpoint does.

        Raises:
            LaunchError: it is larger than a real-time endpoint takes.
        """
        check_payload(REALTIME, case.size, case.name)
        return self._post(case, accept)

    def submit(self, case: Case, answers: Path) -> Future[Path]:
        """Put a case into the queue and go on at once, as InvokeEndpointAsync does with a case that lies in S3.

        Args:
            case: to send.
            answers: folder of the answers.

        Returns:
            The promise of the answer's file.

        Raises:
            LaunchError: it is larger than an async endpoint takes.
        """
        check_payload(ASYNC, case.size, case.name)
        return self._queue.submit(self._answered, case, answers)

    def batch(self, cases: Sequence[Case], answers: Path) -> list[Path]:
        """Walk over a folder of cases, one record at a time, as a batch transform job does; CASE.out is the answer.

        Raises:
            LaunchError: a case is larger than batch transform takes.
            RefusedCase: the container refused one.
        """
        answers.mkdir(parents=True, exist_ok=True)
        written = []
        for case in cases:
            check_payload(BATCH, case.size, case.name)
            target = answers / f"{case.name}{case.ending}{BATCH_ENDING}"
            target.write_bytes(_content(self._post(case, ANY), case))
            written.append(target)
        return written

    def together(self, cases: Sequence[Case]) -> list[Answer]:
        """Send several cases at the same moment; each answer has the seconds that its sender waited."""
        gate = threading.Barrier(len(cases))

        def send(case: Case) -> Answer:
            gate.wait()
            return self.realtime(case)

        with ThreadPoolExecutor(len(cases)) as senders:
            return list(senders.map(send, cases))

    def stop(self) -> None:
        """End the program; a second time does nothing."""
        atexit.unregister(self.stop)
        queue = getattr(self, "_queue", None)
        if queue is not None:
            queue.shutdown(cancel_futures=True)
        if self.server.returncode() is None:
            self.server.stop()

    def _answered(self, case: Case, answers: Path) -> Path:
        content = _content(self._post(case, ANY), case)
        answers.mkdir(parents=True, exist_ok=True)
        target = answers / answer_name(case.name, content)
        target.write_bytes(content)
        return target

    def _post(self, case: Case, accept: str) -> Answer:
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=ANSWER_SECONDS)
        headers = {"Content-Type": case.content_type, "Accept": accept}
        began = time.perf_counter()
        try:
            connection.request("POST", "/invocations", case.content(), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return Answer(answer.status, content, time.perf_counter() - began)


class RefusedCase(RuntimeError):
    """The container refused a case; the message is its sentence."""


def _content(answer: Answer, case: Case) -> bytes:
    """The content of an answer.

    Raises:
        RefusedCase: the container refused the case.
    """
    if answer.status != OK:
        raise RefusedCase(f"{case.name}: the container says {answer.status}: {answer.json()['error']}")
    return answer.content
