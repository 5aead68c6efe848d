"""A serving container's command on this machine, with /opt/ml/model in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

PORT = 8080


class Server:
    """A running serving command; a context manager that stops it.

    Attributes:
        host: address to connect to.
        port: TCP port.
        log_file: its standard output and error.
        model_dir: what the command sees as /opt/ml/model.
    """

    host: str
    port: int
    log_file: Path
    model_dir: Path

    @property
    def url(self) -> str:
        """http://HOST:PORT."""
        return f"http://{self.host}:{self.port}"

    def returncode(self) -> int | None:
        """The exit status, None while it runs."""

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Wait until GET /ping answers 200.

        Raises:
            LaunchError: it ended, or did not answer 200 in time; the message holds the log's last lines.
        """

    def stop(self, kill_after: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after so many seconds; nothing that it started survives."""

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
    isolated: bool = False,
    namespaces: bool | None = None,
) -> Server:
    """Start a serving command as a hosting container would be.

    Args:
        command: what the image starts (``serve`` and what belongs to it); it should listen on $SAGEMAKER_BIND_TO_PORT.
        model: model.tar.gz, which is unpacked, or the folder of an unpacked one, which is copied.
        work_dir: a folder for this server.
        environment: CreateModel's Environment.
        port: TCP port, told by SAGEMAKER_BIND_TO_PORT; None takes a free one. (In a container it is always 8080.)
        isolated: without a network. Then the port is reached by no one but through the server's own namespace.
        namespaces: as for :func:`sm_launch.local.run_training`.

    Raises:
        LaunchError: the model is absent or no archive.
    """
