"""Policies: nothing more than the plan needs, held against the Service Authorization Reference."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import launch_plans as lp
import pytest

from sm_launch.api_model import service_model
from sm_launch.policy import (
    CODEBUILD,
    MANAGED_POLICY_LIMIT,
    build_policy,
    caller_policy,
    parts,
    role_policy,
    trust_policy,
    unrestricted,
)
from sm_launch.resources import KINDS
from sm_launch.steps import Copy, Plan, Step
from sm_launch.table import table

ACTIONS = table("iam_actions")["actions"]


def build() -> list[Step]:
    project = {
        "name": f"{lp.RUN}-build",
        "source": {"type": "S3", "location": f"{lp.BUCKET}/{lp.RUN}/build.zip"},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {
            "type": "LINUX_CONTAINER",
            "image": "aws/codebuild/standard:7.0",
            "computeType": "BUILD_GENERAL1_LARGE",
            "privilegedMode": True,
        },
        "serviceRole": f"arn:aws:iam::{lp.ACCOUNT}:role/demo-build",
        "encryptionKey": lp.KEY,
    }
    return [
        Step("ecr", "CreateRepository", {"repositoryName": "sm-launch-serve"}, "repository", "sm-launch-serve"),
        Step("codebuild", "CreateProject", project, "project", f"{lp.RUN}-build"),
        Step("codebuild", "StartBuild", {"projectName": f"{lp.RUN}-build"}, "", f"{lp.RUN}-build", wait=True),
        Step("logs", "CreateLogGroup", {"logGroupName": "/aws/sagemaker/x", "kmsKeyId": lp.KEY}, "log-group", "x"),
    ]


def whole(profile: str = "phi") -> Plan:
    plan = lp.everything(profile)
    return replace(plan, steps=(*plan.steps, *build()))


def statements(policy: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for statement in policy["Statement"]:
        for action in statement["Action"]:
            yield action, statement


def allowed(policy: dict[str, Any], action: str) -> list[dict[str, Any]]:
    return [statement for name, statement in statements(policy) if name == action]


POLICIES = [
    pytest.param(make, profile, id=f"{make.__name__}-{profile}")
    for make in (caller_policy, role_policy, build_policy)
    for profile in ("standard", "phi")
]


@pytest.mark.parametrize(("make", "profile"), POLICIES)
def test_only_actions_without_resources_are_allowed_on_all(make: Any, profile: str) -> None:
    policy = make(whole(profile), lp.ACCOUNT)
    for action, statement in statements(policy):
        assert (statement["Resource"] == ["*"]) is (not ACTIONS[action]["resources"]), action
        assert statement["Resource"]
        assert "*" not in action
    assert all(sentence.endswith("because the API has none for it.") for sentence in unrestricted(policy))
    assert unrestricted(policy)


@pytest.mark.parametrize(("make", "profile"), POLICIES)
def test_condition_keys_are_ones_that_the_action_has(make: Any, profile: str) -> None:
    for action, statement in statements(make(whole(profile), lp.ACCOUNT)):
        for keys in statement.get("Condition", {}).values():
            for key in keys:
                known = {re.sub(r"/.*", "", name) for name in ACTIONS[action].get("conditions", ())}
                assert re.sub(r"/.*", "", key) in known, (action, key)


@pytest.mark.parametrize(("make", "profile"), POLICIES)
def test_resources_name_the_run_the_account_or_the_plans_own(make: Any, profile: str) -> None:
    """Where AWS chooses the id, a condition on the run's tag or on the service stands for the name."""
    by_condition = ("key/*", "file-system/*", "association/*", "scalable-target/*", "network-interface/*")
    named = (
        "log-group:/aws/codebuild/",
        lp.RUN,
        lp.ROLE,
        lp.KEY,
        lp.BUCKET,
        "subnet-",
        "sg-",
        "repository/",
        "log-group:/aws/sagemaker/",
    )
    own = ("role/demo-build", "role/aws-service-role/", "servicequotas:us-east-1:123456789012:sagemaker/*")
    for action, statement in statements(make(whole(profile), lp.ACCOUNT)):
        for arn in statement["Resource"]:
            if arn.endswith(by_condition):
                assert "Condition" in statement or action.startswith("ec2:"), action
            elif arn != "*":
                assert any(part in arn for part in (*named, *own)), (action, arn)


def test_role_is_passed_to_its_service_only() -> None:
    passed = allowed(caller_policy(whole(), lp.ACCOUNT), "iam:PassRole")
    assert [(one["Resource"], one["Condition"]) for one in passed] == [
        (
            [f"arn:aws:iam::{lp.ACCOUNT}:role/demo-build"],
            {"StringEquals": {"iam:PassedToService": "codebuild.amazonaws.com"}},
        ),
        ([lp.ROLE], {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}),
    ]


