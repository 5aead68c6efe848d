"""What a step occupies: kind and number of machines, and for how long at most; read off its request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_launch.serving import ASYNC, REALTIME, SERVERLESS
from sm_launch.steps import Step


def fleet_of(step: Step) -> dict[str, Any]:
    """Facts of a step for the run's manifest, by which costs are told later without asking AWS again.

    Returns:
        instance_type, instance_count, spot and keep_alive_s of a job or an endpoint; mode and kms_key of an endpoint
        configuration; storage_gib and deployment of a file system; endpoint_config of an endpoint; nothing else.
    """
    request = step.request
    if step.operation == "CreateTrainingJob":
        return _resources(request)
    if step.operation == "CreateHyperParameterTuningJob":
        return _resources(request["TrainingJobDefinition"])
    if step.operation == "CreateProcessingJob":
        cluster = request["ProcessingResources"]["ClusterConfig"]
        return {"instance_type": cluster["InstanceType"], "instance_count": cluster["InstanceCount"]}
    if step.operation == "CreateTransformJob":
        cluster = request["TransformResources"]
        return {"instance_type": cluster["InstanceType"], "instance_count": cluster["InstanceCount"]}
    if step.operation == "CreateEndpointConfig":
        return {**_variant(request["ProductionVariants"][0]), **_mode(request)}
    if step.operation == "CreateEndpoint":
        return {"endpoint_config": request["EndpointConfigName"]}
    if step.operation == "CreateFileSystem":
        return {
            "storage_gib": request["StorageCapacity"],
            "deployment": request["LustreConfiguration"]["DeploymentType"],
            "throughput": request["LustreConfiguration"].get("PerUnitStorageThroughput"),
            "run": request["ClientRequestToken"],
        }
    return {}


def _resources(request: Mapping[str, Any]) -> dict[str, Any]:
    """Of a training job or the trials' definition."""
    config = request["ResourceConfig"]
    return {
        "instance_type": config["InstanceType"],
        "instance_count": config["InstanceCount"],
        "spot": bool(request.get("EnableManagedSpotTraining")),
        "keep_alive_s": config.get("KeepAlivePeriodInSeconds", 0),
        "metrics": request["AlgorithmSpecification"].get("MetricDefinitions", []),
    }


def _variant(variant: Mapping[str, Any]) -> dict[str, Any]:
    """Of an endpoint's first variant."""
    if "ServerlessConfig" in variant:
        return {"serverless_mb": variant["ServerlessConfig"]["MemorySizeInMB"]}
    return {"instance_type": variant["InstanceType"], "instance_count": variant["InitialInstanceCount"]}


def _mode(request: Mapping[str, Any]) -> dict[str, Any]:
    """How an endpoint configuration takes cases, and by which key they are encrypted on their way."""
    if "AsyncInferenceConfig" in request:
        output = request["AsyncInferenceConfig"]["OutputConfig"]
        return {"mode": ASYNC, "kms_key": output.get("KmsKeyId")}
    return {"mode": SERVERLESS if "ServerlessConfig" in request["ProductionVariants"][0] else REALTIME}
