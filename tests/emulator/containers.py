"""A hosting container: the image's real serving command with the model from S3 in place."""

from __future__ import annotations

import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from emulator.logs import Shipper
from emulator.models import model_data
from emulator.world import World, now
from sm_launch.errors import LaunchError
from sm_launch.local import S3Store, Server, start_server

ANY_IMAGE = ""
ROOT = Path(__file__).resolve().parents[2]
# The serving container of this project, as its image starts it; on loopback alone.
SERVING_CONTAINER = (
    "env",
    f"PYTHONPATH={ROOT}",
    "BIND_HOST=127.0.0.1",
    "OMP_NUM_THREADS=1",
    sys.executable,
    "-B",
    "-m",
    "sm_launch.container.serve",
)
# AWS gives 8 minutes by default (docs, "How Containers Serve Requests"); a test should not wait that long.
HEALTH_CHECK_SECONDS = 120.0


class Container:
    """One running container and its log.

    Attributes:
        server: the process.
    """

    def __init__(self, world: World, model: Mapping[str, Any], folder: Path, shipper: Shipper, stream: str) -> None:
        """Fetch the model and start the command.

        Args:
            world: the account.
            model: a CreateModel request.
            folder: where the container works.
            shipper: takes the log.
            stream: the log's stream.

        Raises:
            LaunchError: the model is no archive, or the command cannot start.
        """
        container = model.get("PrimaryContainer") or model["Containers"][0]
        command = world.serve_command.get(container.get("Image", ""), world.serve_command.get(ANY_IMAGE))
        if command is None:
            raise LaunchError(f"image '{container.get('Image')}' has no serving command here; give one to aws().")
        self._shipper, self._stream, self._sent = shipper, stream, 0
        self._lock = threading.Lock()
        self.server: Server = start_server(
            command,
            _fetch(world, container, folder / "fetched"),
            folder / "server",
            environment=container.get("Environment", {}),
            namespaces=world.namespaces,
        )
        world.stoppers.append(self.server.stop)

    def wait_ready(self) -> None:
        """Wait for /ping.

        Raises:
            LaunchError: it ended or was not ready in time.
        """
        try:
            self.server.wait_ready(HEALTH_CHECK_SECONDS)
        finally:
            self.ship()

    def post(self, body: bytes, headers: Mapping[str, str], seconds: float) -> tuple[int, dict[str, str], bytes]:
        """POST /invocations: HTTP status, headers and body of the answer; status 0 where none came in time."""
        request = urllib.request.Request(
            f"{self.server.url}/invocations", data=body, headers=dict(headers), method="POST"
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=seconds) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()
        except (OSError, HTTPException):
            return 0, {}, b""
        finally:
            self.ship()

    def ship(self) -> None:
        """Send the log's new lines to CloudWatch."""
        with self._lock:
            if not self.server.log_file.is_file():
                return
            lines = self.server.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
            for line in lines[self._sent :]:
                self._shipper.put(self._stream, line, now())
            self._sent = len(lines)
        self._shipper.flush()

    def stop(self) -> None:
        """End it."""
        self.server.stop()
        self.ship()


def _fetch(world: World, container: Mapping[str, Any], folder: Path) -> Path:
    """The model archive, or the folder of an unpacked one."""
    store, uri = S3Store(world.clients("s3")), model_data(container)
    folder.mkdir(parents=True, exist_ok=True)
    if uri is None:
        return folder
    if uri.endswith(".tar.gz"):
        archive = folder / "model.tar.gz"
        store.download(uri, archive)
        return archive
    for each in store.list(uri):
        store.download(each, folder / each[len(uri) :].lstrip("/"))
    return folder
