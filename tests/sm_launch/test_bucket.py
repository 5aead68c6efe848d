"""The bucket: made as planned, taken as it is where it exists, refused where it is not ours."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from emulator import Account

from sm_launch.api_model import validate
from sm_launch.bucket import check_bucket, make_bucket
from sm_launch.errors import LaunchError
from sm_launch.requests_bucket import bucket_steps

NAME, REGION = "hospital-bucket-1", "us-east-1"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def s3(account: Account) -> Any:
    """The user's client."""
    return account.session().client("s3")


def test_made_safely(s3: Any) -> None:
    assert make_bucket(bucket_steps(NAME, REGION, KEY, "sm-launch"), s3, REGION) == []
    block = s3.get_public_access_block(Bucket=NAME)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True} and len(block) == 4
    rule = s3.get_bucket_encryption(Bucket=NAME)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    assert s3.get_bucket_versioning(Bucket=NAME)["Status"] == "Enabled"
    tls, kms = json.loads(s3.get_bucket_policy(Bucket=NAME)["Policy"])["Statement"]
    assert (tls["Effect"], tls["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    assert kms["Condition"] == {"StringNotEqualsIfExists": {"s3:x-amz-server-side-encryption": "aws:kms"}}
    rules = s3.get_bucket_lifecycle_configuration(Bucket=NAME)["Rules"]
    assert rules[0]["Filter"] == {"Prefix": "sm-launch/tmp/"} and rules[0]["Expiration"] == {"Days": 7}
    assert rules[1]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


@pytest.mark.parametrize("key", [None, KEY])
def test_steps_fit_the_apis_model(key: str | None) -> None:
    for region, partition in (("us-east-1", "aws"), ("eu-central-1", "aws"), ("cn-north-1", "aws-cn")):
        steps = bucket_steps(NAME, region, key)
        for step in steps:
            assert validate(step.service, step.operation, step.request) == []
        assert ("CreateBucketConfiguration" in steps[0].request) == (region != "us-east-1")
        assert f"arn:{partition}:s3:::{NAME}/*" in steps[4].request["Policy"]


def test_again_after_a_lost_connection(s3: Any) -> None:
    steps = bucket_steps(NAME, REGION, None, "sm-launch")
    make_bucket(steps[:2], s3, REGION)
    assert make_bucket(steps, s3, REGION) == []
    assert s3.get_bucket_versioning(Bucket=NAME)["Status"] == "Enabled"
    assert make_bucket(steps, s3, REGION) == []


def test_what_its_owner_has_set_stays(s3: Any) -> None:
    s3.create_bucket(Bucket=NAME)
    rules = [{"ID": "mine", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3650}}]
    s3.put_bucket_lifecycle_configuration(Bucket=NAME, LifecycleConfiguration={"Rules": rules})
    s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Suspended"})
    notes = make_bucket(bucket_steps(NAME, REGION, KEY), s3, REGION)
    assert [note.split("another ")[1].split()[0] for note in notes] == ["Status", "Rules"]
    assert s3.get_bucket_lifecycle_configuration(Bucket=NAME)["Rules"][0]["ID"] == "mine"
    assert s3.get_bucket_versioning(Bucket=NAME)["Status"] == "Suspended"
    assert s3.get_public_access_block(Bucket=NAME)["PublicAccessBlockConfiguration"]["BlockPublicAcls"] is True


def test_another_region(account: Account, s3: Any) -> None:
    place = {"LocationConstraint": "eu-west-1"}
    account.session("eu-west-1").client("s3").create_bucket(Bucket=NAME, CreateBucketConfiguration=place)
    with pytest.raises(LaunchError) as error:
        check_bucket(s3, NAME, REGION)
    assert str(error.value) == (
        "the bucket hospital-bucket-1 is in eu-west-1, and the jobs run in us-east-1; take a bucket in us-east-1, or "
        "set region to eu-west-1."
    )


def test_another_account(account: Account, s3: Any) -> None:
    import boto3

    role = "arn:aws:iam::999999999999:role/other"
    other = account.session().client("sts").assume_role(RoleArn=role, RoleSessionName="other")["Credentials"]
    keys = (other["AccessKeyId"], other["SecretAccessKey"], other["SessionToken"])
    boto3.Session(*keys, region_name=REGION).client("s3").create_bucket(Bucket=NAME)
    # moto opens every account's buckets to all; AWS answers 403.
    account.faults.refuse_http("HEAD", f"/{NAME}", 403, "403")
    with pytest.raises(LaunchError, match="belongs to another account, or these credentials may not list it"):
        make_bucket(bucket_steps(NAME, REGION, None), s3, REGION)
    account.faults.clear()
    # The name was taken between the look and the creation.
    account.faults.refuse_http("HEAD", f"/{NAME}", 404, "404")
    with pytest.raises(LaunchError, match="belongs to another account"):
        make_bucket(bucket_steps(NAME, REGION, None), s3, REGION)


def test_may_not_make_buckets(account: Account, s3: Any) -> None:
    assert not check_bucket(s3, NAME, REGION)
    account.faults.refuse_http("PUT", f"/{NAME}")
    with pytest.raises(LaunchError, match="could not make the bucket .*ask for the permission of CreateBucket"):
        make_bucket(bucket_steps(NAME, REGION, None), s3, REGION)


def test_notes_are_sentences(s3: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    make_bucket(bucket_steps(NAME, REGION, None), s3, REGION)
    assert f"made the bucket {NAME}" in caplog.text
