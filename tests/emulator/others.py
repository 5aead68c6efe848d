"""All other services (S3, IAM, KMS, Logs, EC2, ECR, STS, CloudWatch, CodeBuild, autoscaling): moto, in-process."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from emulator.errors import AwsError
from emulator.faults import Faults
from emulator.world import USER

LOOPBACK = "127.0.0.1"
# The access key of the emulator itself, which plays AWS's own platform: faults are for the user alone.
PLATFORM = "platform"
ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
MESSAGES = {"AccessDenied": "Access Denied", "SlowDown": "Please reduce your request rate."}


class _Faulty:
    """moto's application, behind the faults that a test has asked for: of JSON services by operation, of S3 by path."""

    def __init__(self, application: Callable[..., Any], faults: Faults) -> None:
        self.application = application
        self.faults = faults

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if f"Credential={PLATFORM}/" in environ.get("HTTP_AUTHORIZATION", ""):
            return self.application(environ, start_response)
        refused = self.faults.http_refusal(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""))
        if refused is not None:
            status, code = refused
            return _refuse(environ, start_response, status, ERROR.format(code=code, message=MESSAGES.get(code, code)))
        target, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        try:
            self.faults.before(target.split("_")[0].lower(), operation, USER, "*")
        except AwsError as error:
            content = json.dumps({"__type": error.code, "message": error.message})
            return _refuse(environ, start_response, error.status, content)
        place = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if self.faults.cuts(*place, executed=False):
            return _cut(environ)
        answer = self.application(environ, start_response)
        return _cut(environ) if self.faults.cuts(*place, executed=True) else answer


def _cut(environ: dict[str, Any]) -> list[bytes]:
    """Close the connection under the server's hands."""
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return []


def _refuse(environ: dict[str, Any], start_response: Callable[..., Any], status: int, content: str) -> list[bytes]:
    # An unread body would be taken for the connection's next request.
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else content.encode()
    kind = "application/xml" if content.startswith("<") else "application/x-amz-json-1.1"
    start_response(f"{status} Refused", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def _unconditional_permission(bucket: Any, action: str, resource: str) -> Any:
    """moto's judgement of a bucket policy by its unconditional statements: it takes no notice of conditions, and the
    ones that are met here (no TLS, which loopback stands for; another encryption) would deny everything."""
    from moto.iam.access_control import IAMPolicy, PermissionResult

    statements = json.loads(bucket.policy)["Statement"] if bucket.policy else []
    judged = [each for each in statements if "Condition" not in each]
    if not judged:
        return PermissionResult.NEUTRAL
    return IAMPolicy(json.dumps({"Version": "2012-10-17", "Statement": judged})).is_action_permitted(action, resource)


@contextmanager
def moto(faults: Faults) -> Iterator[str]:
    """Serve moto with nothing in it; yields its URL. One at a time: moto's state is the process'."""
    from moto.moto_api._internal.models import moto_api_backend
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from moto.s3.models import FakeBucket
    from werkzeug.serving import make_server

    moto_api_backend.reset()
    allowed = FakeBucket.get_permission
    FakeBucket.get_permission = _unconditional_permission
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = _Faulty(DomainDispatcherApplication(create_backend_app), faults)
    server = make_server(LOOPBACK, 0, application, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        FakeBucket.get_permission = allowed
        moto_api_backend.reset()
