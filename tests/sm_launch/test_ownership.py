"""Whose a thing is: a run neither takes nor deletes what another made, and does not go on with another spec."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_faults import BUCKET, IMAGE, MODEL, RUN, VARIANT, User, user  # noqa: F401 - a fixture

from sm_launch.errors import LaunchError
from sm_launch.manifest import Manifest
from sm_launch.ownership import check_unchanged
from sm_launch.steps import Plan

DEPLOY = {"image": IMAGE, "instance_type": "ml.c5.xlarge", "model": MODEL}
STRANGER = [{"Key": "sm-launch:run", "Value": "other-1"}]


@pytest.fixture
def deploying(user: User) -> User:  # noqa: F811
    """A user whose run deploys a model; its endpoint fails at once, which is enough here."""
    user.spec |= {"train": None, "data": None, "deploy": DEPLOY}
    user.account.faults.fail_endpoint(f"{RUN}.*", "told to fail")
    return user


@pytest.mark.parametrize("tags", [[], STRANGER])
def test_a_strangers_thing_is_neither_taken_nor_deleted(deploying: User, tags: list[dict[str, str]]) -> None:
    client = deploying.account.session().client("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": MODEL}
    client.create_model(ModelName="theirs", ExecutionRoleArn=deploying.account.role, PrimaryContainer=container)
    variants = [VARIANT | {"ModelName": "theirs"}]
    client.create_endpoint_config(EndpointConfigName=f"{RUN}-config", ProductionVariants=variants, Tags=tags)
    code, _, err = deploying.applies()
    assert code == 1
    assert f"the endpoint-config {RUN}-config exists already and has no tag sm-launch:run={RUN}" in err
    assert deploying.entries() == {"model": "made"}
    code, out, _ = deploying.types("down", RUN, "--yes", "--poll", "0.1")
    assert code == 0 and "nothing is left that runs" in out
    assert client.describe_endpoint_config(EndpointConfigName=f"{RUN}-config")


def test_down_leaves_a_strangers_thing_of_a_name_that_was_asked_for(
    deploying: User, caplog: pytest.LogCaptureFixture
) -> None:
    deploying.account.faults.deny("CreateEndpointConfig")
    deploying.applies()
    assert deploying.entries() == {"model": "made", "endpoint-config": "asked"}
    deploying.account.faults.clear()
    client = deploying.account.session().client("sagemaker")
    client.create_endpoint_config(EndpointConfigName=f"{RUN}-config", ProductionVariants=[VARIANT], Tags=STRANGER)
    code, out, _ = deploying.types("down", RUN, "--yes", "--poll", "0.1")
    assert code == 0, out
    assert f"the endpoint-config {RUN}-config is not of this run, and is left alone" in caplog.messages
    assert client.describe_endpoint_config(EndpointConfigName=f"{RUN}-config")


def test_an_answer_that_was_lost_is_told_from_a_stranger_by_its_tag(deploying: User) -> None:
    deploying.account.faults.lose_connection("CreateEndpointConfig", times=1, executed=True)
    _, _, err = deploying.applies()
    assert f"the endpoint {RUN}-endpoint ended as Failed: told to fail" in err
    assert deploying.entries() == {"model": "made", "endpoint-config": "made", "endpoint": "made"}
    deploying.is_clean_after_down()


def test_a_repository_of_another_run_is_not_taken(user: User) -> None:  # noqa: F811
    ecr = user.account.session().client("ecr")
    ecr.create_repository(repositoryName="shared", tags=STRANGER)
    user.spec |= {"train": None, "data": None, "image": {"role": user.account.role, "repository": "shared"}}
    code, _, err = user.applies("--no-quotas")
    assert code == 1 and "the repository shared exists already" in err
    assert user.types("down", RUN, "--yes", "--poll", "0.1")[0] == 0
    assert ecr.describe_repositories(repositoryNames=["shared"])["repositories"]


def test_a_run_goes_on_with_its_own_spec_only(deploying: User) -> None:
    deploying.applies()
    deploying.spec["deploy"] = DEPLOY | {"instance_type": "ml.c5.2xlarge"}
    code, _, err = deploying.applies()
    assert code == 1
    assert f"the endpoint-config {RUN}-config was made from another spec or bundle; choose another --run, or " in err
    # Undone, it goes on as far as before.
    deploying.spec["deploy"] = DEPLOY
    assert "ended as Failed: told to fail" in deploying.applies()[2]
    deploying.is_clean_after_down()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"region": "eu-west-1", "bucket": {"name": "west-bucket"}},
            "the region us-east-1, and the plan has eu-west-1; choose another --run, or set region back.",
        ),
        ({"bucket": {"name": "other-bucket"}}, f"the bucket {BUCKET}, and the plan has other-bucket; choose another"),
        (
            {"bucket": {"name": BUCKET, "prefix": "team"}},
            f"the folder sm-launch/runs/{RUN}, and the plan has team/runs/{RUN}; choose another --run, or set bucket.p",
        ),
    ],
)
def test_a_run_stays_where_it_was_begun(user: User, changes: dict[str, Any], sentence: str) -> None:  # noqa: F811
    # Nothing was made there, so no thing of the run tells that the spec is another.
    user.account.faults.deny("CreateTrainingJob")
    user.applies()
    assert user.entries() == {"training-job": "asked"}
    user.account.faults.clear()
    user.s3.create_bucket(Bucket="other-bucket")
    west = user.account.session("eu-west-1").client("s3")
    west.create_bucket(Bucket="west-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    user.spec |= changes
    code, _, err = user.applies("--no-quotas")
    assert code == 1
    assert f"run {RUN} was begun with {sentence}" in err
    for region in (user.account.region, "eu-west-1"):
        assert not user.account.session(region).client("sagemaker").list_training_jobs()["TrainingJobSummaries"]


def test_a_run_stays_of_its_profile() -> None:
    manifest = Manifest("r", "us-east-1", BUCKET, "runs/r", "phi")
    with pytest.raises(LaunchError, match="run r was begun with the profile phi, and the plan has standard; choose"):
        check_unchanged(Plan("r", "us-east-1", BUCKET, "standard", folder="runs/r"), manifest)


def test_overrides_that_only_the_uploads_hold_are_another_spec_too(user: User) -> None:  # noqa: F811
    user.account.faults.fail_job(f"{RUN}.*", "AlgorithmError: told to fail")
    user.applies()
    key = f"sm-launch/runs/{RUN}/code-train/job.json"
    first = user.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    user.spec["train"] |= {"overrides": {"epochs": 2}}
    code, _, err = user.applies()
    assert code == 1 and f"the training-job {RUN}-train was made from another spec or bundle" in err
    # Nothing was uploaded over what the job ran from.
    assert user.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == first
    assert json.loads(first)["overrides"].get("epochs") != 2
