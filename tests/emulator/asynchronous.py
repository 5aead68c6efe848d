"""Asynchronous requests: the input from S3, the container's answer or its error to S3."""

from __future__ import annotations

import secrets
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.endpoints import Endpoint
from emulator.errors import AwsError
from emulator.world import World
from sm_launch.errors import LaunchError
from sm_launch.local import S3Store
from sm_launch.s3_uri import join

# API reference, InvokeEndpointAsync: bytes of a body that is not in S3, and of an input that is.
INLINE_LIMIT = 128_000
INPUT_LIMIT = 1024**3
CUSTOM = "X-Amzn-SageMaker-Custom-Attributes"


def accept(
    world: World, endpoint: Endpoint, request: Mapping[str, Any], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """Queue a request and answer where its result will be.

    Raises:
        AwsError: there is not exactly one input, or the endpoint has nowhere to write to.
    """
    location = request.get("InputLocation")
    if bool(body) == bool(location):
        raise AwsError("ValidationError", "Exactly one of InputLocation and Body must be specified.")
    if len(body) > INLINE_LIMIT:
        raise AwsError("ValidationError", f"The request body exceeds {INLINE_LIMIT} bytes.")
    outputs = endpoint.configuration.request["AsyncInferenceConfig"]["OutputConfig"]
    if "S3OutputPath" not in outputs:
        raise AwsError("ValidationError", "S3OutputPath is missing from the endpoint's OutputConfig.")
    name = str(uuid.uuid4())
    output = join(outputs["S3OutputPath"], f"{name}.out")
    failure = join(outputs["S3FailurePath"], f"{name}-error.out") if "S3FailurePath" in outputs else None
    world.begin(lambda: _process(world, endpoint, request, body, output, failure))
    headers = {"X-Amzn-SageMaker-OutputLocation": output}
    if failure:
        headers["X-Amzn-SageMaker-FailureLocation"] = failure
    identity = request.get("InferenceId") or secrets.token_hex(8)
    return 202, headers | {"Content-Type": "application/json"}, f'{{"InferenceId": "{identity}"}}'.encode()


def _process(
    world: World, endpoint: Endpoint, request: Mapping[str, Any], body: bytes, output: str, failure: str | None
) -> None:
    store = S3Store(world.clients("s3"))
    with tempfile.TemporaryDirectory(dir=world.folder) as folder:
        file = Path(folder) / "payload"
        status, answer = 0, b""
        try:
            if "InputLocation" in request:
                store.download(request["InputLocation"], file)
                body = file.read_bytes()
            if len(body) > INPUT_LIMIT:
                raise LaunchError(f"The input exceeds {INPUT_LIMIT} bytes.")
            headers = {
                name: request[member]
                for member, name in (
                    ("ContentType", "Content-Type"),
                    ("Accept", "Accept"),
                    ("CustomAttributes", CUSTOM),
                )
                if member in request
            }
            status, _, answer = endpoint.container.post(body, headers, world.invoke_timeout)
        except LaunchError as error:
            answer = str(error).encode()
        if 200 <= status < 300:
            file.write_bytes(answer)
            store.upload(file, output)
        elif failure is not None:
            file.write_bytes(answer or b"the container did not answer")
            store.upload(file, failure)
