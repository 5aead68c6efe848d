"""SageMaker's side of an inference, in front of a real container: three calls, over HTTP, with faults to order."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import httpx

BUCKET = "predictions"


class Runtime:
    """InvokeEndpoint, InvokeEndpointAsync, CreateTransformJob and DescribeTransformJob around one container.

    Args:
        container: the container's address.
        s3: client of the store that cases and answers go through.
    """

    def __init__(self, container: str, s3: Any) -> None:
        self.container, self.s3 = container, s3
        self.url = ""
        # HTTP status and error code of the next answers, given instead of the real ones.
        self.faults: deque[tuple[int, str]] = deque()
        self.bodies: list[bytes] = []
        self.keys: list[str] = []
        self.jobs: dict[str, dict[str, Any]] = {}

    def container_answer(self, body: bytes, content_type: str, accept: str) -> httpx.Response:
        """The container's own answer."""
        self.bodies.append(body)
        headers = {"Content-Type": content_type, "Accept": accept}
        return httpx.post(f"{self.container}/invocations", content=body, headers=headers, timeout=120)

    def stored_answer(self, key: str, target: str, content_type: str, accept: str) -> httpx.Response:
        """Answer the case in S3 to S3, if there is an answer."""
        self.keys.append(key)
        body = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        answer = self.container_answer(body, content_type, accept)
        if answer.status_code == 200:
            self.s3.put_object(Bucket=BUCKET, Key=target, Body=answer.content)
        return answer

    def create(self, request: dict[str, Any]) -> None:
        """Do a transform job, at once."""
        data, output = request["TransformInput"], request["TransformOutput"]
        prefix, target = (
            uri.removeprefix(f"s3://{BUCKET}/")
            for uri in (data["DataSource"]["S3DataSource"]["S3Uri"], output["S3OutputPath"])
        )
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
        answers = [
            self.stored_answer(
                item["Key"], f"{target}{item['Key'].rpartition('/')[2]}.out", data["ContentType"], output["Accept"]
            )
            for item in listed
        ]
        failed = [answer for answer in answers if answer.status_code != 200]
        self.jobs[request["TransformJobName"]] = {
            "TransformJobName": request["TransformJobName"],
            "TransformJobStatus": "Failed" if failed else "Completed",
            **({"FailureReason": "ClientError: See job logs"} if failed else {}),
        }


@contextmanager
def runtime(container: str, s3: Any) -> Iterator[Runtime]:
    """A running one on loopback."""
    state = Runtime(container, s3)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if state.faults:
                status, code = state.faults.popleft()
                if not status:
                    self.connection.close()
                    return
                self.give(
                    status, {"message": "by order", "OriginalStatusCode": status, "OriginalMessage": "busy"}, code
                )
            elif self.path.endswith("/async-invocations"):
                self.queue()
            elif self.path.endswith("/invocations"):
                self.invoke(body)
            else:
                self.job(self.headers["X-Amz-Target"].rpartition(".")[2], json.loads(body))

        def invoke(self, body: bytes) -> None:
            answer = state.container_answer(body, self.headers["Content-Type"], self.headers["Accept"])
            if answer.status_code == 200:
                self.send_response(200)
                self.send_header("Content-Type", answer.headers["content-type"])
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)
                return
            original = {"OriginalStatusCode": answer.status_code, "OriginalMessage": answer.text}
            self.give(424, {"message": "Received client error", **original}, "ModelError")

        def queue(self) -> None:
            source = self.headers["X-Amzn-SageMaker-InputLocation"].removeprefix(f"s3://{BUCKET}/")
            name = quote(source.rpartition("/")[2])
            kind, accept = (self.headers[f"X-Amzn-SageMaker-{part}"] for part in ("Content-Type", "Accept"))

            def work() -> None:
                answer = state.stored_answer(source, f"answers/{name}.out", kind, accept)
                if answer.status_code != 200:
                    state.s3.put_object(Bucket=BUCKET, Key=f"failures/{name}-error.out", Body=answer.content)

            threading.Thread(target=work).start()
            places = {
                "X-Amzn-SageMaker-OutputLocation": f"s3://{BUCKET}/answers/{name}.out",
                "X-Amzn-SageMaker-FailureLocation": f"s3://{BUCKET}/failures/{name}-error.out",
            }
            self.give(202, {"InferenceId": "1"}, "", places)

        def job(self, operation: str, request: dict[str, Any]) -> None:
            name = request["TransformJobName"]
            if operation == "DescribeTransformJob":
                self.give(200, state.jobs[name])
            elif name in state.jobs:
                self.give(400, {"message": "Job name must be unique"}, "ResourceInUse")
            else:
                state.create(request)
                self.give(200, {"TransformJobArn": "arn:aws:sagemaker:eu-west-1:000000000000:transform-job/x"})

        def give(
            self, status: int, content: dict[str, Any], code: str = "", headers: dict[str, str] | None = None
        ) -> None:
            body = json.dumps(content | ({"__type": code} if code else {})).encode()
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            if code:
                self.send_header("x-amzn-ErrorType", code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
