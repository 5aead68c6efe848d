"""The emulator's HTTP server: awsJson services by X-Amz-Target, the runtime by its paths, on one loopback port."""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from emulator import invoke
from emulator.errors import MALFORMED, AwsError
from emulator.shapes import answer_faults, check_request, service_model
from emulator.world import HANDLERS, World, epoch

SERVICES = ("sagemaker", "fsx", "service-quotas", "pricing")
LOOPBACK = "127.0.0.1"


class _Dropped(Exception):
    """The connection is to be closed without an answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.path.startswith(invoke.PREFIX):
                self._runtime(body)
            else:
                self._json(body)
        except _Dropped:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _json(self, body: bytes) -> None:
        world = self.server.world
        target, _, name = self.headers.get("X-Amz-Target", "").partition(".")
        service = self.server.targets.get(target, "")
        if world.faults.loses(name, executed=False):
            raise _Dropped
        try:
            if (service, name) not in HANDLERS:
                raise AwsError("UnknownOperationException", f"The emulator has no {target}.{name}", 404)
            request = _decoded(body)
            check_request(service, name, request)
            answer = epoch(world.call(service, name, request))
        except AwsError as error:
            if error.status == 404:
                world.complaints.append(error.message)
            self._error(error)
            return
        except Exception as error:
            world.complaints.append(f"{name}: {type(error).__name__}: {error}")
            self._error(AwsError("InternalFailure", str(error), 500))
            raise
        world.complaints.extend(answer_faults(service, name, answer))
        if world.faults.loses(name, executed=True):
            raise _Dropped
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/x-amz-json-1.1"})

    def _runtime(self, body: bytes) -> None:
        world = self.server.world
        name = invoke.operation_of(self.path)
        if world.faults.loses(name, executed=False):
            raise _Dropped
        try:
            status, headers, answer = invoke.serve(world, self.path, self.headers, body)
        except AwsError as error:
            self._error(error)
            return
        if world.faults.loses(name, executed=True):
            raise _Dropped
        self._send(status, answer, headers)

    def _error(self, error: AwsError) -> None:
        content = {"message": error.message, "Message": error.message} | error.members
        headers = {"Content-Type": "application/x-amz-json-1.1"}
        if error.code:
            content["__type"] = headers["x-amzn-ErrorType"] = error.code
        self._send(error.status, json.dumps(content).encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("x-amzn-RequestId", secrets.token_hex(16))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing; World.calls holds what was called."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, world: World) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.world = world
        self.targets = {service_model(name).metadata["targetPrefix"]: name for name in SERVICES}


@contextmanager
def serving(world: World) -> Iterator[str]:
    """Serve a world; yields the server's URL."""
    server = _Server(world)
    # The default interval would cost half a second at the end of each test.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _decoded(body: bytes) -> object:
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise AwsError(MALFORMED, str(error)) from error
