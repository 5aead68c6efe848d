"""A serving container's command on this machine, with /opt/ml/model in place."""

from __future__ import annotations

import logging
import shutil
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from sm_launch.errors import LaunchError
from sm_launch.local.archives import unpack
from sm_launch.local.container import free_port
from sm_launch.local.isolation import Isolation
from sm_launch.local.nodes import ML, Node, NodePlan

logger = logging.getLogger(__name__)

LOOPBACK_ADDRESS = "127.0.0.1"
# The toolkits' name for the port of a serving container.
PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
# Where /opt/ml is a folder, this tells where the model lies.
MODEL_VARIABLE = "SM_MODEL_DIR"
NAME = "serving"
LAST_LINES = 20
POLL_SECONDS = 0.1


class Server:
    """A running serving command; a context manager that stops it. Made by :func:`start_server`.

    Attributes:
        host: address to connect to.
        port: TCP port.
        log_file: its standard output and error.
        model_dir: what the command sees as /opt/ml/model.
    """

    def __init__(self, plan: NodePlan, isolation: Isolation, port: int) -> None:
        self.host = LOOPBACK_ADDRESS
        self.port = port
        self.log_file = plan.folder / f"{NAME}.log"
        self.model_dir = plan.tree / "model"
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._lock = threading.Lock()
        self._log = self.log_file.open("w", encoding="utf-8")
        self._node = Node(plan, isolation, self._keep)

    def _keep(self, line: str) -> None:
        with self._lock:
            self._last.append(line)
            if not self._log.closed:
                self._log.write(line + "\n")
                self._log.flush()

    @property
    def url(self) -> str:
        """http://HOST:PORT."""
        return f"http://{self.host}:{self.port}"

    def returncode(self) -> int | None:
        """The exit status, None while it runs."""
        return self._node.poll()

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Wait until GET /ping answers 200.

        Raises:
            LaunchError: it ended, or did not answer 200 in time; the message holds the log's last lines.
        """
        deadline = time.monotonic() + seconds
        # A proxy of the user's shell is no way to this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            try:
                with opener.open(f"{self.url}/ping", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                logger.debug("%s: not ready yet", self.url)
            code = self.returncode()
            ended = f"ended with exit status {code}" if code is not None else ""
            late = f"gave no 200 to /ping within {seconds:.0f} s" if time.monotonic() > deadline else ""
            if ended or late:
                raise LaunchError(
                    f"the serving command {ended or late}; see {self.log_file}:\n" + "\n".join(self._last)
                )
            time.sleep(POLL_SECONDS)

    def stop(self, kill_after: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after so many seconds; nothing that it started survives."""
        self._node.terminate()
        deadline = time.monotonic() + kill_after
        while self._node.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self._node.close()
        with self._lock:
            self._log.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_server(
    command: Sequence[str],
    model: Path,
    work_dir: Path,
    *,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    namespaces: bool | None = None,
) -> Server:
    """Start a serving command as a hosting container would be. It has the machine's network.

    Args:
        command: what the image starts (``serve`` and what belongs to it); it listens on $SAGEMAKER_BIND_TO_PORT.
        model: model.tar.gz, which is unpacked, or the folder of an unpacked one, which is copied.
        work_dir: a folder for this server.
        environment: CreateModel's Environment.
        port: TCP port; None takes a free one. (In a container on AWS it is 8080.)
        namespaces: as for :func:`sm_launch.local.run_training`; in folders, $SM_MODEL_DIR tells where the model lies.

    Raises:
        LaunchError: the model is absent or no archive.
    """
    isolation = Isolation(namespaces)
    folder = work_dir / NAME
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / "ml" / "model"
    if model.is_dir():
        shutil.copytree(model, target)
    else:
        unpack(model, target)
    chosen = port or free_port()
    variables = {PORT_VARIABLE: str(chosen), MODEL_VARIABLE: f"{ML}/model", **(environment or {})}
    return Server(NodePlan(NAME, folder, command, variables, {NAME: LOOPBACK_ADDRESS}), isolation, chosen)
