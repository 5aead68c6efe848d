"""Statements of the caller's policy: each call of the plan, what follows it and what takes it down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sm_launch.frame import PHI, RUN_TAG
from sm_launch.images import partition
from sm_launch.policy_actions import BUCKET_CALLS, JOBS
from sm_launch.policy_parts import (
    Statement,
    brought_uris,
    buckets,
    condition_keys,
    key_statements,
    keys_of,
    list_statements,
    object_arns,
    request_uris,
    statement,
)
from sm_launch.steps import Plan, Step
from sm_launch.table import table
from sm_launch.views import (
    CREATE_ASSOCIATION,
    CREATE_FILE_SYSTEM,
    CREATE_TRANSFORM,
    CREATE_TUNING,
    fleets,
    of,
    trainings,
)

_PROJECT = "CreateProject"
_SAGEMAKER = "sagemaker.amazonaws.com"
_LUSTRE_ROLE = "s3.data-source.lustre.fsx.amazonaws.com"
_LOG_GROUPS = ("TrainingJobs", "ProcessingJobs", "TransformJobs", "Endpoints")


def caller_statements(plan: Plan, account: str) -> Iterator[Statement]:
    """All statements, in the order in which the plan is applied."""
    name, _ = partition(plan.region)
    home = f"{plan.region}:{account}"
    yield from _bucket(plan, name)
    yield from _sagemaker(plan, name, home)
    yield from _pass_roles(plan)
    members = ("KmsKeyId", "VolumeKmsKeyId", "KMSMasterKeyID", "encryptionKey", "kmsKeyId", "kmsKey")
    yield from key_statements(plan, account, members, ("DescribeKey", "Decrypt", "GenerateDataKey"))
    yield from _lustre(plan, name, home, account)
    yield from _scaling(plan, name, home, account)
    yield from _builds(plan, name, home)
    yield from _follow(plan, name, home)


def _sagemaker(plan: Plan, name: str, home: str) -> Iterator[Statement]:
    for step in plan.steps:
        if step.service != "sagemaker" or step.operation not in JOBS:
            continue
        kind, others = JOBS[step.operation]
        arns = [f"arn:{name}:sagemaker:{home}:{kind}/{step.name}"]
        if step.operation == CREATE_TRANSFORM:
            # ``predict`` names its jobs by the plan's own and a checksum of their cases.
            arns.append(f"{arns[0]}-*")
        create = list(arns)
        if step.operation == "CreateEndpoint":
            create.append(f"arn:{name}:sagemaker:{home}:endpoint-config/{step.request['EndpointConfigName']}")
        action = f"sagemaker:{step.operation}"
        yield statement([action], create, _conditions(plan, step, condition_keys(action)))
        yield statement([f"sagemaker:{one}" for one in f"{others} AddTags ListTags".split()], arns)
        if step.request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds"):
            # ``down`` gives the machines of the warm pool back.
            yield statement(["sagemaker:UpdateTrainingJob"], arns)
        if step.operation == CREATE_TUNING:
            # AWS names a trial by its tuning job, a number and a hash.
            trials = [f"arn:{name}:sagemaker:{home}:training-job/{step.name}-*"]
            yield statement(["sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob"], trials)


def _conditions(plan: Plan, step: Step, keys: frozenset[str]) -> dict[str, dict[str, Any]]:
    """Conditions of the creating call: the machines and hours of the plan, and under phi its protections."""
    wanted: dict[str, dict[str, Any]] = {}
    mine = [fleet for fleet in fleets(plan) if fleet.step is step]
    types = sorted({fleet.instance_type for fleet in mine})
    if types and "sagemaker:InstanceTypes" in keys:
        wanted.setdefault("ForAllValues:StringEquals", {})["sagemaker:InstanceTypes"] = types
    limits = [fleet.max_runtime_s for fleet in mine if fleet.max_runtime_s is not None]
    if limits and "sagemaker:MaxRuntimeInSeconds" in keys:
        wanted["NumericLessThanEquals"] = {"sagemaker:MaxRuntimeInSeconds": str(max(limits))}
    if plan.profile != PHI:
        return wanted
    for key in ("sagemaker:NetworkIsolation", "sagemaker:InterContainerTrafficEncryption"):
        if key in keys and step.operation != "CreateEndpointConfig":
            wanted.setdefault("Bool", {})[key] = "true"
    for key, ids in _vpc(plan, step).items():
        if key in keys and ids:
            wanted.setdefault("ForAllValues:StringEquals", {})[key] = ids
            # ForAllValues is also true of a request without the key.
            wanted.setdefault("Null", {})[key] = "false"
    for key, member in (("sagemaker:OutputKmsKey", "KmsKeyId"), ("sagemaker:VolumeKmsKey", "VolumeKmsKeyId")):
        given = keys_of(step.request, member)
        if step.operation == "CreateEndpointConfig" and member == "VolumeKmsKeyId":
            given = [step.request["KmsKeyId"]] if "KmsKeyId" in step.request else []
        if key in keys and given and all(one.startswith("arn:") and ":key/" in one for one in given):
            wanted.setdefault("ArnEquals", {})[key] = given
        elif key in keys and given:
            # What AWS compares an id or an alias with is not documented, so any key is asked for.
            wanted.setdefault("Null", {})[key] = "false"
    return wanted


def _vpc(plan: Plan, step: Step) -> dict[str, list[str]]:
    networks = [training.request.get("VpcConfig", {}) for training in trainings(plan) if training.step is step]
    networks.append(step.request.get("VpcConfig", step.request.get("NetworkConfig", {}).get("VpcConfig", {})))
    return {
        "sagemaker:VpcSubnets": sorted({one for vpc in networks for one in vpc.get("Subnets", ())}),
        "sagemaker:VpcSecurityGroupIds": sorted({one for vpc in networks for one in vpc.get("SecurityGroupIds", ())}),
    }


def _bucket(plan: Plan, name: str) -> Iterator[Statement]:
    bucket = f"arn:{name}:s3:::{plan.bucket}"
    calls = " ".join(BUCKET_CALLS[step.operation] for step in plan.steps if step.operation in BUCKET_CALLS)
    if any("ObjectOwnership" in step.request for step in of(plan, "CreateBucket")):
        # Asked for by CreateBucket where it sets the owner of objects (API reference, CreateBucket, "Permissions").
        calls += " PutBucketOwnershipControls"
    checks = "GetBucketPublicAccessBlock GetEncryptionConfiguration GetBucketPolicyStatus"
    yield statement([f"s3:{one}" for one in f"{calls} {checks} ListBucketMultipartUploads".split()], [bucket])
    others = [f"arn:{name}:s3:::{one}" for one in buckets(plan)[1:]] if plan.profile == PHI else []
    if others:
        yield statement([f"s3:{one}" for one in checks.split()], others)
    run = f"s3://{plan.bucket}/{plan.folder}/"
    objects = object_arns(plan, [*brought_uris(plan), run])
    calls = "GetObject PutObject DeleteObject DeleteObjectVersion AbortMultipartUpload ListMultipartUploadParts"
    yield statement([f"s3:{one}" for one in calls.split()], objects)
    # HeadBucket is ListBucket without a prefix; data that lie elsewhere are looked for, not read.
    seen = object_arns(plan, [*brought_uris(plan), run, *request_uris(plan)])
    yield from list_statements(seen, ("s3:ListBucket", "s3:ListBucketVersions"), "StringLikeIfExists")


def _pass_roles(plan: Plan) -> Iterator[Statement]:
    passed: dict[str, set[str]] = {}
    for step in plan.steps:
        requests = [step.request, *(one.request for one in trainings(plan) if one.step is step)]
        for request in requests:
            for member in ("RoleArn", "ExecutionRoleArn", "serviceRole"):
                if member in request:
                    service = "codebuild.amazonaws.com" if member == "serviceRole" else _SAGEMAKER
                    passed.setdefault(service, set()).add(request[member])
    # ``apply`` looks at the plan's role before anything is made, whether a job takes it or not.
    if plan.role:
        yield statement(["iam:GetRole"], [plan.role])
    for service, roles in sorted(passed.items()):
        yield statement(["iam:PassRole"], sorted(roles), {"StringEquals": {"iam:PassedToService": service}})


def _lustre(plan: Plan, name: str, home: str, account: str) -> Iterator[Statement]:
    if not list(of(plan, CREATE_FILE_SYSTEM)):
        return
    # The id is AWS's choice, so the run's tag stands for the name.
    systems = [f"arn:{name}:fsx:{home}:file-system/*"]
    links = [f"arn:{name}:fsx:{home}:association/*"]
    asked, tagged = {f"aws:RequestTag/{RUN_TAG}": plan.run}, {f"aws:ResourceTag/{RUN_TAG}": plan.run}
    yield statement(["fsx:CreateFileSystem", "fsx:TagResource"], systems, {"StringEquals": asked})
    yield statement(["fsx:DeleteFileSystem"], systems, {"StringEquals": tagged})
    yield statement(["fsx:DescribeFileSystems"], None)
    services = ["fsx.amazonaws.com"]
    if list(of(plan, CREATE_ASSOCIATION)):
        yield statement(["fsx:CreateDataRepositoryAssociation", "fsx:TagResource"], links, {"StringEquals": asked})
        yield statement(["fsx:CreateDataRepositoryAssociation"], systems, {"StringEquals": tagged})
        yield statement(["fsx:DeleteDataRepositoryAssociation"], links, {"StringEquals": tagged})
        yield statement(["fsx:DescribeDataRepositoryAssociations"], None)
        services.append(_LUSTRE_ROLE)
        role = [f"arn:{name}:iam::{account}:role/aws-service-role/{_LUSTRE_ROLE}/*"]
        yield statement(["iam:AttachRolePolicy", "iam:PutRolePolicy"], role)
    roles = [f"arn:{name}:iam::{account}:role/aws-service-role/{service}/*" for service in services]
    yield statement(["iam:CreateServiceLinkedRole"], roles, {"StringEquals": {"iam:AWSServiceName": services}})


def _scaling(plan: Plan, name: str, home: str, account: str) -> Iterator[Statement]:
    alarms = [f"arn:{name}:cloudwatch:{home}:alarm:{step.request['AlarmName']}" for step in of(plan, "PutMetricAlarm")]
    targets = [step.request["ResourceId"] for step in of(plan, "RegisterScalableTarget")]
    # A target tracking policy makes its alarms under this name.
    alarms += [f"arn:{name}:cloudwatch:{home}:alarm:TargetTracking-{target}*" for target in targets]
    if alarms:
        calls = "PutMetricAlarm TagResource DescribeAlarms DeleteAlarms"
        yield statement([f"cloudwatch:{one}" for one in calls.split()], alarms)
    if not targets:
        return
    calls = "RegisterScalableTarget DeregisterScalableTarget PutScalingPolicy DeleteScalingPolicy"
    resource = [f"arn:{name}:application-autoscaling:{home}:scalable-target/*"]
    only = {"StringEquals": {"application-autoscaling:service-namespace": "sagemaker"}}
    yield statement([f"application-autoscaling:{one}" for one in calls.split()], resource, only)
    yield statement(
        ["application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingPolicies"], None
    )
    endpoints = sorted({target.split("/")[1] for target in targets})
    yield statement(
        ["sagemaker:UpdateEndpointWeightsAndCapacities"],
        [f"arn:{name}:sagemaker:{home}:endpoint/{endpoint}" for endpoint in endpoints],
    )
    service = "sagemaker.application-autoscaling.amazonaws.com"
    role = [f"arn:{name}:iam::{account}:role/aws-service-role/{service}/*"]
    yield statement(["iam:CreateServiceLinkedRole"], role, {"StringEquals": {"iam:AWSServiceName": service}})


def _builds(plan: Plan, name: str, home: str) -> Iterator[Statement]:
    projects = [f"arn:{name}:codebuild:{home}:project/{step.request['name']}" for step in of(plan, _PROJECT)]
    if projects:
        calls = "CreateProject StartBuild ListBuildsForProject BatchGetBuilds BatchGetProjects StopBuild DeleteProject"
        yield statement([f"codebuild:{one}" for one in calls.split()], projects)
    made = [step.request["repositoryName"] for step in of(plan, "CreateRepository")]
    stores = [f"arn:{name}:ecr:{home}:repository/{store}" for store in made]
    if stores:
        calls = "CreateRepository TagResource ListTagsForResource DescribeRepositories DeleteRepository"
        yield statement([f"ecr:{one}" for one in calls.split()], stores)


def _follow(plan: Plan, name: str, home: str) -> Iterator[Statement]:
    groups = [f"arn:{name}:logs:{home}:log-group:/aws/sagemaker/{group}" for group in _LOG_GROUPS]
    endpoints = [f"{groups[-1]}/{step.name}" for step in of(plan, "CreateEndpoint")]
    # An endpoint has a log group of its own; of the others the stream's name begins with the job's.
    yield statement(["logs:DescribeLogStreams"], [f"{group}:*" for group in groups[:-1] + endpoints])
    streams = [f"{group}:log-stream:{plan.run}*" for group in groups[:-1]]
    yield statement(["logs:GetLogEvents"], streams + [f"{endpoint}:log-stream:*" for endpoint in endpoints])
    # Groups that AWS makes for one run alone go with it.
    builds = [f"arn:{name}:logs:{home}:log-group:/aws/codebuild/{step.request['name']}" for step in of(plan, _PROJECT)]
    if endpoints or builds:
        yield statement(["logs:DeleteLogGroup"], [f"{arn}{end}" for arn in endpoints + builds for end in ("", ":*")])
    made = [f"arn:{name}:logs:{home}:log-group:{step.request['logGroupName']}" for step in of(plan, "CreateLogGroup")]
    if made:
        calls = ("CreateLogGroup", "PutRetentionPolicy", "DeleteLogGroup")
        yield statement([f"logs:{one}" for one in calls], [arn for group in made for arn in (group, f"{group}:*")])
    service = table("quotas")["service"]
    yield statement(["servicequotas:GetServiceQuota"], [f"arn:{name}:servicequotas:{home}:{service}/*"])
    yield statement(["servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"], None)
