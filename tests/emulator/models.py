"""Models: Create, Describe, Delete, List."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from emulator.accounts import check_role
from emulator.errors import already_exists, could_not_find, invalid
from emulator.listing import pages
from emulator.shapes import echo
from emulator.world import World, now, operation
from sm_launch.local import S3Store

MODELS = "model"


@dataclass
class Resource:
    """Something with a name and no life of its own: a model, an endpoint configuration."""

    name: str
    arn: str
    request: Mapping[str, Any]
    created: datetime = field(default_factory=now)
    modified: datetime = field(default_factory=now)


def add_resource(world: World, kind: str, name: str, request: Mapping[str, Any], what: str) -> Resource:
    """Take a new one into the account.

    Raises:
        AwsError: the name is taken.
    """
    with world.lock:
        arn = world.arn(kind, name)
        if name in world.tables[kind]:
            raise already_exists(what, arn)
        world.tags[arn] = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
        return world.tables[kind].setdefault(name, Resource(name, arn, request))


def find_resource(world: World, kind: str, name: str, what: str) -> Any:
    """The one of a name.

    Raises:
        AwsError: there is none.
    """
    found = world.tables[kind].get(name)
    if found is None:
        raise could_not_find(what, world.arn(kind, name))
    return found


def remove_resource(world: World, kind: str, name: str, what: str) -> None:
    """Delete the one of a name.

    Raises:
        AwsError: there is none.
    """
    found = find_resource(world, kind, name, what)
    with world.lock:
        world.tables[kind].pop(name, None)
        world.tags.pop(found.arn, None)


def model_data(container: Mapping[str, Any]) -> str | None:
    """Where a container's model lies in S3."""
    return container.get("ModelDataUrl") or container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri")


@operation("sagemaker", "CreateModel")
def create(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """The role and the model's object must be there."""
    if "ExecutionRoleArn" in request:
        check_role(world, request["ExecutionRoleArn"])
    containers = request.get("Containers") or [request.get("PrimaryContainer", {})]
    for container in containers:
        uri = model_data(container)
        if uri is not None and not S3Store(world.clients("s3")).list(uri):
            raise invalid(f"Could not find model data at {uri}.")
    return {"ModelArn": add_resource(world, MODELS, request["ModelName"], request, "model").arn}


@operation("sagemaker", "DescribeModel")
def describe(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """The request and its time."""
    model = find_resource(world, MODELS, request["ModelName"], "model")
    return {
        **echo(model.request, "DescribeModel"),
        "ModelName": model.name,
        "ModelArn": model.arn,
        "CreationTime": model.created,
        "EnableNetworkIsolation": model.request.get("EnableNetworkIsolation", False),
    }


@operation("sagemaker", "DeleteModel")
def delete(world: World, request: dict[str, Any]) -> None:
    """Endpoints that run go on."""
    remove_resource(world, MODELS, request["ModelName"], "model")


@operation("sagemaker", "ListModels")
def list_models(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Newest first."""

    def summary(model: Resource) -> dict[str, Any]:
        return {"ModelName": model.name, "ModelArn": model.arn, "CreationTime": model.created}

    return pages(world.tables[MODELS].values(), request, summary, "Models")
