"""AddTags, ListTags and DeleteTags of SageMaker."""

from __future__ import annotations

from typing import Any

from emulator.errors import invalid
from emulator.world import World, operation


def _tags(world: World, arn: str) -> dict[str, str]:
    if arn not in world.tags:
        raise invalid(f"Could not find the resource {arn}.")
    return world.tags[arn]


@operation("sagemaker", "AddTags")
def add_tags(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Tags of one key replace each other."""
    tags = _tags(world, request["ResourceArn"])
    tags.update({tag["Key"]: tag["Value"] for tag in request["Tags"]})
    return {"Tags": as_list(tags)}


@operation("sagemaker", "ListTags")
def list_tags(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """All in one page: the API allows 50 tags."""
    return {"Tags": as_list(_tags(world, request["ResourceArn"]))}


@operation("sagemaker", "DeleteTags")
def delete_tags(world: World, request: dict[str, Any]) -> None:
    """Absent keys are no error."""
    tags = _tags(world, request["ResourceArn"])
    for key in request["TagKeys"]:
        tags.pop(key, None)


def as_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as the API has them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
