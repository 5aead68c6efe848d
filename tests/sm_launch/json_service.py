"""A server on loopback that answers AWS's JSON protocol from given functions, for genuine boto3 clients."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
from botocore.client import BaseClient
from botocore.config import Config

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Refusal(Exception):
    """An error that the service answers with, by its code."""


@contextmanager
def served(service: str, answers: Mapping[str, Answer], region: str = "us-east-1") -> Iterator[BaseClient]:
    """A boto3 client of ``service`` whose calls are answered by ``answers``, by operation."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
            operation = self.headers["X-Amz-Target"].rsplit(".", 1)[-1]
            try:
                status, body = 200, answers[operation](request)
            except Refusal as refusal:
                status, body = 400, {"__type": str(refusal), "message": "refused by the test"}
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield boto3.client(
            service,
            region_name=region,
            endpoint_url=f"http://127.0.0.1:{server.server_address[1]}",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"max_attempts": 0}),
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
