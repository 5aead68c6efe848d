"""What the statements of both policies are made of: resources by ARN, from the names, keys and prefixes of the plan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sm_launch.images import partition
from sm_launch.rules_storage import texts
from sm_launch.steps import Plan
from sm_launch.table import table

Statement = dict[str, Any]

# Members that say where SageMaker writes to, and parts whose S3Uri does (API reference of the Create calls).
_WRITTEN = ("S3OutputPath", "S3FailurePath", "DestinationS3Uri")
_WRITTEN_PARTS = ("S3Output", "CheckpointConfig")
_S3 = re.compile(r"s3://([^/\s]+)(?:/(\S*))?")


def statement(
    actions: Sequence[str], resources: Sequence[str] | None, conditions: Mapping[str, Mapping[str, Any]] | None = None
) -> Statement:
    """One Allow statement; ``resources`` is None where the API has none for these actions."""
    made: Statement = {
        "Effect": "Allow",
        "Action": list(dict.fromkeys(actions)),
        "Resource": ["*"] if resources is None else list(dict.fromkeys(resources)),
    }
    if conditions:
        made["Condition"] = {operator: dict(keys) for operator, keys in conditions.items()}
    return made


def condition_keys(action: str) -> frozenset[str]:
    """Condition keys that AWS knows for an action, of those that policies here may use."""
    return frozenset(table("iam_actions")["actions"][action].get("conditions", ()))


def keys_of(request: Any, member: str) -> list[str]:
    """Every value of ``member`` anywhere in a request, in order, each once."""
    found: list[str] = []
    if isinstance(request, Mapping):
        for name, part in request.items():
            if name == member and isinstance(part, str):
                found.append(part)
            else:
                found += keys_of(part, member)
    elif isinstance(request, (list, tuple)):
        for part in request:
            found += keys_of(part, member)
    return list(dict.fromkeys(found))


def key_statements(
    plan: Plan, account: str, members: Sequence[str], calls: Sequence[str], grants: bool = True
) -> Iterator[Statement]:
    """The right to use the plan's KMS keys.

    Args:
        plan: the plan.
        account: the AWS account.
        members: members of requests that name keys.
        calls: KMS's calls.
        grants: whether SageMaker and FSx shall encrypt volumes, which they do through a grant; no other may be made.
    """
    name, _ = partition(plan.region)
    given = [key for step in plan.steps for member in members for key in keys_of(step.request, member)]
    given += [plan.kms_key] if plan.kms_key else []
    aliases = sorted({f"alias/{key.partition('alias/')[2]}" for key in given if "alias/" in key})
    home = f"arn:{name}:kms:{plan.region}:{account}:key"
    arns = sorted({key if key.startswith("arn:") else f"{home}/{key}" for key in given if "alias/" not in key})
    # A policy cannot name an alias as a resource, only ask that the key has it (IAM User Guide, kms:ResourceAliases).
    wanted = [(arns, {})] if arns else []
    wanted += [([f"{home}/*"], {"ForAnyValue:StringEquals": {"kms:ResourceAliases": aliases}})] if aliases else []
    for resources, condition in wanted:
        yield statement([f"kms:{call}" for call in calls], resources, condition)
        if grants:
            yield statement(["kms:CreateGrant"], resources, condition | {"Bool": {"kms:GrantIsForAWSResource": "true"}})


def object_arns(plan: Plan, uris: Iterable[str], whole_run: bool = True) -> list[str]:
    """ARNs of the objects below the URIs.

    Args:
        plan: the plan.
        uris: s3://BUCKET/KEY each.
        whole_run: the run's whole prefix stands for every key with the run's id in it, which makes a short policy.
    """
    name, _ = partition(plan.region)
    arns = set()
    for uri in uris:
        found = _S3.match(uri)
        if not found:
            continue
        bucket, key = found[1], found[2] or ""
        parts = key.split("/")
        if whole_run and bucket == plan.bucket and plan.run in parts:
            key = "/".join(parts[: parts.index(plan.run) + 1]) + "/"
        arns.add(f"arn:{name}:s3:::{bucket}/{key}*")
    # A longer prefix below a shorter one says nothing more.
    return sorted(arn for arn in arns if not any(arn != one and arn.startswith(one.rstrip("*")) for one in arns))


def brought_uris(plan: Plan) -> list[str]:
    """Where the plan itself puts files: its uploads and the folders that it copies."""
    return [upload.uri for upload in plan.uploads] + [copy.uri for copy in plan.copies]


def request_uris(plan: Plan) -> Iterator[str]:
    """Every s3:// URI in the requests of SageMaker's and FSx's calls."""
    for step in plan.steps:
        if step.service in ("sagemaker", "fsx"):
            for _, text in texts(step.request):
                yield from (found[0] for found in _S3.finditer(text))


def buckets(plan: Plan) -> list[str]:
    """Every bucket that the plan's jobs and endpoints read or write, the run's own first."""
    others = {uri.removeprefix("s3://").split("/", 1)[0] for uri in request_uris(plan)}
    return [plan.bucket, *sorted(others - {plan.bucket})]


def output_uris(value: Any) -> Iterator[str]:
    """The folders that a request has jobs and endpoints write to, each with a slash at its end."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if name in _WRITTEN and isinstance(part, str):
                yield f"{part.rstrip('/')}/"
            elif name in _WRITTEN_PARTS and "S3Uri" in part:
                yield f"{part['S3Uri'].rstrip('/')}/"
            else:
                yield from output_uris(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from output_uris(part)


def list_statements(
    objects: Iterable[str], actions: Sequence[str] = ("s3:ListBucket",), operator: str = "StringLike"
) -> Iterator[Statement]:
    """The right to list each bucket, below the prefixes of ``objects`` only."""
    prefixes: dict[str, list[str]] = {}
    for arn in objects:
        bucket, _, key = arn.partition("/")
        prefixes.setdefault(bucket, []).append(key)
    for bucket, keys in sorted(prefixes.items()):
        yield statement(actions, [bucket], {operator: {"s3:prefix": sorted(keys)}})
