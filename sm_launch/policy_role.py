"""Statements of the execution role's policy: what the containers and the platform do in the role's name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sm_launch.images import partition
from sm_launch.policy_parts import (
    Statement,
    brought_uris,
    key_statements,
    keys_of,
    list_statements,
    object_arns,
    output_uris,
    request_uris,
    statement,
)
from sm_launch.steps import Plan
from sm_launch.views import CREATE_MODEL, CREATE_PROCESSING, channels, of, trainings

_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.[a-z0-9.-]+/([^:@]+)")
# Where SageMaker writes the metrics of machines and of jobs.
_NAMESPACES = (
    "AWS/SageMaker",
    "/aws/sagemaker/TrainingJobs",
    "/aws/sagemaker/ProcessingJobs",
    "/aws/sagemaker/TransformJobs",
    "/aws/sagemaker/Endpoints",
)
_MLFLOW_SERVER = "mlflow-tracking-server"
# What a run that logs parameters, metrics, models and inputs calls; nothing that deletes.
_MLFLOW_CALLS = (
    "CreateExperiment CreateRun GetExperiment GetExperimentByName GetRun LogBatch LogInputs LogMetric LogModel "
    "LogOutputs LogParam SearchExperiments SearchRuns SetExperimentTag SetTag UpdateRun"
)


def role_statements(plan: Plan, account: str) -> Iterator[Statement]:
    """All statements of the role."""
    name, _ = partition(plan.region)
    home = f"{plan.region}:{account}"
    objects = object_arns(plan, [*request_uris(plan), *brought_uris(plan)])
    yield statement(["s3:GetObject"], objects)
    # Not the data set, and not the code: a job can spoil its own results only.
    written = object_arns(plan, [uri for step in plan.steps for uri in output_uris(step.request)], whole_run=False)
    if written:
        # The platform deletes checkpoints that the container deleted.
        yield statement(["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], written)
    yield from list_statements(objects)
    members = ("KmsKeyId", "VolumeKmsKeyId", "KMSMasterKeyID")
    yield from key_statements(plan, account, members, ("DescribeKey", "Encrypt", "Decrypt", "GenerateDataKey"))
    yield from _images(plan, name)
    group = f"arn:{name}:logs:{home}:log-group:/aws/sagemaker/*"
    yield statement(["logs:CreateLogGroup", "logs:DescribeLogStreams"], [group])
    yield statement(["logs:CreateLogStream", "logs:PutLogEvents"], [f"{group}:log-stream:*"])
    yield statement(["cloudwatch:PutMetricData"], None, {"StringEquals": {"cloudwatch:namespace": list(_NAMESPACES)}})
    yield from _network(plan, name, home)
    yield from _mlflow(plan)


def _mlflow(plan: Plan) -> Iterator[Statement]:
    """Logging to the MLflow that a training names; a server's actions are MLflow's own calls, an app has one."""
    arns = [arn for step in plan.steps for arn in keys_of(step.request, "MlflowResourceArn")]
    servers = [arn for arn in arns if f":{_MLFLOW_SERVER}/" in arn]
    apps = [arn for arn in arns if arn not in servers]
    if servers:
        yield statement([f"sagemaker-mlflow:{one}" for one in _MLFLOW_CALLS.split()], servers)
    if apps:
        yield statement(["sagemaker:CallMlflowAppApi"], apps)


def _images(plan: Plan, name: str) -> Iterator[Statement]:
    uris = {training.image for training in trainings(plan)}
    uris |= {step.request.get("AppSpecification", {}).get("ImageUri", "") for step in of(plan, CREATE_PROCESSING)}
    uris |= {step.request.get("PrimaryContainer", {}).get("Image", "") for step in of(plan, CREATE_MODEL)}
    found = [one for uri in sorted(uris) if (one := _ECR.match(uri))]
    stores = [f"arn:{name}:ecr:{one[2]}:{one[1]}:repository/{one[3]}" for one in found]
    if stores:
        calls = ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")
        yield statement([f"ecr:{one}" for one in calls], stores)
        yield statement(["ecr:GetAuthorizationToken"], None)


def _network(plan: Plan, name: str, home: str) -> Iterator[Statement]:
    """Network interfaces of jobs in a VPC (docs, "Give SageMaker access to resources in your Amazon VPC")."""
    subnets = sorted({one for step in plan.steps for one in _ids(step.request, "Subnets")})
    groups = sorted({one for step in plan.steps for one in _ids(step.request, "SecurityGroupIds")})
    if not subnets:
        return
    base = f"arn:{name}:ec2:{home}"
    interface = f"{base}:network-interface/*"
    places = [f"{base}:subnet/{one}" for one in subnets] + [f"{base}:security-group/{one}" for one in groups]
    yield statement(["ec2:CreateNetworkInterface"], [interface, *places])
    others = ("CreateNetworkInterfacePermission", "DeleteNetworkInterface", "DeleteNetworkInterfacePermission")
    yield statement([f"ec2:{one}" for one in others], [interface])
    asked = ("NetworkInterfaces", "Vpcs", "DhcpOptions", "Subnets", "SecurityGroups")
    yield statement([f"ec2:Describe{one}" for one in asked], None)
    sources = [one.get("DataSource", {}) for job in trainings(plan) for _, one in channels(job)]
    if any("FileSystemDataSource" in source for source in sources):
        yield statement(["fsx:DescribeFileSystems"], None)


def _ids(request: Any, member: str) -> Iterator[str]:
    """Ids of ``member`` in every VpcConfig of a request."""
    if isinstance(request, Mapping):
        for name, part in request.items():
            if name == "VpcConfig":
                yield from part.get(member, ())
            else:
                yield from _ids(part, member)
    elif isinstance(request, (list, tuple)):
        for part in request:
            yield from _ids(part, member)
