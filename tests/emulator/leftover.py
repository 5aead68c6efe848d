"""Everything that exists in the account, of all services, so that a test can say that nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from emulator.configurations import CONFIGURATIONS
from emulator.endpoints import ENDPOINTS
from emulator.filesystems import ASSOCIATIONS, SYSTEMS
from emulator.jobs import ENDED, PROCESSING, TRAINING, TRANSFORM, TUNING
from emulator.models import MODELS
from emulator.training import warm_pool
from emulator.world import World

JOBS = (TRAINING, PROCESSING, TRANSFORM, TUNING)


@dataclass(frozen=True, order=True)
class Left:
    """Something that exists.

    Attributes:
        service: boto3's name of its service.
        kind: what it is.
        name: its name or id.
        billed: False for what AWS keeps as a record at no cost: ended jobs, log groups.
    """

    service: str
    kind: str
    name: str
    billed: bool = True


def everything_left(world: World) -> list[Left]:
    """All resources of all services, sorted; the default VPC and AWS's own keys are no one's making."""
    found = [
        Left("sagemaker", kind, name) for kind in (MODELS, CONFIGURATIONS, ENDPOINTS) for name in world.tables[kind]
    ]
    for kind in JOBS:
        found += [Left("sagemaker", kind, job.name, job.status not in ENDED) for job in world.tables[kind].values()]
    pools = ((job.name, warm_pool(job)) for job in world.tables[TRAINING].values())
    found += [Left("sagemaker", "warm-pool", name) for name, pool in pools if pool and pool["Status"] == "Available"]
    found += [Left("fsx", kind, name) for kind in (SYSTEMS, ASSOCIATIONS) for name in world.tables[kind]]
    return sorted([*found, *_served_by_moto(world)])


def _served_by_moto(world: World) -> Iterator[Left]:
    for service, kind, operation, path, name in _LISTS:
        pages = _pages(world.clients(service), operation)
        for page in pages:
            yield from (Left(service, kind, each[name] if name else each, True) for each in page.get(path, ()))
    s3 = world.clients("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        yield Left("s3", "bucket", bucket["Name"])
        for version in s3.get_paginator("list_object_versions").paginate(Bucket=bucket["Name"]):
            for each in [*version.get("Versions", ()), *version.get("DeleteMarkers", ())]:
                yield Left("s3", "object", f"{bucket['Name']}/{each['Key']}")
        for upload in s3.list_multipart_uploads(Bucket=bucket["Name"]).get("Uploads", ()):
            yield Left("s3", "multipart-upload", f"{bucket['Name']}/{upload['Key']}")
    for group in world.clients("logs").describe_log_groups()["logGroups"]:
        yield Left("logs", "log-group", group["logGroupName"], False)
    scaling = world.clients("application-autoscaling")
    for target in scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]:
        yield Left("application-autoscaling", "scalable-target", target["ResourceId"])
    for policy in scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]:
        yield Left("application-autoscaling", "scaling-policy", policy["PolicyName"])


# Service, kind, operation, the answer's member that lists them, the member that names one ("" for a list of names).
_LISTS = (
    ("iam", "role", "list_roles", "Roles", "RoleName"),
    ("ecr", "repository", "describe_repositories", "repositories", "repositoryName"),
    ("codebuild", "project", "list_projects", "projects", ""),
    ("kms", "key", "list_keys", "Keys", "KeyId"),
    ("cloudwatch", "alarm", "describe_alarms", "MetricAlarms", "AlarmName"),
)


def _pages(client: Any, operation: str) -> Iterator[dict[str, Any]]:
    if client.can_paginate(operation):
        yield from client.get_paginator(operation).paginate()
    else:
        yield getattr(client, operation)()
