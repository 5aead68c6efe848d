"""Questions before the first upload: which buckets hold patient data, and services that cannot be reached or refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import launch_plans as lp
import pytest
from emulator import Account, aws

from sm_launch import aws as aws_of
from sm_launch import phi
from sm_launch.errors import LaunchError
from sm_launch.policy import caller_policy
from sm_launch.policy_parts import buckets
from sm_launch.preflight import check_account
from sm_launch.steps import Copy, Plan

HOSPITAL = "hospital-data"
SOURCE = "InputDataConfig.1.DataSource.S3DataSource.S3Uri"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with aws(folder=tmp_path / "aws") as found:
        yield found


def make(account: Account, name: str, hardened: bool) -> None:
    """A bucket with a case, as careless as buckets once were or as patient data need it."""
    s3 = account.session().client("s3")
    s3.create_bucket(Bucket=name)
    s3.delete_public_access_block(Bucket=name)
    s3.put_object(Bucket=name, Key="brats/a.nii.gz", Body=b"a")
    s3.put_object(Bucket=name, Key=f"{lp.RUN}/code/a", Body=b"a")
    for step in lp.bucket()[1:3] if hardened else ():
        method = {"PutPublicAccessBlock": s3.put_public_access_block, "PutBucketEncryption": s3.put_bucket_encryption}
        method[step.operation](**{**step.request, "Bucket": name})


def plan_of(account: Account, profile: str = "phi") -> Plan:
    """A training whose data lie in the hospital's bucket, with the run's code in the run's folder."""
    step = lp.changed(lp.training(), lp.put(SOURCE, f"s3://{HOSPITAL}/brats/"))
    return replace(lp.plan(step, profile=profile), role=account.role, folder=lp.RUN)


def test_buckets_of_data_and_models_are_among_those_of_the_plan() -> None:
    model = lp.changed(lp.model(), lp.put("PrimaryContainer.ModelDataUrl", "s3://models/m.tar.gz"))
    step = lp.changed(lp.training(), lp.put(SOURCE, f"s3://{HOSPITAL}/brats/"))
    assert buckets(lp.plan(step, model)) == [lp.BUCKET, HOSPITAL, "models"]


def test_data_in_an_open_bucket_are_refused(account: Account) -> None:
    make(account, lp.BUCKET, hardened=True)
    make(account, HOSPITAL, hardened=False)
    with pytest.raises(LaunchError, match=f"Bucket {HOSPITAL} doesn't block public access by BlockPublicAcls"):
        check_account(plan_of(account), account.session(), with_quotas=False)
    check_account(plan_of(account, "standard"), account.session(), with_quotas=False)


def test_a_folder_that_is_brought_stands_for_no_other_of_a_like_name(account: Account, tmp_path: Path) -> None:
    make(account, lp.BUCKET, hardened=True)
    step = lp.changed(lp.training(), lp.put(SOURCE, f"s3://{lp.BUCKET}/data/brats_2mm/"))
    like = replace(lp.plan(step), role=account.role, folder=lp.RUN)
    like = replace(like, copies=(Copy(tmp_path, f"s3://{lp.BUCKET}/data/brats/", ()),))
    with pytest.raises(LaunchError, match="data/brats_2mm/: holds no object"):
        check_account(like, account.session(), with_quotas=False)
    check_account(
        replace(like, copies=(Copy(tmp_path, f"s3://{lp.BUCKET}/data/brats_2mm/", ()),)),
        account.session(), with_quotas=False,
    )  # fmt: skip


def test_data_in_a_closed_bucket_are_taken(account: Account) -> None:
    make(account, lp.BUCKET, hardened=True)
    make(account, HOSPITAL, hardened=True)
    check_account(plan_of(account), account.session(), with_quotas=False)


def test_a_bucket_that_may_not_be_asked_is_told_as_such(account: Account) -> None:
    make(account, lp.BUCKET, hardened=True)
    make(account, HOSPITAL, hardened=True)
    account.faults.refuse_http("GET", f"/{HOSPITAL}")
    with pytest.raises(LaunchError, match="AccessDenied.*ask for the permission of GetPublicAccessBlock") as caught:
        check_account(plan_of(account), account.session(), with_quotas=False)
    assert "public access by" not in str(caught.value)


def test_caller_may_ask_other_buckets_under_phi() -> None:
    step = lp.changed(lp.training(), lp.put(SOURCE, f"s3://{HOSPITAL}/brats/"))
    for profile, wanted in (("phi", 1), ("standard", 0)):
        policy = caller_policy(lp.plan(step, profile=profile), lp.ACCOUNT)
        asked = [one for one in policy["Statement"] if f"arn:aws:s3:::{HOSPITAL}" in one["Resource"]]
        assert len([one for one in asked if "s3:GetEncryptionConfiguration" in one["Action"]]) == wanted


def test_a_role_that_cannot_be_looked_at_stops_nobody(
    account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make(account, lp.BUCKET, hardened=True)
    make(account, HOSPITAL, hardened=True)
    # Nobody listens there: a closed VPC without an endpoint of IAM.
    monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", "http://127.0.0.1:9")
    check_account(plan_of(account), account.session(), with_quotas=False)
    assert "the role is not checked, SageMaker will do it: could not look at the role" in caplog.text


def test_a_bucket_that_cannot_be_reached_is_one_sentence(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    client = aws_of.client(account.session(), "s3", patient=False)
    with pytest.raises(LaunchError, match="could not see whether the bucket demo-bucket is fit for patient data"):
        phi.bucket_problems(client, lp.BUCKET)


def test_a_session_has_one_client_of_a_service(account: Account) -> None:
    session = account.session()
    assert aws_of.client(session, "s3") is aws_of.client(session, "s3")
    assert aws_of.client(session, "s3") is not aws_of.client(session, "s3", patient=False)
    assert aws_of.client(session, "s3") is not aws_of.client(account.session(), "s3")
