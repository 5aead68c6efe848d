"""The genuine serving container behind an endpoint: real-time, asynchronous and batch, over boto3."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from emulator import Account, aws
from foreign import zoo_bundle
from programs import BUCKET, IMAGE, INSTANCE
from served import pack, volume_of
from tiny import make_case, save

from sm_launch.follow import follow

NIFTI = "application/x-nifti"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Account, str]]:
    """An account with a model of a foreign bundle, served asynchronously and in real time; the real-time endpoint."""
    folder = tmp_path_factory.mktemp("served")
    artifact = io.BytesIO()
    with tarfile.open(fileobj=artifact, mode="w:gz") as archive:
        archive.add(pack(zoo_bundle(folder / "source"), folder / "artifact"), ".")
    with aws(folder=folder / "aws") as account:
        s3, client = account.session().client("s3"), account.session().client("sagemaker")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=artifact.getvalue())
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
        client.create_model(ModelName="zoo", ExecutionRoleArn=account.role, PrimaryContainer=container)
        variant = {"VariantName": "v", "ModelName": "zoo", "InstanceType": INSTANCE, "InitialInstanceCount": 1}
        client.create_endpoint_config(EndpointConfigName="zoo", ProductionVariants=[variant])
        client.create_endpoint(EndpointName="zoo", EndpointConfigName="zoo")
        events = list(follow(account.session(), "endpoint", "zoo", poll_seconds=0.3))
        assert events[-1].outcome.succeeded, events
        yield account, "zoo"


@pytest.fixture
def case(tmp_path: Path) -> bytes:
    """A NIfTI volume of one channel."""
    return save(make_case(3)[0][..., 0], tmp_path / "case.nii.gz").read_bytes()


def invoke(account: Account, name: str, body: bytes, **more: Any) -> bytes:
    """A request."""
    runtime = account.session().client("sagemaker-runtime")
    return runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType=NIFTI, **more)["Body"].read()


def test_a_volume_is_segmented(served: tuple[Account, str], case: bytes) -> None:
    assert volume_of(invoke(*served, case)).shape == volume_of(case).shape


def test_the_containers_refusal_reaches_the_client(served: tuple[Account, str]) -> None:
    with pytest.raises(ClientError) as error:
        invoke(*served, b"no volume")
    answer = error.value.response
    assert answer["Error"]["Code"] == "ModelError" and answer["OriginalStatusCode"] == 400
    assert "Traceback" not in answer["OriginalMessage"]


def test_batch_gives_the_same_volumes(served: tuple[Account, str], case: bytes) -> None:
    account, name = served
    s3 = account.session().client("s3")
    s3.put_object(Bucket=BUCKET, Key="cases/deep/case.nii.gz", Body=case)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/cases/"}}
    account.session().client("sagemaker").create_transform_job(
        TransformJobName="batch",
        ModelName="zoo",
        TransformInput={"DataSource": source, "ContentType": NIFTI},
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/labels"},
        TransformResources={"InstanceType": INSTANCE, "InstanceCount": 1},
    )
    assert list(follow(account.session(), "transform-job", "batch", poll_seconds=0.3))[-1].outcome.succeeded
    batch = s3.get_object(Bucket=BUCKET, Key="labels/deep/case.nii.gz.out")["Body"].read()
    labels = [np.asanyarray(volume_of(each).dataobj) for each in (batch, invoke(account, name, case))]
    assert np.array_equal(*labels)


def test_the_containers_log_is_in_cloudwatch(served: tuple[Account, str]) -> None:
    account, name = served
    logs, deadline = account.session().client("logs"), time.monotonic() + 10
    while time.monotonic() < deadline:
        events = logs.filter_log_events(logGroupName=f"/aws/sagemaker/Endpoints/{name}")["events"]
        if any("INFO" in event["message"] for event in events):
            return
        time.sleep(0.1)
    pytest.fail(f"no line of the container's log came: {events}")
