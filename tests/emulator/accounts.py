"""What SageMaker checks of other services when a request names them: the role, and objects in S3."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from emulator.errors import invalid
from emulator.world import World

PRINCIPAL = "sagemaker.amazonaws.com"


def check_role(world: World, arn: str) -> None:
    """Refuse a role that is not there or that SageMaker may not take.

    Raises:
        AwsError: ValidationException.
    """
    refused = invalid(
        f"Could not assume role {arn}. Please ensure that the role exists and allows principal '{PRINCIPAL}' to assume "
        "the role."
    )
    try:
        role = world.clients("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"]
    except ClientError as error:
        raise refused from error
    if role["Arn"] != arn or PRINCIPAL not in json.dumps(role["AssumeRolePolicyDocument"]):
        raise refused


def check_capacity(world: World, kind: str, usage: str, resources: list[tuple[str, int]]) -> None:
    """Hold a job's instances against the quotas that the test has set.

    Args:
        kind: the table of jobs or endpoints that use instances of this quota.
        usage: as in the quota's name.
        resources: instance type and count of the request.

    Raises:
        AwsError: ResourceLimitExceeded.
    """
    with world.lock:
        busy = [each for item in world.tables[kind].values() for each in instances_of(item)]
    for instance_type, count in resources:
        used = sum(number for name, number in busy if name == instance_type)
        world.faults.check_limit(instance_type, usage, count, used)


def instances_of(item: Any) -> list[tuple[str, int]]:
    """Instance types and counts that a running job or endpoint holds."""
    return [] if item.status in ("Completed", "Failed", "Stopped") else item.instances
