"""The policy of the role that CodeBuild takes while it builds the serving image: read the archive, push, log."""

from __future__ import annotations

from collections.abc import Iterator

from sm_launch.images import partition
from sm_launch.policy_parts import Statement, key_statements, statement
from sm_launch.steps import Plan
from sm_launch.views import of

_CREATE_PROJECT, _CREATE_REPOSITORY = "CreateProject", "CreateRepository"


def build_statements(plan: Plan, account: str) -> Iterator[Statement]:
    """All statements of the build's role; none where the plan builds no image."""
    name, _ = partition(plan.region)
    home = f"{plan.region}:{account}"
    projects = [step.request["name"] for step in of(plan, _CREATE_PROJECT)]
    if not projects:
        return
    sources = [step.request["source"]["location"] for step in of(plan, _CREATE_PROJECT)]
    yield statement(["s3:GetObject"], [f"arn:{name}:s3:::{source}" for source in sources])
    stores = [step.request["repositoryName"] for step in of(plan, _CREATE_REPOSITORY)]
    if stores:
        push = "BatchCheckLayerAvailability InitiateLayerUpload UploadLayerPart CompleteLayerUpload PutImage"
        repositories = [f"arn:{name}:ecr:{home}:repository/{store}" for store in stores]
        yield statement([f"ecr:{one}" for one in f"{push} BatchGetImage".split()], repositories)
    yield statement(["ecr:GetAuthorizationToken"], None)
    groups = [f"arn:{name}:logs:{home}:log-group:/aws/codebuild/{project}" for project in projects]
    yield statement(["logs:CreateLogGroup"], groups)
    yield statement(["logs:CreateLogStream", "logs:PutLogEvents"], [f"{group}:log-stream:*" for group in groups])
    yield from key_statements(plan, account, ("encryptionKey",), ("Decrypt", "GenerateDataKey"), grants=False)
