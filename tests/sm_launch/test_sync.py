"""Bringing files to S3: only what is new, checked on arrival, resumed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from emulator import Account
from programs import BUCKET

from sm_launch.code_channel import folder_copy
from sm_launch.errors import LaunchError
from sm_launch.steps import Upload
from sm_launch.sync import Sent, copy_folder, put_uploads

PART = 5 * 1024**2
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def s3(account: Account) -> Any:
    """The user's client, without patience for refusals."""
    from botocore.config import Config

    return account.session().client("s3", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """A data set of three files, one of them of two and a half parts."""
    folder = tmp_path / "Task01"
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "dataset.json").write_text("{}", encoding="utf-8")
    (folder / "imagesTr" / "a b.nii.gz").write_bytes(b"a" * 1000)
    (folder / "imagesTr" / "big.nii.gz").write_bytes(os.urandom(5 * PART // 2))
    return folder


def bring(folder: Path, s3: Any, **more: Any) -> Sent:
    """Copy the folder below s3://BUCKET/data/."""
    copy = folder_copy(str(folder), f"s3://{BUCKET}/data", "data.source")
    return copy_folder(copy, s3, multipart_from=2 * PART, part_size=PART, **more)


def puts(account: Account) -> list[str]:
    """Keys and versions: a second put of an object would make a second version."""
    s3 = account.session().client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return [each["Key"] for each in s3.list_object_versions(Bucket=BUCKET, Prefix="data/")["Versions"]]


def test_a_folder_arrives_and_is_not_sent_again(account: Account, s3: Any, cases: Path) -> None:
    size = sum(path.stat().st_size for path in cases.rglob("*") if path.is_file())
    assert bring(cases, s3) == Sent(3, size, 0)
    for path in (path for path in cases.rglob("*") if path.is_file()):
        key = f"data/{path.relative_to(cases).as_posix()}"
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == path.read_bytes()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert s3.head_object(Bucket=BUCKET, Key=key)["Metadata"] == {"sha256": digest}
    before = puts(account)
    assert bring(cases, s3) == Sent(0, 0, 3)
    assert puts(account) == before


def test_what_changed_is_sent(s3: Any, cases: Path) -> None:
    bring(cases, s3)
    # The same size: only the checksum tells.
    (cases / "imagesTr" / "a b.nii.gz").write_bytes(b"b" * 1000)
    assert bring(cases, s3) == Sent(1, 1000, 2)
    assert s3.get_object(Bucket=BUCKET, Key="data/imagesTr/a b.nii.gz")["Body"].read() == b"b" * 1000


@pytest.mark.parametrize("content", [b"longer than it was", b"[]"])
def test_a_file_that_changed_since_the_plan_is_not_sent(s3: Any, cases: Path, content: bytes) -> None:
    copy = folder_copy(str(cases), f"s3://{BUCKET}/data", "data.source")
    # Of the same size, the time alone tells.
    os.utime(cases / "dataset.json", ns=(0, 0))
    (cases / "dataset.json").write_bytes(content)
    with pytest.raises(LaunchError, match="dataset.json: has changed since it was planned.*; plan again."):
        copy_folder(copy, s3)
    assert not s3.list_objects_v2(Bucket=BUCKET, Prefix="data/dataset.json").get("Contents")
    assert bring(cases, s3).objects >= 1


@pytest.mark.parametrize("name, call", [("dataset.json", "PutObject"), ("imagesTr/big.nii.gz", "UploadPart")])
def test_a_file_that_changes_while_it_is_sent_is_told(s3: Any, cases: Path, name: str, call: str) -> None:
    changed = []

    def change(params: Any, **_: Any) -> None:
        if f"/data/{name}" in params["url"] and not changed:
            changed.append(name)
            (cases / name).write_bytes(b"longer than it was" * 1000)

    s3.meta.events.register(f"before-call.s3.{call}", change)
    with pytest.raises(LaunchError, match=f"{name}: has changed since it was planned, from"):
        bring(cases, s3)


def test_objects_of_other_tools_are_known_by_s3s_checksum(s3: Any, cases: Path) -> None:
    s3.put_object(Bucket=BUCKET, Key="data/dataset.json", Body=b"{}", ChecksumAlgorithm="SHA256")
    assert bring(cases, s3).same == 1


def test_strangers_stop_it_before_anything_is_sent(s3: Any, cases: Path) -> None:
    s3.put_object(Bucket=BUCKET, Key="data/imagesTr/old.nii.gz", Body=b"old")
    s3.put_object(Bucket=BUCKET, Key="data/", Body=b"")
    with pytest.raises(
        LaunchError, match=f"s3://{BUCKET}/data/: holds 1 objects that are not in .*, first imagesTr/old"
    ):
        bring(cases, s3)
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="data/")["Contents"]
    assert [one["Key"] for one in listed] == ["data/", "data/imagesTr/old.nii.gz"]


def test_a_cut_upload_goes_on(account: Account, s3: Any, cases: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    sent = []
    s3.meta.events.register("before-call.s3.UploadPart", lambda params, **_: sent.append(params["url"]))
    account.faults.refuse_http("POST", rf"/{BUCKET}/data/imagesTr/big", 500, "InternalError")
    with pytest.raises(LaunchError, match="could not begin the upload"):
        bring(cases, s3)
    account.faults.clear()
    begun = s3.create_multipart_upload(
        Bucket=BUCKET,
        Key="data/imagesTr/big.nii.gz",
        ChecksumAlgorithm="SHA256",
        Metadata={"sha256": hashlib.sha256((cases / "imagesTr" / "big.nii.gz").read_bytes()).hexdigest()},
    )
    with (cases / "imagesTr" / "big.nii.gz").open("rb") as file:
        place = {"Bucket": BUCKET, "Key": "data/imagesTr/big.nii.gz", "UploadId": begun["UploadId"]}
        s3.upload_part(**place, PartNumber=1, Body=file.read(PART))
    sent.clear()
    assert bring(cases, s3).objects == 1
    assert len(sent) == 2 and "1 of 3 parts were there" in caplog.text
    body = s3.get_object(Bucket=BUCKET, Key="data/imagesTr/big.nii.gz")["Body"].read()
    assert body == (cases / "imagesTr" / "big.nii.gz").read_bytes()


def test_parts_of_another_content_are_not_trusted(s3: Any, cases: Path) -> None:
    place = {"Bucket": BUCKET, "Key": "data/imagesTr/big.nii.gz"}
    begun = s3.create_multipart_upload(**place, ChecksumAlgorithm="SHA256", Metadata={"sha256": "0" * 64})
    s3.upload_part(**place, UploadId=begun["UploadId"], PartNumber=1, Body=b"x" * PART)
    bring(cases, s3)
    found = s3.get_object(**place)
    content = (cases / "imagesTr" / "big.nii.gz").read_bytes()
    assert found["Body"].read() == content
    assert found["Metadata"] == {"sha256": hashlib.sha256(content).hexdigest()}


def test_kms(s3: Any, cases: Path) -> None:
    bring(cases, s3)
    # Under another encryption it is not the same object.
    assert bring(cases, s3, kms_key=KEY).objects == 3
    for name in ("dataset.json", "imagesTr/big.nii.gz"):
        found = s3.head_object(Bucket=BUCKET, Key=f"data/{name}")
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", KEY)
    assert bring(cases, s3, kms_key=KEY).same == 3


def test_uploads_of_a_plan(s3: Any, tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    file.write_text("{}", encoding="utf-8")
    digest = hashlib.sha256(b"{}").hexdigest()
    made = Upload(f"s3://{BUCKET}/code/job.json", 2, digest, data=b"{}")
    uploads = [Upload(f"s3://{BUCKET}/code/train.json", 2, digest, path=file), made]
    assert put_uploads(uploads, s3) == Sent(2, 4, 0)
    assert put_uploads(uploads, s3) == Sent(0, 0, 2)
    file.write_text("[]", encoding="utf-8")
    with pytest.raises(LaunchError, match="train.json: has changed since it was planned; plan again."):
        put_uploads(uploads, s3)
    file.unlink()
    with pytest.raises(LaunchError, match="train.json: cannot be read .No such file or directory.; plan again."):
        put_uploads(uploads, s3)


def test_refused(account: Account, s3: Any, cases: Path) -> None:
    account.faults.refuse_http("PUT", f"/{BUCKET}/data/")
    with pytest.raises(LaunchError, match="could not upload s3://.*AccessDenied.*permission of PutObject"):
        bring(cases, s3)
    account.faults.clear()
    copy = folder_copy(str(cases), "s3://no-such-bucket-1/data", "data.source")
    with pytest.raises(LaunchError, match="could not list s3://no-such-bucket-1/data/: AWS says NoSuchBucket"):
        copy_folder(copy, s3)
    copy = folder_copy(str(cases), f"s3://{BUCKET}/data", "data.source")
    (cases / "dataset.json").unlink()
    with pytest.raises(LaunchError, match="dataset.json: cannot be read"):
        copy_folder(copy, s3)


def test_a_lost_connection(account: Account, s3: Any, cases: Path) -> None:
    patient = account.session().client("s3")
    account.faults.cut_http("PUT", f"/{BUCKET}/data/dataset.json", times=1)
    account.faults.cut_http("PUT", f"/{BUCKET}/data/imagesTr/big", times=1, executed=False)
    assert bring(cases, patient).objects == 3
    assert bring(cases, patient).same == 3
    (cases / "dataset.json").write_text("[]", encoding="utf-8")
    account.faults.cut_http("PUT", f"/{BUCKET}/data/dataset.json", times=99, executed=False)
    with pytest.raises(LaunchError, match="could not upload s3://.*/dataset.json: Connection was closed"):
        bring(cases, s3)


def test_someone_else_writes_there(account: Account, s3: Any, cases: Path) -> None:
    def spoil(**_: Any) -> None:
        account.world.clients("s3").put_object(Bucket=BUCKET, Key="data/dataset.json", Body=b"[]")

    s3.meta.events.register("after-call.s3.PutObject", spoil)
    with pytest.raises(LaunchError, match="S3 holds something else than was sent"):
        bring(cases, s3)
