"""Cases and answers leave S3 whole: in a versioned bucket a plain deletion only hides them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from emulator import Account
from programs import BUCKET

from sm_launch.predict_tidy import Tidy

CASE, LONGER = "waiting/0a.nii", "waiting/0a.nii.gz"


@pytest.fixture
def s3(account: Account) -> Any:
    """The user's client; two versions, a marker and a third version of the case are there, and a longer key."""
    client = account.session().client("s3")
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"second"):
        client.put_object(Bucket=BUCKET, Key=CASE, Body=body)
    client.delete_object(Bucket=BUCKET, Key=CASE)
    client.put_object(Bucket=BUCKET, Key=CASE, Body=b"third")
    client.put_object(Bucket=BUCKET, Key=LONGER, Body=b"of another case")
    return client


def kept(s3: Any) -> list[str]:
    """Keys of all versions and markers below waiting/."""
    found = s3.list_object_versions(Bucket=BUCKET, Prefix="waiting/")
    return [one["Key"] for kind in ("Versions", "DeleteMarkers") for one in found.get(kind, ())]


def test_every_version_of_the_object_goes_and_no_other(s3: Any) -> None:
    assert kept(s3).count(CASE) == 4
    tidy = Tidy(s3, time.sleep)
    tidy.delete(f"s3://{BUCKET}/{CASE}")
    assert kept(s3) == [LONGER]
    # What is not there leaves no marker either.
    tidy.delete(f"s3://{BUCKET}/{CASE}")
    assert kept(s3) == [LONGER]


@pytest.mark.parametrize("versioning", ["", "Suspended"])
def test_a_bucket_without_versions(account: Account, versioning: str) -> None:
    s3 = account.session().client("s3")
    if versioning:
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": versioning})
    for key in (CASE, LONGER):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"a")
    Tidy(s3, time.sleep).delete(f"s3://{BUCKET}/{CASE}")
    assert kept(s3) == [LONGER]


def test_without_the_right_to_versions_they_are_hidden_and_one_warning_says_so(
    account: Account, s3: Any, caplog: pytest.LogCaptureFixture
) -> None:
    account.faults.refuse_http("GET", rf"/{BUCKET}/?(\?.*)?$")
    tidy = Tidy(s3, time.sleep)
    for key in (CASE, LONGER):
        tidy.delete(f"s3://{BUCKET}/{key}")
    account.faults.clear()
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="waiting/")
    assert kept(s3).count(LONGER) == 2
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"s3://{BUCKET}: former versions of cases and answers may remain" in warning
    assert "s3:ListBucketVersions and s3:DeleteObjectVersion" in warning
