"""Endpoints: Create, Update, Describe, Delete, List; behind each runs a real serving process."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from emulator.accounts import check_capacity
from emulator.configurations import CONFIGURATIONS
from emulator.configurations import WHAT as CONFIGURATION
from emulator.containers import Container
from emulator.errors import already_exists, invalid
from emulator.listing import pages
from emulator.logs import ENDPOINTS as LOG_GROUPS
from emulator.logs import Shipper
from emulator.models import MODELS, Resource, find_resource
from emulator.world import World, now, operation
from sm_launch.errors import LaunchError

ENDPOINTS = "endpoint"
CREATING, UPDATING, IN_SERVICE, DELETING, FAILED = "Creating", "Updating", "InService", "Deleting", "Failed"
NOT_HEALTHY = (
    "The primary container for production variant {variant} did not pass the ping health check. Please check "
    "CloudWatch logs for this endpoint."
)


@dataclass
class Endpoint:
    """An endpoint and the container of its first variant."""

    name: str
    arn: str
    configuration: Resource
    status: str = CREATING
    failure: str | None = None
    container: Container | None = None
    created: datetime = field(default_factory=now)
    modified: datetime = field(default_factory=now)

    @property
    def variant(self) -> dict[str, Any]:
        """The first variant."""
        return self.configuration.request["ProductionVariants"][0]

    @property
    def instances(self) -> list[tuple[str, int]]:
        """Instance types and counts that it holds."""
        return _instances(self.configuration)


def _instances(configuration: Resource) -> list[tuple[str, int]]:
    variants = configuration.request["ProductionVariants"]
    return [(each["InstanceType"], each.get("InitialInstanceCount", 1)) for each in variants if "InstanceType" in each]


@operation("sagemaker", "CreateEndpoint")
def create(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Start the container; the answer does not wait for it."""
    name = request["EndpointName"]
    configuration = find_resource(world, CONFIGURATIONS, request["EndpointConfigName"], CONFIGURATION)
    check_capacity(world, ENDPOINTS, "endpoint usage", _instances(configuration))
    with world.lock:
        arn = world.arn(ENDPOINTS, name)
        if name in world.tables[ENDPOINTS]:
            raise already_exists("endpoint", arn)
        endpoint = world.tables[ENDPOINTS][name] = Endpoint(name, arn, configuration)
        world.tags[arn] = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
    world.begin(lambda: _start(world, endpoint))
    return {"EndpointArn": endpoint.arn}


def _start(world: World, endpoint: Endpoint, before: Resource | None = None) -> None:
    """Start the container of the endpoint's configuration; ``before`` is the one to go back to if that fails."""
    world.pause()
    world.pause(world.faults.endpoint_delay(endpoint.name))
    old, variant = endpoint.container, endpoint.variant["VariantName"]
    shipper = Shipper(world, f"{LOG_GROUPS}/{endpoint.name}")
    container, failure = None, world.faults.endpoint_failure(endpoint.name)
    try:
        if failure is None:
            model = find_resource(world, MODELS, endpoint.variant["ModelName"], "model").request
            folder = world.folder / ENDPOINTS / f"{endpoint.name}-{secrets.token_hex(4)}"
            container = Container(world, model, folder, shipper, f"{variant}/i-{secrets.token_hex(8)}")
            container.wait_ready()
    except LaunchError as error:
        shipper.put(f"{variant}/start", str(error), now())
        failure = NOT_HEALTHY.format(variant=variant)
    finally:
        shipper.close()
    unwanted = old if failure is None else container
    if unwanted is not None:
        unwanted.stop()
    if failure is None:
        endpoint.container = container
    elif before is not None:
        endpoint.configuration = before
    endpoint.failure, endpoint.modified = failure, now()
    endpoint.status = FAILED if failure and before is None else IN_SERVICE


@operation("sagemaker", "UpdateEndpoint")
def update(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """A new container takes over when it is ready."""
    endpoint = find_resource(world, ENDPOINTS, request["EndpointName"], "endpoint")
    configuration = find_resource(world, CONFIGURATIONS, request["EndpointConfigName"], CONFIGURATION)
    _refuse_in_progress(endpoint)
    before = endpoint.configuration
    endpoint.configuration, endpoint.status, endpoint.modified = configuration, UPDATING, now()
    world.begin(lambda: _start(world, endpoint, before))
    return {"EndpointArn": endpoint.arn}


@operation("sagemaker", "DescribeEndpoint")
def describe(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Variants are told once they are in service."""
    endpoint = find_resource(world, ENDPOINTS, request["EndpointName"], "endpoint")
    variants = [_variant(each) for each in endpoint.configuration.request["ProductionVariants"]]
    return {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": endpoint.configuration.name,
        "ProductionVariants": variants if endpoint.status == IN_SERVICE else None,
        "EndpointStatus": endpoint.status,
        "FailureReason": endpoint.failure,
        "CreationTime": endpoint.created,
        "LastModifiedTime": endpoint.modified,
        "AsyncInferenceConfig": endpoint.configuration.request.get("AsyncInferenceConfig"),
    }


def _variant(variant: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"VariantName": variant["VariantName"], "CurrentWeight": 1.0, "DesiredWeight": 1.0}
    if "ServerlessConfig" in variant:
        return told | {"CurrentServerlessConfig": variant["ServerlessConfig"]}
    count = variant.get("InitialInstanceCount", 1)
    return told | {"CurrentInstanceCount": count, "DesiredInstanceCount": count}


@operation("sagemaker", "DeleteEndpoint")
def delete(world: World, request: dict[str, Any]) -> None:
    """Stops the container; the name is free when that is done."""
    endpoint = find_resource(world, ENDPOINTS, request["EndpointName"], "endpoint")
    _refuse_in_progress(endpoint)
    endpoint.status, endpoint.modified = DELETING, now()

    def vanish() -> None:
        world.pause()
        if endpoint.container is not None:
            endpoint.container.stop()
        _deregister(world, endpoint)
        with world.lock:
            world.tables[ENDPOINTS].pop(endpoint.name, None)
            world.tags.pop(endpoint.arn, None)

    world.begin(vanish)


def _deregister(world: World, endpoint: Endpoint) -> None:
    """The endpoint's scalable targets and their policies go with it (docs, "Delete endpoints configured for auto
    scaling"); alarms stay."""
    scaling = world.clients("application-autoscaling")
    place = {"ServiceNamespace": "sagemaker"}
    for policy in scaling.describe_scaling_policies(**place)["ScalingPolicies"]:
        if policy["ResourceId"].split("/")[1] == endpoint.name:
            names = {key: policy[key] for key in ("PolicyName", "ResourceId", "ScalableDimension")}
            scaling.delete_scaling_policy(**place, **names)
    for target in scaling.describe_scalable_targets(**place)["ScalableTargets"]:
        if target["ResourceId"].split("/")[1] == endpoint.name:
            names = {key: target[key] for key in ("ResourceId", "ScalableDimension")}
            scaling.deregister_scalable_target(**place, **names)


def _refuse_in_progress(endpoint: Endpoint) -> None:
    if endpoint.status in (CREATING, UPDATING, DELETING):
        raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')


@operation("sagemaker", "ListEndpoints")
def list_endpoints(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Newest first."""

    def summary(endpoint: Endpoint) -> dict[str, Any]:
        return {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
            "EndpointStatus": endpoint.status,
        }

    return pages(world.tables[ENDPOINTS].values(), request, summary, "Endpoints")