def test_caller_may_start_follow_and_take_down_each_thing() -> None:
    policy = caller_policy(whole(), lp.ACCOUNT)
    for thing, kind in {
        "TrainingJob": "training-job/demo-1a2b-train",
        "ProcessingJob": "processing-job/demo-1a2b-store",
        "HyperParameterTuningJob": "hyper-parameter-tuning-job/demo-1a2b-tune",
        "TransformJob": "transform-job/demo-1a2b-batch",
        "Model": "model/demo-1a2b-model",
        "EndpointConfig": "endpoint-config/demo-1a2b-config",
        "Endpoint": "endpoint/demo-1a2b-endpoint",
    }.items():
        # Jobs are stopped, and their records stay; what is no job is deleted.
        for verb in ("Create", "Describe", "Stop" if thing.endswith("Job") else "Delete"):
            arns = [arn for one in allowed(policy, f"sagemaker:{verb}{thing}") for arn in one["Resource"]]
            assert f"arn:aws:sagemaker:us-east-1:123456789012:{kind}" in arns


def test_caller_may_do_all_that_down_and_ls_do() -> None:
    from botocore import xform_name

    may = {action for action, _ in statements(caller_policy(whole(), lp.ACCOUNT))}
    for kind in KINDS.values():
        names = {xform_name(name): name for name in service_model(kind.service).operation_names}
        for method in filter(None, (kind.describe, kind.stop, kind.delete)):
            assert f"{kind.service}:{names[method]}" in may


def test_plan_of_one_training_gets_nothing_of_the_others() -> None:
    policy = caller_policy(lp.plan(lp.training()), lp.ACCOUNT)
    services = {action.split(":")[0] for action, _ in statements(policy)}
    assert services == {"sagemaker", "s3", "iam", "kms", "logs", "servicequotas"}
    assert {action for action, _ in statements(policy) if action.startswith("sagemaker:")} == {
        "sagemaker:CreateTrainingJob",
        "sagemaker:DescribeTrainingJob",
        "sagemaker:StopTrainingJob",
        "sagemaker:AddTags",
        "sagemaker:ListTags",
    }
    assert not allowed(policy, "s3:CreateBucket")


def test_objects_are_those_of_the_run() -> None:
    for policy in (caller_policy(whole(), lp.ACCOUNT), role_policy(whole(), lp.ACCOUNT)):
        assert [one["Resource"] for one in allowed(policy, "s3:GetObject")] == [
            ["arn:aws:s3:::demo-bucket/demo-1a2b/*"]
        ]
    listed = {"s3:prefix": ["demo-1a2b/*"]}
    assert allowed(role_policy(whole(), lp.ACCOUNT), "s3:ListBucket")[0]["Condition"] == {"StringLike": listed}
    # The caller's HeadBucket has no prefix.
    caller = allowed(caller_policy(whole(), lp.ACCOUNT), "s3:ListBucket")[0]
    assert caller["Condition"] == {"StringLikeIfExists": listed}


def test_role_writes_to_outputs_only() -> None:
    """Neither the data set nor the code: what jobs read they cannot change."""
    written = [one["Resource"] for one in allowed(role_policy(whole(), lp.ACCOUNT), "s3:PutObject")]
    assert written == [one["Resource"] for one in allowed(role_policy(whole(), lp.ACCOUNT), "s3:DeleteObject")]
    root = f"arn:aws:s3:::{lp.BUCKET}/{lp.RUN}"
    assert written == [[f"{root}/{name}/*" for name in ("answered", "answers", "labels", "output", "store")]]
    kept = lp.put("CheckpointConfig", {"S3Uri": f"{lp.ROOT}/checkpoints"})
    policy = role_policy(lp.plan(lp.changed(lp.training(), kept)), lp.ACCOUNT)
    assert allowed(policy, "s3:DeleteObject")[0]["Resource"] == [f"{root}/checkpoints/*", f"{root}/output/*"]
    assert not allowed(role_policy(lp.plan(lp.model()), lp.ACCOUNT), "s3:PutObject")


@pytest.mark.parametrize(
    ("arn", "actions"),
    [
        ("arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-1", {"sagemaker:CallMlflowAppApi"}),
        (
            "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/s",
            {"sagemaker-mlflow:LogBatch", "sagemaker-mlflow:CreateRun", "sagemaker-mlflow:GetExperimentByName"},
        ),
    ],
)
def test_role_may_log_to_the_mlflow_of_the_training(arn: str, actions: set[str]) -> None:
    step = lp.changed(lp.training(), lp.put("MlflowConfig", {"MlflowResourceArn": arn}))
    policy = role_policy(lp.plan(step, profile="standard"), lp.ACCOUNT)
    (statement,) = [one for one in policy["Statement"] if one["Resource"] == [arn]]
    assert actions <= set(statement["Action"]) <= set(ACTIONS)
    assert not [action for action in statement["Action"] if ":Delete" in action]


