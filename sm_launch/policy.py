"""The least IAM policies that a plan needs, as JSON for an administrator: for the caller, and for the jobs' role.

What an action may be restricted to is in tables/iam_actions.json; untested on AWS, which alone evaluates policies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sm_launch.images import partition
from sm_launch.policy_build import build_statements
from sm_launch.policy_caller import caller_statements
from sm_launch.policy_role import role_statements
from sm_launch.steps import Plan
from sm_launch.table import table

VERSION = "2012-10-17"
# Quota of a customer managed policy in characters, white space not counted: IAM User Guide, "IAM and AWS STS quotas".
MANAGED_POLICY_LIMIT = 6144
ANY = "*"
SAGEMAKER, CODEBUILD = "sagemaker", "codebuild"


def caller_policy(plan: Plan, account: str) -> dict[str, Any]:
    """What a person or a pipeline needs to apply, follow and take down the plan.

    Args:
        plan: the plan; profile phi adds conditions that refuse unprotected jobs.
        account: the AWS account, twelve digits.
    """
    return {"Version": VERSION, "Statement": list(caller_statements(plan, account))}


def role_policy(plan: Plan, account: str) -> dict[str, Any]:
    """What the execution role of the plan's jobs and endpoints needs."""
    return {"Version": VERSION, "Statement": list(role_statements(plan, account))}


def build_policy(plan: Plan, account: str) -> dict[str, Any]:
    """What CodeBuild's role needs to build the serving image; without statements where the plan builds none."""
    return {"Version": VERSION, "Statement": list(build_statements(plan, account))}


def trust_policy(plan: Plan, account: str, service: str = SAGEMAKER) -> dict[str, Any]:
    """Who may take a role: one service, for this account and region only.

    Args:
        plan: the plan.
        account: the AWS account, twelve digits.
        service: sagemaker for the execution role, codebuild for the build's.
    """
    name, _ = partition(plan.region)
    condition = {
        "StringEquals": {"aws:SourceAccount": account},
        "ArnLike": {"aws:SourceArn": f"arn:{name}:{service}:{plan.region}:{account}:*"},
    }
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": condition,
    }
    return {"Version": VERSION, "Statement": [statement]}


def unrestricted(policy: Mapping[str, Any]) -> list[str]:
    """Actions that the policy allows on every resource, each with the reason, one sentence each."""
    actions = table("iam_actions")["actions"]
    return [
        f"{action} is allowed on every resource because the API has none for it."
        if not actions[action]["resources"]
        else f"{action} is allowed on every resource although the API could be asked for less; report this."
        for statement in policy["Statement"]
        if statement["Resource"] == [ANY]
        for action in _listed(statement["Action"])
    ]


def parts(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The policy as managed policies that IAM takes, each within its quota of characters."""
    made: list[list[Any]] = [[]]
    for statement in policy["Statement"]:
        if made[-1] and _length([*made[-1], statement]) > MANAGED_POLICY_LIMIT:
            made.append([])
        made[-1].append(statement)
    return [{"Version": VERSION, "Statement": statements} for statements in made]


def _length(statements: list[Any]) -> int:
    return len(json.dumps({"Version": VERSION, "Statement": statements}, separators=(",", ":")))


def _listed(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
