"""Endpoint configurations: Create, Describe, Delete, List."""

from __future__ import annotations

from typing import Any

from emulator.errors import invalid
from emulator.listing import pages
from emulator.models import MODELS, Resource, add_resource, find_resource, remove_resource
from emulator.shapes import echo
from emulator.world import World, operation

CONFIGURATIONS = "endpoint-config"
WHAT = "endpoint configuration"


@operation("sagemaker", "CreateEndpointConfig")
def create(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """The models must be there; serverless and asynchronous exclude each other."""
    for variant in request["ProductionVariants"]:
        find_resource(world, MODELS, variant.get("ModelName", ""), "model")
        if "ServerlessConfig" in variant and "AsyncInferenceConfig" in request:
            raise invalid("AsyncInferenceConfig is not supported with ServerlessConfig.")
        if "ServerlessConfig" not in variant and not {"InstanceType", "InstancePools"} & variant.keys():
            raise invalid("Missing required parameter: InstanceType or ServerlessConfig must be specified.")
    name = request["EndpointConfigName"]
    return {"EndpointConfigArn": add_resource(world, CONFIGURATIONS, name, request, WHAT).arn}


@operation("sagemaker", "DescribeEndpointConfig")
def describe(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """The request and its time."""
    found = find_resource(world, CONFIGURATIONS, request["EndpointConfigName"], WHAT)
    return {
        **echo(found.request, "DescribeEndpointConfig"),
        "EndpointConfigName": found.name,
        "EndpointConfigArn": found.arn,
        "CreationTime": found.created,
        "EnableNetworkIsolation": found.request.get("EnableNetworkIsolation", False),
    }


@operation("sagemaker", "DeleteEndpointConfig")
def delete(world: World, request: dict[str, Any]) -> None:
    """Endpoints that run go on."""
    remove_resource(world, CONFIGURATIONS, request["EndpointConfigName"], WHAT)


@operation("sagemaker", "ListEndpointConfigs")
def list_configurations(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Newest first."""

    def summary(found: Resource) -> dict[str, Any]:
        return {
            "EndpointConfigName": found.name,
            "EndpointConfigArn": found.arn,
            "CreationTime": found.created,
        }

    return pages(world.tables[CONFIGURATIONS].values(), request, summary, "EndpointConfigs")
