"""Rules of endpoints and batch transform, and how large a request each of them takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sm_launch.serving import MB, PAYLOAD_BYTES, REALTIME
from sm_launch.steps import Plan
from sm_launch.views import CREATE_ENDPOINT_CONFIG, CREATE_TRANSFORM, of

# API reference, ProductionVariantServerlessConfig.MemorySizeInMB.
_MEMORY_STEP, _MEMORY_LIMIT = 1024, 6144
# API reference, CreateTransformJob.MaxPayloadInMB.
_TRANSFORM_LIMIT_MB, _TRANSFORM_DEFAULT_MB = 100, 6
# docs, "Serverless Inference", feature exclusions; request members that stand for them.
_NOT_SERVERLESS = ("AsyncInferenceConfig", "DataCaptureConfig", "VpcConfig", "EnableNetworkIsolation")
_REGISTER = "RegisterScalableTarget"
_WAKING_METRIC = "HasBacklogWithoutCapacity"


def variant_machines(plan: Plan) -> Iterator[str]:
    """A variant of an endpoint has either an instance type or a serverless configuration."""
    for name, place, variant, _ in _variants(plan):
        given = [key for key in ("InstanceType", "ServerlessConfig", "InstancePools") if key in variant]
        if len(given) != 1:
            yield (
                f"{name}: {place} has {' and '.join(given) or 'no machines'}, and AWS takes either InstanceType or "
                f"ServerlessConfig; give one."
            )


def serverless_memory(plan: Plan) -> Iterator[str]:
    """Serverless memory is 1024 to 6144 MB in steps of 1024 (API reference, ProductionVariantServerlessConfig)."""
    for name, place, variant, _ in _variants(plan):
        memory = variant.get("ServerlessConfig", {}).get("MemorySizeInMB")
        if memory is not None and (memory % _MEMORY_STEP or not 0 < memory <= _MEMORY_LIMIT):
            yield (
                f"{name}: {place}.ServerlessConfig.MemorySizeInMB is {memory}, and AWS takes 1024 to {_MEMORY_LIMIT} "
                f"in steps of {_MEMORY_STEP}; a volume that needs more goes to an async endpoint."
            )


def serverless_limits(plan: Plan) -> Iterator[str]:
    """Serverless has no GPU, VPC, isolation, data capture or async queue (docs, "Serverless Inference")."""
    for name, place, variant, request in _variants(plan):
        given = [key for key in _NOT_SERVERLESS if request.get(key)]
        if "ServerlessConfig" in variant and given:
            yield (
                f"{name}: {place} is serverless and the endpoint has {', '.join(given)}, which serverless inference "
                f"doesn't offer; remove it or take an instance type."
            )


def scale_to_zero(plan: Plan) -> Iterator[str]:
    """Only async endpoints scale to zero machines (docs, "Autoscale an asynchronous endpoint")."""
    queued = any("AsyncInferenceConfig" in step.request for step in of(plan, CREATE_ENDPOINT_CONFIG))
    for step in of(plan, _REGISTER):
        if step.request.get("MinCapacity") == 0 and not queued and list(of(plan, CREATE_ENDPOINT_CONFIG)):
            yield (
                f"{step.name}: MinCapacity is 0, and only an async endpoint scales to zero; set it to 1 or deploy an "
                f"async endpoint."
            )


def transform_payload(plan: Plan) -> Iterator[str]:
    """A transform holds at most 100 MB of requests at once (API reference, CreateTransformJob.MaxPayloadInMB)."""
    for step in of(plan, CREATE_TRANSFORM):
        payload = step.request.get("MaxPayloadInMB", _TRANSFORM_DEFAULT_MB)
        concurrent = step.request.get("MaxConcurrentTransforms", 1)
        if payload * concurrent > _TRANSFORM_LIMIT_MB:
            yield (
                f"{step.name}: MaxPayloadInMB {payload} x MaxConcurrentTransforms {concurrent} is "
                f"{payload * concurrent}, and AWS takes {_TRANSFORM_LIMIT_MB} MB at most; lower one of them."
            )


def transform_payload_default(plan: Plan) -> Iterator[str]:
    """Says when a transform would refuse any volume above the API's default of 6 MB."""
    for step in of(plan, CREATE_TRANSFORM):
        if "MaxPayloadInMB" not in step.request:
            yield (
                f"{step.name}: MaxPayloadInMB is absent, and AWS then refuses a case above {_TRANSFORM_DEFAULT_MB} MB; "
                f"a four-modality volume has about 10."
            )


def realtime_limits(plan: Plan) -> Iterator[str]:
    """Says when an endpoint is real-time, which takes 25 MB and 60 s and bills while idle."""
    for name, place, variant, request in _variants(plan):
        if "InstanceType" in variant and "AsyncInferenceConfig" not in request:
            yield (
                f"{name}: {place} is real-time: a request takes {PAYLOAD_BYTES[REALTIME] // MB} MB and 60 s at most, "
                f"and the machines bill while idle; async takes 1 GB and scales to zero."
            )


def scale_from_zero(plan: Plan) -> Iterator[str]:
    """Says when an async endpoint at zero machines would not wake for a single request."""
    for step in of(plan, _REGISTER):
        woken = any(_WAKING_METRIC in str(other.request) for other in plan.steps)
        if step.request.get("MinCapacity") == 0 and not woken:
            yield (
                f"{step.name}: MinCapacity is 0 and no policy listens to {_WAKING_METRIC}, so a few requests may wait "
                f"until the backlog metric's target is passed; add a step scaling policy on it."
            )


def _variants(plan: Plan) -> Iterator[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]:
    for step in of(plan, CREATE_ENDPOINT_CONFIG):
        for key in ("ProductionVariants", "ShadowProductionVariants"):
            for index, variant in enumerate(step.request.get(key, ())):
                yield step.name, f"{key}[{index}]", variant, step.request