def test_caller_may_release_a_warm_pool_and_go_on_with_an_upload() -> None:
    warm = lp.changed(lp.training(), lp.put("ResourceConfig.KeepAlivePeriodInSeconds", 600))
    (update,) = allowed(caller_policy(lp.plan(warm), lp.ACCOUNT), "sagemaker:UpdateTrainingJob")
    assert update["Resource"] == [f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{lp.RUN}-train"]
    (parts_of,) = allowed(caller_policy(lp.plan(warm), lp.ACCOUNT), "s3:ListMultipartUploadParts")
    assert parts_of["Resource"] == ["arn:aws:s3:::demo-bucket/demo-1a2b/*"]


def test_caller_and_role_may_do_the_batch_jobs_of_predict() -> None:
    plan = lp.plan(lp.model(), lp.transform())
    for verb in ("Create", "Describe", "Stop"):
        found = allowed(caller_policy(plan, lp.ACCOUNT), f"sagemaker:{verb}TransformJob")
        arns = [arn for one in found for arn in one["Resource"]]
        assert f"arn:aws:sagemaker:us-east-1:123456789012:transform-job/{lp.RUN}-batch-*" in arns
    (written,) = allowed(role_policy(plan, lp.ACCOUNT), "s3:PutObject")
    assert f"arn:aws:s3:::{lp.BUCKET}/{lp.RUN}/answered/*" in written["Resource"]


def test_caller_may_delete_every_version_of_the_cases_of_predict() -> None:
    policy = caller_policy(lp.plan(lp.model(), lp.transform()), lp.ACCOUNT)
    for action in ("s3:DeleteObject", "s3:DeleteObjectVersion"):
        assert f"arn:aws:s3:::{lp.BUCKET}/{lp.RUN}/*" in allowed(policy, action)[0]["Resource"]
    (listing,) = allowed(policy, "s3:ListBucketVersions")
    assert listing["Resource"] == [f"arn:aws:s3:::{lp.BUCKET}"]
    assert f"{lp.RUN}/*" in listing["Condition"]["StringLikeIfExists"]["s3:prefix"]


def test_folders_that_are_copied_may_be_written_by_the_caller_and_read_by_the_role() -> None:
    plan = replace(lp.plan(lp.training()), copies=(Copy(Path("."), f"s3://{lp.BUCKET}/data/brats/", ()),))
    arn = "arn:aws:s3:::demo-bucket/data/brats/*"
    assert arn in allowed(caller_policy(plan, lp.ACCOUNT), "s3:PutObject")[0]["Resource"]
    assert arn in allowed(role_policy(plan, lp.ACCOUNT), "s3:GetObject")[0]["Resource"]


def test_build_reads_its_archive_and_pushes_to_its_repository() -> None:
    policy = build_policy(whole(), lp.ACCOUNT)
    assert allowed(policy, "s3:GetObject")[0]["Resource"] == ["arn:aws:s3:::demo-bucket/demo-1a2b/build.zip"]
    assert allowed(policy, "ecr:PutImage")[0]["Resource"] == [
        "arn:aws:ecr:us-east-1:123456789012:repository/sm-launch-serve"
    ]
    assert build_policy(lp.everything(), lp.ACCOUNT)["Statement"] == []
    (trust,) = trust_policy(whole(), lp.ACCOUNT, CODEBUILD)["Statement"]
    assert trust["Principal"] == {"Service": "codebuild.amazonaws.com"}


def test_role_reads_data_of_another_bucket_and_does_not_write_there() -> None:
    source = "InputDataConfig.1.DataSource.S3DataSource.S3Uri"
    plan = lp.plan(lp.changed(lp.training(), lp.put(source, "s3://hospital-data/brats/")))
    policy = role_policy(plan, lp.ACCOUNT)
    assert "arn:aws:s3:::hospital-data/brats/*" in allowed(policy, "s3:GetObject")[0]["Resource"]
    assert allowed(policy, "s3:PutObject")[0]["Resource"] == ["arn:aws:s3:::demo-bucket/demo-1a2b/output/*"]
    assert {one["Resource"][0] for one in allowed(policy, "s3:ListBucket")} == {
        "arn:aws:s3:::hospital-data",
        "arn:aws:s3:::demo-bucket",
    }


def test_phi_refuses_unprotected_jobs_by_conditions() -> None:
    created = allowed(caller_policy(lp.everything("phi"), lp.ACCOUNT), "sagemaker:CreateTrainingJob")[0]["Condition"]
    assert created == {
        "ForAllValues:StringEquals": {
            "sagemaker:InstanceTypes": ["ml.c5.4xlarge"],
            "sagemaker:VpcSubnets": lp.VPC["Subnets"],
            "sagemaker:VpcSecurityGroupIds": lp.VPC["SecurityGroupIds"],
        },
        "NumericLessThanEquals": {"sagemaker:MaxRuntimeInSeconds": "7200"},
        "Bool": {"sagemaker:NetworkIsolation": "true", "sagemaker:InterContainerTrafficEncryption": "true"},
        "Null": {"sagemaker:VpcSubnets": "false", "sagemaker:VpcSecurityGroupIds": "false"},
        "ArnEquals": {"sagemaker:OutputKmsKey": [lp.KEY], "sagemaker:VolumeKmsKey": [lp.KEY]},
    }
    tuned = allowed(caller_policy(lp.everything("phi"), lp.ACCOUNT), "sagemaker:CreateHyperParameterTuningJob")
    assert all(one["Condition"]["Bool"]["sagemaker:NetworkIsolation"] == "true" for one in tuned)


def test_standard_profile_limits_machines_and_hours() -> None:
    created = allowed(caller_policy(lp.everything("standard"), lp.ACCOUNT), "sagemaker:CreateTrainingJob")[0]
    assert created["Condition"] == {
        "ForAllValues:StringEquals": {"sagemaker:InstanceTypes": ["ml.c5.4xlarge"]},
        "NumericLessThanEquals": {"sagemaker:MaxRuntimeInSeconds": "7200"},
    }


def test_role_pulls_the_plans_images_only() -> None:
    assert allowed(role_policy(whole(), lp.ACCOUNT), "ecr:BatchGetImage")[0]["Resource"] == [
        "arn:aws:ecr:us-east-1:123456789012:repository/sm-launch-serve",
        "arn:aws:ecr:us-east-1:763104351884:repository/pytorch",
    ]


def test_role_is_trusted_to_sagemaker_of_this_account() -> None:
    (statement,) = trust_policy(whole(), lp.ACCOUNT)["Statement"]
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": lp.ACCOUNT},
        "ArnLike": {"aws:SourceArn": f"arn:aws:sagemaker:us-east-1:{lp.ACCOUNT}:*"},
    }


