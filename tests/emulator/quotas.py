"""Service Quotas: what the account may use of SageMaker, as the test has set it by ``faults.limit``."""

from __future__ import annotations

import hashlib
from typing import Any

from emulator.errors import AwsError
from emulator.world import ACCOUNT, World, operation

SAGEMAKER = "sagemaker"
USAGES = (
    "training job usage",
    "spot training job usage",
    "training warm pool usage",
    "processing job usage",
    "transform job usage",
    "endpoint usage",
)
TYPES = (
    "ml.m5.xlarge", "ml.m5.2xlarge", "ml.c5.xlarge", "ml.c5.2xlarge", "ml.g4dn.xlarge", "ml.g5.xlarge",
    "ml.g5.2xlarge", "ml.g5.12xlarge", "ml.g5.48xlarge", "ml.p3.16xlarge", "ml.p4d.24xlarge", "ml.p5.48xlarge",
)  # fmt: skip
# What an account has of every type unless the test says otherwise.
DEFAULT = 4


def code_of(instance_type: str, usage: str) -> str:
    """The code of a quota; AWS's are as opaque, and none of them is in any API model."""
    return "L-" + hashlib.sha256(f"{instance_type} for {usage}".encode()).hexdigest()[:8].upper()


def _quotas(world: World) -> list[dict[str, Any]]:
    values = {(name, usage): DEFAULT for name in TYPES for usage in USAGES} | world.faults.limits()
    return [_quota(world, name, usage, value) for (name, usage), value in sorted(values.items())]


def _quota(world: World, instance_type: str, usage: str, value: int) -> dict[str, Any]:
    code = code_of(instance_type, usage)
    return {
        "ServiceCode": SAGEMAKER,
        "ServiceName": "Amazon SageMaker",
        "QuotaArn": f"arn:aws:servicequotas:{world.region}:{ACCOUNT}:{SAGEMAKER}/{code}",
        "QuotaCode": code,
        "QuotaName": f"{instance_type} for {usage}",
        "Value": float(value),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


@operation("service-quotas", "ListServiceQuotas")
@operation("service-quotas", "ListAWSDefaultServiceQuotas")
def list_quotas(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """In pages, as there are thousands at AWS."""
    found = _quotas(world) if request["ServiceCode"] == SAGEMAKER else []
    first = int(request.get("NextToken", "0"))
    last = first + request.get("MaxResults", 100)
    return {"Quotas": found[first:last], "NextToken": str(last) if last < len(found) else None}


@operation("service-quotas", "GetServiceQuota")
def get_quota(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """One quota by its code."""
    for quota in _quotas(world):
        if (quota["ServiceCode"], quota["QuotaCode"]) == (request["ServiceCode"], request["QuotaCode"]):
            return {"Quota": quota}
    raise AwsError(
        "NoSuchResourceException", "The request failed because the specified service or quota does not exist."
    )
