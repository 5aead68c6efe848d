"""A trained model as an endpoint (asynchronous, real-time or serverless) or as a batch transform job.

Nothing here was tried on AWS; the requests are valid by botocore's API model.
"""

from __future__ import annotations

from typing import Any

from sm_launch.requests_scaling import scaling_steps
from sm_launch.serving import ASYNC, BATCH, LONGEST_INVOCATION_S, REALTIME, SERVERLESS, VARIANT, Serving, check
from sm_launch.steps import Step

__all__ = ["ASYNC", "BATCH", "REALTIME", "SERVERLESS", "Serving", "serving_steps"]

# Volumes or pictures: the container looks at the bytes, and answers with what the bundle writes.
ANY = "application/octet-stream"
# The container's own limit, in its MB of 2**20 bytes; AWS refuses first.
_CONTAINER_MB = {REALTIME: 25, SERVERLESS: 6, ASYNC: 1024, BATCH: 100}
# API reference, CreateTransformJob: MaxPayloadInMB times MaxConcurrentTransforms is at most 100. The container computes
# one case at a time, so it gets one.
_BATCH_PAYLOAD_MB, _BATCH_CONCURRENT = 100, 1
# Time to unpack the artifact, import PyTorch and compute a first case (botocore's model: 60 to 3600).
_STARTUP_S = 900


def serving_steps(serving: Serving) -> list[Step]:
    """Every call that a deployment takes, in order.

    Raises:
        LaunchError: the values contradict each other.
    """
    check(serving)
    model = Step("sagemaker", "CreateModel", model_request(serving), "model", serving.model_name)
    if serving.mode == BATCH:
        request = transform_request(serving)
        name, hours = serving.transform_name, serving.expected_hours
        return [model, Step("sagemaker", "CreateTransformJob", request, "transform-job", name, True, hours)]
    # Scaling can only be registered once the endpoint is in service.
    endpoint = Step(
        "sagemaker", "CreateEndpoint", endpoint_request(serving), "endpoint", serving.endpoint_name, wait=True
    )
    config = Step(
        "sagemaker", "CreateEndpointConfig", endpoint_config_request(serving), "endpoint-config", serving.config_name
    )
    if not serving.max_instances:
        return [model, config, endpoint]
    return [model, config, endpoint, *scaling_steps(serving)]


def model_request(serving: Serving) -> dict[str, Any]:
    """CreateModel."""
    container: dict[str, Any] = {"Image": serving.image, "Environment": container_environment(serving)}
    if serving.model_uri.endswith(".tar.gz"):
        container["ModelDataUrl"] = serving.model_uri
    else:
        source = {"S3Uri": serving.model_uri.rstrip("/") + "/", "S3DataType": "S3Prefix", "CompressionType": "None"}
        container["ModelDataSource"] = {"S3DataSource": source}
    request: dict[str, Any] = {
        "ModelName": serving.model_name,
        "PrimaryContainer": container,
        "ExecutionRoleArn": serving.role,
        "Tags": serving.tag_list(),
    }
    if serving.mode != SERVERLESS:
        request["EnableNetworkIsolation"] = serving.network_isolation
    if serving.subnets or serving.security_groups:
        request["VpcConfig"] = {
            "SecurityGroupIds": list(serving.security_groups),
            "Subnets": list(serving.subnets),
        }
    return request


def container_environment(serving: Serving) -> dict[str, str]:
    """What the container is told; the spec's own variables win."""
    environment = {"BUNDLE_CONFIG": serving.config, "MAX_BODY_MB": str(_CONTAINER_MB[serving.mode])}
    if serving.manifest_sha256:
        environment["MANIFEST_SHA256"] = serving.manifest_sha256
    return environment | dict(serving.environment)


def endpoint_config_request(serving: Serving) -> dict[str, Any]:
    """CreateEndpointConfig."""
    variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": serving.model_name, "InitialVariantWeight": 1.0}
    if serving.mode == SERVERLESS:
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": serving.memory_mb,
            "MaxConcurrency": serving.max_concurrency,
        }
    else:
        variant |= {
            "InstanceType": serving.instance_type,
            "InitialInstanceCount": serving.instance_count,
            "ContainerStartupHealthCheckTimeoutInSeconds": _STARTUP_S,
        }
        if serving.inference_ami:
            variant["InferenceAmiVersion"] = serving.inference_ami
    request: dict[str, Any] = {
        "EndpointConfigName": serving.config_name,
        "ProductionVariants": [variant],
        "Tags": serving.tag_list(),
    }
    if serving.volume_kms_key and serving.mode != SERVERLESS:
        request["KmsKeyId"] = serving.volume_kms_key
    if serving.mode == ASYNC:
        output = serving.output_uri.rstrip("/")
        request["AsyncInferenceConfig"] = {
            # The container computes one case at a time.
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1},
            "OutputConfig": {
                "S3OutputPath": f"{output}/answers",
                "S3FailurePath": f"{output}/failures",
                **_key("KmsKeyId", serving.output_kms_key),
            },
        }
    return request


def endpoint_request(serving: Serving) -> dict[str, Any]:
    """CreateEndpoint."""
    return {
        "EndpointName": serving.endpoint_name,
        "EndpointConfigName": serving.config_name,
        "Tags": serving.tag_list(),
    }


def transform_request(serving: Serving) -> dict[str, Any]:
    """CreateTransformJob: every object below the input prefix is one request, its answer lies at KEY.out."""
    return {
        "TransformJobName": serving.transform_name,
        "ModelName": serving.model_name,
        "MaxConcurrentTransforms": _BATCH_CONCURRENT,
        "MaxPayloadInMB": _BATCH_PAYLOAD_MB,
        "BatchStrategy": "SingleRecord",
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": LONGEST_INVOCATION_S, "InvocationsMaxRetries": 1},
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": serving.input_uri}},
            "ContentType": ANY,
            # Gzip would have the platform inflate the files; the container does that, with a limit.
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": serving.output_uri,
            "Accept": "*/*",
            "AssembleWith": "None",
            **_key("KmsKeyId", serving.output_kms_key),
        },
        "TransformResources": {
            "InstanceType": serving.instance_type,
            "InstanceCount": serving.instance_count,
            **_key("VolumeKmsKeyId", serving.volume_kms_key),
        },
        "Tags": serving.tag_list(),
    }


def _key(name: str, key: str | None) -> dict[str, str]:
    return {name: key} if key else {}