def test_partition_of_the_region_is_in_every_arn() -> None:
    plan = replace(lp.plan(replace(lp.training())), region="us-gov-west-1")
    for _, statement in statements(caller_policy(plan, lp.ACCOUNT)):
        for arn in statement["Resource"]:
            assert arn == "*" or arn.startswith("arn:aws-us-gov:") or arn in (lp.ROLE, lp.KEY)


def test_key_is_named_by_its_arn() -> None:
    step = lp.changed(lp.training(), lp.put("OutputDataConfig.KmsKeyId", "1234abcd-12ab-34cd-56ef-000000000000"))
    keys = allowed(caller_policy(lp.plan(step), lp.ACCOUNT), "kms:Decrypt")[0]["Resource"]
    assert "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-000000000000" in keys


def test_key_given_by_an_alias_is_asked_for_by_a_condition() -> None:
    step = lp.changed(lp.training(), lp.put("OutputDataConfig.KmsKeyId", "alias/mine"))
    plan = lp.plan(step, profile="phi")
    by_alias = allowed(role_policy(plan, lp.ACCOUNT), "kms:Decrypt")[1]
    assert by_alias["Resource"] == ["arn:aws:kms:us-east-1:123456789012:key/*"]
    assert by_alias["Condition"] == {"ForAnyValue:StringEquals": {"kms:ResourceAliases": ["alias/mine"]}}
    created = allowed(caller_policy(plan, lp.ACCOUNT), "sagemaker:CreateTrainingJob")[0]["Condition"]
    assert created["Null"]["sagemaker:OutputKmsKey"] == "false"
    assert created["ArnEquals"] == {"sagemaker:VolumeKmsKey": [lp.KEY]}


def test_parts_fit_iams_quota_and_lose_nothing() -> None:
    policy = caller_policy(whole(), lp.ACCOUNT)
    made = parts(policy)
    assert [one for part in made for one in part["Statement"]] == policy["Statement"]
    assert all(len(json.dumps(part, separators=(",", ":"))) <= MANAGED_POLICY_LIMIT for part in made)
    assert len(made) > 1
