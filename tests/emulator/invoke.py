"""The runtime: InvokeEndpoint and InvokeEndpointAsync, with SageMaker's limits and its words for a model's errors."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from emulator import asynchronous
from emulator.endpoints import ENDPOINTS, IN_SERVICE, UPDATING, Endpoint
from emulator.errors import AwsError
from emulator.shapes import check_request
from emulator.world import ACCOUNT, USER, Call, World

PREFIX = "/endpoints/"
SERVICE = "sagemaker-runtime"
OPERATIONS = {"invocations": "InvokeEndpoint", "async-invocations": "InvokeEndpointAsync"}
# docs, "Serverless Inference", quotas: 4 MB a payload.
SERVERLESS_LIMIT = 4 * 1024 * 1024
CUSTOM = "X-Amzn-SageMaker-Custom-Attributes"
# The runtime's headers, as members of InvokeEndpoint and InvokeEndpointAsync.
REAL_TIME = {"ContentType": "Content-Type", "Accept": "Accept"}
ASYNCHRONOUS = {
    "ContentType": "X-Amzn-SageMaker-Content-Type",
    "Accept": "X-Amzn-SageMaker-Accept",
    "InputLocation": "X-Amzn-SageMaker-InputLocation",
}
COMMON = {
    "CustomAttributes": CUSTOM,
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
    "TargetVariant": "X-Amzn-SageMaker-Target-Variant",
}
Answer = tuple[int, dict[str, str], bytes]


def operation_of(path: str) -> str:
    """The operation that a path means; empty where it means none."""
    return OPERATIONS.get(path.rpartition("/")[2], "")


def serve(world: World, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Answer a request of the runtime.

    Raises:
        AwsError: the answer is an error.
    """
    operation = operation_of(path)
    if not operation:
        raise AwsError("UnknownOperationException", f"The emulator has no {path}", 404)
    names = COMMON | (REAL_TIME if operation == "InvokeEndpoint" else ASYNCHRONOUS)
    request: dict[str, Any] = {member: headers[name] for member, name in names.items() if headers.get(name)}
    request["EndpointName"] = unquote(path.split("/")[2])
    try:
        answer = _answer(world, operation, request, body)
    except AwsError as error:
        world.calls.append(Call(SERVICE, operation, request, error.code))
        raise
    world.calls.append(Call(SERVICE, operation, request))
    return answer


def _answer(world: World, operation: str, request: dict[str, Any], body: bytes) -> Answer:
    check_request(SERVICE, operation, request | ({"Body": ""} if operation == "InvokeEndpoint" else {}))
    name = request["EndpointName"]
    world.faults.before("sagemaker", operation, USER, world.arn(ENDPOINTS, name))
    endpoint = world.tables[ENDPOINTS].get(name)
    if endpoint is None or endpoint.status not in (IN_SERVICE, UPDATING) or endpoint.container is None:
        raise AwsError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
    waits = "AsyncInferenceConfig" in endpoint.configuration.request
    if waits != (operation == "InvokeEndpointAsync"):
        kind = "an asynchronous" if waits else "no asynchronous"
        raise AwsError("ValidationError", f"Endpoint {name} of account {ACCOUNT} is {kind} endpoint.")
    if waits:
        return asynchronous.accept(world, endpoint, request, body)
    return _real_time(world, endpoint, request, body)


def _real_time(world: World, endpoint: Endpoint, request: dict[str, Any], body: bytes) -> Answer:
    limit = SERVERLESS_LIMIT if "ServerlessConfig" in endpoint.variant else world.payload_limit
    if len(body) > limit:
        # The front end's own answer: it has no code but the status.
        raise AwsError("", f"HTTP content length exceeded {limit} bytes.", 413)
    status, headers, answer = endpoint.container.post(body, forwarded(request), world.invoke_timeout)
    if not 200 <= status < 300:
        raise model_error(world, endpoint, status, answer)
    if len(answer) > limit:
        raise model_error(world, endpoint, 0, f"The response exceeds {limit} bytes.".encode())
    told = {"Content-Type": headers.get("content-type") or headers.get("Content-Type", "application/octet-stream")}
    if headers.get(CUSTOM):
        told[CUSTOM] = headers[CUSTOM]
    told["x-Amzn-Invoked-Production-Variant"] = endpoint.variant["VariantName"]
    return 200, told, answer


def forwarded(request: Mapping[str, Any]) -> dict[str, str]:
    """The headers that the container sees."""
    names = {"ContentType": "Content-Type", "Accept": "Accept", "CustomAttributes": CUSTOM}
    headers = {name: request[member] for member, name in names.items() if member in request}
    return {"Content-Type": "application/octet-stream", "X-Amzn-Request-Id": secrets.token_hex(16)} | headers


def model_error(world: World, endpoint: Endpoint, status: int, body: bytes) -> AwsError:
    """What SageMaker makes of a container's answer that is no success; status 0 means that none came."""
    message = body.decode("utf-8", "replace")
    if status == 0 and not message:
        message = (
            "Your invocation timed out while waiting for a response from container primary. Review the latency metrics "
            "for each container in Amazon CloudWatch, resolve the issue, and try again."
        )
    kind = "client" if 400 <= status < 500 else "server"
    group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
    console = f"https://{world.region}.console.aws.amazon.com/cloudwatch/home?region={world.region}"
    text = (
        f'Received {kind} error ({status}) from primary with message "{message}". See '
        f"{console}#logEventViewer:group={group} in account {ACCOUNT} for more information."
    )
    stream = f"arn:aws:logs:{world.region}:{ACCOUNT}:log-group:{group}"
    members = {"OriginalStatusCode": status or 500, "OriginalMessage": message, "LogStreamArn": stream}
    return AwsError("ModelError", text, 424, members)
