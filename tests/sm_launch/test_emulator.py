"""The emulator of AWS that the end-to-end tests stand on, driven by boto3 alone."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from emulator import Account, Left
from emulator.guard import Beyond, guarded
from programs import BUCKET, IMAGE, INSTANCE, processing, s3_input, spot, training, tuning

from sm_launch.prices import LivePrices
from sm_launch.quotas import check as check_quotas

QUICK = {"Delay": 1, "MaxAttempts": 60}
MEGABYTE = 1024**2
CALLER = """
import socket, sys
print(sys.argv[1:], __name__, flush=True)
socket.create_connection(("192.0.2.1", 80), timeout=1)
"""


@pytest.fixture
def sagemaker(account: Account) -> Any:
    """A client that makes one attempt a call."""
    return account.session().client("sagemaker", config=Config(retries={"total_max_attempts": 1}))


def until(client: Any, kind: str, name: str, status: str = "", key: str = "") -> dict[str, Any]:
    """Describe a job until it has ended, or until it has the status."""
    key = key or f"{kind}Status"
    operation = {
        "TrainingJob": client.describe_training_job,
        "ProcessingJob": client.describe_processing_job,
        "TransformJob": client.describe_transform_job,
        "HyperParameterTuningJob": client.describe_hyper_parameter_tuning_job,
        "Endpoint": client.describe_endpoint,
    }[kind]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = operation(**{f"{kind}Name": name})
        if answer[key] == status or (not status and answer[key] in ("Completed", "Failed", "Stopped", "InService")):
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{name} did not become {status or 'ended'}: {answer[key]}")


def model(account: Account, name: str = "model") -> str:
    """Make a model of the archive in the bucket."""
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model/model.tar.gz"}
    client = account.session().client("sagemaker")
    client.create_model(ModelName=name, ExecutionRoleArn=account.role, PrimaryContainer=container)
    return name


def endpoint(account: Account, name: str = "endpoint", wait: bool = True, **config: Any) -> str:
    """Make an endpoint of the model."""
    client = account.session().client("sagemaker")
    variant = {"VariantName": "AllTraffic", "ModelName": model(account, f"{name}-model")}
    variant |= {"InstanceType": INSTANCE, "InitialInstanceCount": 1}
    client.create_endpoint_config(EndpointConfigName=f"{name}-config", ProductionVariants=[variant], **config)
    client.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-config")
    if wait:
        assert until(client, "Endpoint", name)["EndpointStatus"] == "InService"
    return name


def object_at(account: Account, uri: str, seconds: float = 20) -> bytes:
    """An object, once it is there."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    s3, deadline = account.session().client("s3"), time.monotonic() + seconds
    while True:
        try:
            return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            assert time.monotonic() < deadline, f"{uri} did not come"
            time.sleep(0.05)


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    """AWS's name of an error."""
    return error.value.response["Error"]["Code"]


class TestJobs:
    def test_training_two_machines(self, account: Account, sagemaker: Any) -> None:
        sagemaker.create_training_job(**training("job", account.role, 2, Tags=[{"Key": "run", "Value": "1"}]))
        assert sagemaker.describe_training_job(TrainingJobName="job")["TrainingJobStatus"] == "InProgress"
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="job", WaiterConfig=QUICK)
        found = sagemaker.describe_training_job(TrainingJobName="job")
        assert [each["Status"] for each in found["SecondaryStatusTransitions"]] == [
            "Starting",
            "Downloading",
            "Training",
            "Uploading",
            "Completed",
        ]
        assert found["FinalMetricDataList"][0]["Value"] == pytest.approx(0.3333)
        assert found["BillableTimeInSeconds"] == found["TrainingTimeInSeconds"] >= 1
        archive = object_at(account, found["ModelArtifacts"]["S3ModelArtifacts"])
        with tarfile.open(fileobj=io.BytesIO(archive)) as members:
            assert members.getnames() == ["model.txt"]
        logs = account.session().client("logs")
        group = "/aws/sagemaker/TrainingJobs"
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="job/")["logStreams"]
        assert [each["logStreamName"].split("-")[1] for each in streams] == ["1", "2"]
        assert sagemaker.list_tags(ResourceArn=found["TrainingJobArn"])["Tags"] == [{"Key": "run", "Value": "1"}]
        assert [job["TrainingJobName"] for job in sagemaker.list_training_jobs()["TrainingJobSummaries"]] == ["job"]
        sagemaker.delete_training_job(TrainingJobName="job")
        assert not sagemaker.list_training_jobs()["TrainingJobSummaries"]

    def test_a_failed_job_tells_the_containers_reason(self, account: Account, sagemaker: Any) -> None:
        sagemaker.create_training_job(**training("job", account.role, Environment={"FAIL": "1"}))
        found = until(sagemaker, "TrainingJob", "job")
        assert found["TrainingJobStatus"] == "Failed"
        assert "The data are no NIfTI files" in found["FailureReason"]

    def test_stop(self, account: Account, sagemaker: Any) -> None:
        slow = {"SECONDS_A_STEP": "30"}
        sagemaker.create_training_job(**training("job", account.role, Environment=slow))
        until(sagemaker, "TrainingJob", "job", "Training", "SecondaryStatus")
        sagemaker.stop_training_job(TrainingJobName="job")
        assert until(sagemaker, "TrainingJob", "job")["SecondaryStatus"] == "Stopped"
        with pytest.raises(ClientError, match="the training job is in status Stopped"):
            sagemaker.stop_training_job(TrainingJobName="job")

    def test_warm_pool(self, account: Account, sagemaker: Any) -> None:
        request = training("job", account.role)
        request["ResourceConfig"] = request["ResourceConfig"] | {"KeepAlivePeriodInSeconds": 600}
        sagemaker.create_training_job(**request)
        assert until(sagemaker, "TrainingJob", "job")["WarmPoolStatus"] == {"Status": "Available"}
        assert Left("sagemaker", "warm-pool", "job") in account.everything_left()
        sagemaker.update_training_job(TrainingJobName="job", ResourceConfig={"KeepAlivePeriodInSeconds": 0})
        found = sagemaker.describe_training_job(TrainingJobName="job")
        assert found["WarmPoolStatus"]["Status"] == "Terminated"
        assert Left("sagemaker", "warm-pool", "job") not in account.everything_left()

    def test_spot_interruption_resumes_from_the_checkpoint(self, account: Account, sagemaker: Any) -> None:
        account.faults.interrupt_spot("job", "step=1 ")
        sagemaker.create_training_job(**spot("job", account.role, Environment={"SECONDS_A_STEP": "1", "WAITS_AT": "1"}))
        found = until(sagemaker, "TrainingJob", "job")
        assert found["TrainingJobStatus"] == "Completed"
        assert "Interrupted" in [each["Status"] for each in found["SecondaryStatusTransitions"]]
        assert found["BillableTimeInSeconds"] < found["TrainingTimeInSeconds"]
        lines = [event["message"] for event in account.session().client("logs").filter_log_events(
            logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="job/")["events"]]  # fmt: skip
        assert [line for line in lines if "begins" in line] == ["algo-1 begins at step 0", "algo-1 begins at step 2"]

    def test_processing_shards(self, account: Account, sagemaker: Any) -> None:
        sagemaker.create_processing_job(**processing("prep", account.role, 2))
        sagemaker.get_waiter("processing_job_completed_or_stopped").wait(ProcessingJobName="prep", WaiterConfig=QUICK)
        assert sagemaker.describe_processing_job(ProcessingJobName="prep")["ProcessingJobStatus"] == "Completed"
        assert object_at(account, f"s3://{BUCKET}/out/prep/a.txt") == b"TEXT A"
        keys = account.session().client("s3").list_objects_v2(Bucket=BUCKET, Prefix="out/prep/")["Contents"]
        assert [each["Key"][-5:] for each in keys] == ["a.txt", "b.txt", "c.txt"]

    def test_tuning(self, account: Account, sagemaker: Any) -> None:
        account.world.image_command = ["python3", "/opt/ml/input/data/code/train.py"]
        sagemaker.create_hyper_parameter_tuning_job(**tuning("search", account.role))
        found = until(sagemaker, "HyperParameterTuningJob", "search")
        assert found["HyperParameterTuningJobStatus"] == "Completed"
        assert found["TrainingJobStatusCounters"]["Completed"] == 2
        assert found["ObjectiveStatusCounters"] == {"Succeeded": 2, "Pending": 0, "Failed": 0}
        trials = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName="search")
        assert len(trials["TrainingJobSummaries"]) == 2
        best = found["BestTrainingJob"]
        assert 0.1 <= float(best["TunedHyperParameters"]["lr"].strip('"')) <= 0.2
        assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == pytest.approx(0.3333)
        trial = sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"])
        assert trial["TuningJobArn"] == found["HyperParameterTuningJobArn"]

    def test_transform(self, account: Account, sagemaker: Any) -> None:
        request = {
            "TransformJobName": "batch",
            "ModelName": model(account),
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/texts/"}}
            },
            "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/batch"},
            "TransformResources": {"InstanceType": INSTANCE, "InstanceCount": 1},
        }
        sagemaker.create_transform_job(**request)
        sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName="batch", WaiterConfig=QUICK)
        assert json.loads(object_at(account, f"s3://{BUCKET}/batch/b.txt.out"))["bytes"] == 6
        account.session().client("s3").put_object(Bucket=BUCKET, Key="texts/z.txt", Body=b"bad")
        sagemaker.create_transform_job(**request | {"TransformJobName": "worse"})
        found = until(sagemaker, "TransformJob", "worse")
        assert (found["TransformJobStatus"], "no NIfTI file" in found["FailureReason"]) == ("Failed", True)


class TestEndpoints:
    def test_real_time(self, account: Account, sagemaker: Any) -> None:
        runtime = account.session().client("sagemaker-runtime")
        name = endpoint(account)
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=QUICK)
        volume = b"\x1f\x8b" + os.urandom(12 * MEGABYTE)
        answer = runtime.invoke_endpoint(
            EndpointName=name, Body=volume, ContentType="application/gzip", Accept="application/json"
        )
        assert answer["ContentType"] == "application/json"
        assert json.loads(answer["Body"].read()) == {"bytes": len(volume), "first": "1f8b", "model": ["weights.txt"]}
        with pytest.raises(ClientError, match="no NIfTI file") as error:
            runtime.invoke_endpoint(EndpointName=name, Body=b"bad")
        assert (code_of(error), error.value.response["OriginalStatusCode"]) == ("ModelError", 400)
        with pytest.raises(ClientError, match=f"exceeded {25 * MEGABYTE} bytes") as error:
            runtime.invoke_endpoint(EndpointName=name, Body=b"0" * (25 * MEGABYTE + 1))
        assert code_of(error) == "413"
        account.world.invoke_timeout = 0.5
        with pytest.raises(ClientError, match="timed out while waiting"):
            runtime.invoke_endpoint(EndpointName=name, Body=b"slow")
        with pytest.raises(ClientError, match="Endpoint nobody of account 123456789012 not found"):
            runtime.invoke_endpoint(EndpointName="nobody", Body=b"")
        with pytest.raises(ClientError, match="no asynchronous endpoint"):
            runtime.invoke_endpoint_async(EndpointName=name, InputLocation=f"s3://{BUCKET}/texts/a.txt")

    def test_deleted_name_is_free_once_it_is_gone(self, account: Account, sagemaker: Any) -> None:
        name = endpoint(account)
        scaling = account.session().client("application-autoscaling")
        place = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{name}/variant/AllTraffic",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }
        metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        tracking = {"TargetValue": 5.0, "PredefinedMetricSpecification": metric}
        scaling.register_scalable_target(**place, MinCapacity=1, MaxCapacity=2)
        scaling.put_scaling_policy(
            **place,
            PolicyName="load",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=tracking,
        )
        kinds = [each.kind for each in account.everything_left() if each.service == "application-autoscaling"]
        assert kinds == ["scalable-target", "scaling-policy"]
        sagemaker.delete_endpoint(EndpointName=name)
        sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=QUICK)
        with pytest.raises(ClientError, match="Could not find endpoint") as error:
            sagemaker.describe_endpoint(EndpointName=name)
        assert code_of(error) == "ValidationException"
        sagemaker.delete_endpoint_config(EndpointConfigName=f"{name}-config")
        sagemaker.delete_model(ModelName=f"{name}-model")
        gone = ("sagemaker", "application-autoscaling")
        assert [each for each in account.everything_left() if each.service in gone] == []

    def test_update_goes_back_when_the_new_container_fails(self, account: Account, sagemaker: Any) -> None:
        name = endpoint(account)
        account.faults.fail_endpoint(name, "no capacity")
        sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-config")
        found = until(sagemaker, "Endpoint", name)
        assert (found["EndpointStatus"], found["FailureReason"]) == ("InService", "no capacity")
        assert (
            account.session().client("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=b"x")["Body"].read()
        )

    def test_asynchronous(self, account: Account) -> None:
        places = {"S3OutputPath": f"s3://{BUCKET}/async", "S3FailurePath": f"s3://{BUCKET}/failed"}
        name = endpoint(account, AsyncInferenceConfig={"OutputConfig": places})
        runtime = account.session().client("sagemaker-runtime")
        answer = runtime.invoke_endpoint_async(EndpointName=name, InputLocation=f"s3://{BUCKET}/texts/a.txt")
        assert json.loads(object_at(account, answer["OutputLocation"]))["bytes"] == 6
        account.session().client("s3").put_object(Bucket=BUCKET, Key="bad.txt", Body=b"bad")
        answer = runtime.invoke_endpoint_async(EndpointName=name, InputLocation=f"s3://{BUCKET}/bad.txt")
        assert object_at(account, answer["FailureLocation"]) == b"no NIfTI file"
        with pytest.raises(ClientError, match="is an asynchronous endpoint"):
            runtime.invoke_endpoint(EndpointName=name, Body=b"x")

    def test_serverless_takes_4_mb(self, account: Account, sagemaker: Any) -> None:
        serverless = {"MemorySizeInMB": 6144, "MaxConcurrency": 1}
        variant = {"VariantName": "v", "ModelName": model(account), "ServerlessConfig": serverless}
        sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
        until(sagemaker, "Endpoint", "e")
        runtime = account.session().client("sagemaker-runtime")
        assert runtime.invoke_endpoint(EndpointName="e", Body=b"x" * 4 * MEGABYTE)["InvokedProductionVariant"] == "v"
        with pytest.raises(ClientError, match="413"):
            runtime.invoke_endpoint(EndpointName="e", Body=b"x" * (4 * MEGABYTE + 1))


class TestRefusals:
    """Wrong requests, in AWS's words."""

    def test_by_the_apis_model(self, account: Account) -> None:
        # botocore looks at less than AWS does: the pattern of a name is the service's to refuse.
        client = account.session().client("sagemaker")
        with pytest.raises(ClientError, match="Value 'my_job' at 'trainingJobName' failed to satisfy") as error:
            client.create_training_job(**training("my_job", account.role))
        assert code_of(error) == "ValidationException"
        request = training("job", account.role)
        request["ResourceConfig"] = request["ResourceConfig"] | {"InstanceType": "ml.g5.3xlarge"}
        with pytest.raises(ClientError, match="Member must satisfy enum value set"):
            client.create_training_job(**request)
        with pytest.raises(ClientError, match="length less than or equal to 512"):
            client.create_training_job(**training("job", account.role, Environment={"A": "x" * 513}))

    def test_what_the_client_would_not_send(self, account: Account) -> None:
        client = account.session().client("sagemaker", config=Config(parameter_validation=False))
        with pytest.raises(ClientError, match="'roleArn' failed to satisfy constraint: Member must not be null"):
            client.create_training_job(**{**training("job", account.role), "RoleArn": None})
        with pytest.raises(ClientError, match="Expected boolean at 'enableManagedSpotTraining'") as error:
            client.create_training_job(**training("job", account.role, EnableManagedSpotTraining="yes"))
        assert code_of(error) == "SerializationException"

    def test_by_the_service(self, account: Account, sagemaker: Any) -> None:
        role = account.role
        with pytest.raises(ClientError, match="Could not assume role .* exists and allows"):
            sagemaker.create_training_job(**training("job", role + "x"))
        late = training("job", role, EnableManagedSpotTraining=True)
        with pytest.raises(ClientError, match="Invalid MaxWaitTimeInSeconds"):
            sagemaker.create_training_job(**late)
        warm = spot("job", role)
        warm["ResourceConfig"] = warm["ResourceConfig"] | {"KeepAlivePeriodInSeconds": 600}
        with pytest.raises(ClientError, match="not supported with managed spot training"):
            sagemaker.create_training_job(**warm)
        sagemaker.create_training_job(**training("job", role))
        with pytest.raises(ClientError, match="a job with this name already exists") as error:
            sagemaker.create_training_job(**training("JOB", role))
        assert code_of(error) == "ResourceInUse"

    def test_unknown_names(self, account: Account, sagemaker: Any) -> None:
        def words(call: Any, **names: str) -> str:
            with pytest.raises(ClientError) as error:
                call(**names)
            return f"{code_of(error)}: {error.value.response['Error']['Message']}"

        arn = "arn:aws:sagemaker:us-east-1:123456789012"
        describe = sagemaker.describe_hyper_parameter_tuning_job
        assert words(describe, HyperParameterTuningJobName="x").startswith("ResourceNotFound: ")
        missing = words(sagemaker.describe_training_job, TrainingJobName="x")
        assert missing == "ValidationException: Requested resource not found."
        missing = words(sagemaker.describe_processing_job, ProcessingJobName="x")
        assert missing == "ValidationException: Could not find requested job with name: x"
        missing = words(sagemaker.delete_model, ModelName="x")
        assert missing == f'ValidationException: Could not find model "{arn}:model/x".'
        missing = words(sagemaker.create_endpoint, EndpointName="e", EndpointConfigName="x")
        assert missing == f'ValidationException: Could not find endpoint configuration "{arn}:endpoint-config/x".'


class TestFaults:
    def test_throttling_that_a_retry_survives(self, account: Account, sagemaker: Any) -> None:
        account.faults.throttle("ListModels", times=1)
        with pytest.raises(ClientError, match="Rate exceeded"):
            sagemaker.list_models()
        account.faults.throttle("ListModels", times=1)
        assert account.session().client("sagemaker").list_models()["Models"] == []

    def test_access_denied(self, account: Account, sagemaker: Any) -> None:
        account.faults.deny("CreateTrainingJob")
        with pytest.raises(ClientError, match="is not authorized to perform: sagemaker:CreateTrainingJob") as error:
            sagemaker.create_training_job(**training("job", account.role))
        assert code_of(error) == "AccessDeniedException"

    def test_lost_connection_after_the_call_took_effect(self, account: Account, sagemaker: Any) -> None:
        account.faults.lose_connection("CreateModel")
        with pytest.raises(ConnectionClosedError):
            sagemaker.create_model(ModelName="m", ExecutionRoleArn=account.role)
        assert sagemaker.describe_model(ModelName="m")["ModelName"] == "m"
        account.faults.lose_connection("DeleteModel", executed=False)
        with pytest.raises(ConnectionClosedError):
            sagemaker.delete_model(ModelName="m")
        assert sagemaker.describe_model(ModelName="m")["ModelName"] == "m"

    def test_quota_and_capacity(self, account: Account, sagemaker: Any) -> None:
        account.faults.limit(INSTANCE, "training job usage", 1)
        with pytest.raises(ClientError, match="is 1 Instances, with current utilization of 0 Instances") as error:
            sagemaker.create_training_job(**training("job", account.role, 2))
        assert code_of(error) == "ResourceLimitExceeded"
        quotas = account.session().client("service-quotas")
        pages = quotas.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
        values = {each["QuotaName"]: each["Value"] for page in pages for each in page["Quotas"]}
        assert values[f"{INSTANCE} for training job usage"] == 1
        account.faults.no_capacity("job")
        sagemaker.create_training_job(**training("job", account.role))
        found = until(sagemaker, "TrainingJob", "job")
        assert found["FailureReason"].startswith("CapacityError: Unable to provision")
        assert "TrainingStartTime" not in found

    def test_endpoint_that_fails_or_is_slow(self, account: Account, sagemaker: Any) -> None:
        account.faults.fail_endpoint("bad", "no capacity")
        endpoint(account, "bad", wait=False)
        assert until(sagemaker, "Endpoint", "bad", "Failed")["FailureReason"] == "no capacity"
        account.faults.slow_endpoint("slow", 1.0)
        endpoint(account, "slow", wait=False)
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            sagemaker.delete_endpoint(EndpointName="slow")
        until(sagemaker, "Endpoint", "slow")

    def test_container_that_does_not_start(self, account: Account, sagemaker: Any) -> None:
        account.world.serve_command = {"": ["python3", "-c", "raise SystemExit('no such model')"]}
        endpoint(account, wait=False)
        found = until(sagemaker, "Endpoint", "endpoint", "Failed")
        assert "did not pass the ping health check" in found["FailureReason"]
        logs = account.session().client("logs").filter_log_events(logGroupName="/aws/sagemaker/Endpoints/endpoint")
        assert any("no such model" in event["message"] for event in logs["events"])

    def test_s3_refused(self, account: Account) -> None:
        account.faults.refuse_http("PUT", f"/{BUCKET}/code/")
        s3 = account.session().client("s3")
        with pytest.raises(ClientError, match="Access Denied"):
            s3.put_object(Bucket=BUCKET, Key="code/x", Body=b"x" * MEGABYTE)
        s3.put_object(Bucket=BUCKET, Key="other", Body=b"x")


class TestOtherServices:
    def test_lustre_channel(self, account: Account, sagemaker: Any) -> None:
        fsx = account.session().client("fsx")
        lustre = {"DeploymentType": "PERSISTENT_2", "PerUnitStorageThroughput": 125}
        request = {"FileSystemType": "LUSTRE", "StorageCapacity": 1200, "SubnetIds": ["subnet-12345678"]}
        made = fsx.create_file_system(**request, LustreConfiguration=lustre)["FileSystem"]
        assert made["Lifecycle"] == "CREATING"
        name = made["FileSystemId"]
        while fsx.describe_file_systems(FileSystemIds=[name])["FileSystems"][0]["Lifecycle"] == "CREATING":
            time.sleep(0.02)
        association = {"FileSystemPath": "/code", "DataRepositoryPath": f"s3://{BUCKET}/code"}
        fsx.create_data_repository_association(FileSystemId=name, **association)
        mount = made["LustreConfiguration"]["MountName"]
        source = {"FileSystemId": name, "FileSystemType": "FSxLustre", "FileSystemAccessMode": "ro"}
        channel = {
            "ChannelName": "code",
            "DataSource": {"FileSystemDataSource": {**source, "DirectoryPath": f"/{mount}/code"}},
        }
        request = training("job", account.role, InputDataConfig=[channel])
        with pytest.raises(ClientError, match="VpcConfig must be provided"):
            sagemaker.create_training_job(**request)
        network = {"Subnets": ["subnet-12345678"], "SecurityGroupIds": ["sg-12345678"]}
        sagemaker.create_training_job(**request, VpcConfig=network)
        assert until(sagemaker, "TrainingJob", "job")["TrainingJobStatus"] == "Completed"
        channel["DataSource"]["FileSystemDataSource"]["DirectoryPath"] = "/wrong/code"
        request = training("lost", account.role, InputDataConfig=[channel], VpcConfig=network)
        sagemaker.create_training_job(**request)
        assert "DirectoryPath must begin with" in until(sagemaker, "TrainingJob", "lost")["FailureReason"]
        fsx.delete_file_system(FileSystemId=name)
        while any(each.service == "fsx" for each in account.everything_left()):
            time.sleep(0.02)
        with pytest.raises(ClientError, match="does not exist"):
            fsx.describe_file_systems(FileSystemIds=[name])

    def test_prices_and_quotas_as_sm_launch_asks_for_them(self, account: Account) -> None:
        prices = LivePrices(account.session().client("pricing"), account.region)
        assert prices.instance_hour("ml.g5.2xlarge", "training") == 1.5151
        account.faults.limit("ml.g4dn.xlarge", "training job usage", 0)
        wanted = {"ml.g4dn.xlarge for training job usage": 1, "ml.p9.xlarge for endpoint usage": 1}
        low, unknown = check_quotas(wanted, account.session().client("service-quotas"), account.region)
        assert "is 0 in us-east-1, and the plan needs 1" in low and low.endswith("/quotas/L-3F53BF0F.")
        assert "'ml.p9.xlarge for endpoint usage' is not listed" in unknown

    def test_pages(self, account: Account, sagemaker: Any) -> None:
        for index in range(12):
            sagemaker.create_model(ModelName=f"m{index:02}", ExecutionRoleArn=account.role)
        pages = list(sagemaker.get_paginator("list_models").paginate(SortBy="Name", SortOrder="Ascending"))
        names = [each["ModelName"] for page in pages for each in page["Models"]]
        assert (len(pages), names) == (2, [f"m{index:02}" for index in range(12)])


class TestGuard:
    def test_nothing_beyond_loopback(self, account: Account) -> None:
        with pytest.raises(Beyond), socket.socket() as caller:
            caller.connect(("192.0.2.1", 80))
        with pytest.raises(Beyond):
            socket.getaddrinfo("sagemaker.us-east-1.amazonaws.com", 443)
        assert boto3.client("sts").get_caller_identity()["Account"] == "123456789012"

    def test_a_command_of_its_own_process(self, tmp_path: Path) -> None:
        (tmp_path / "caller.py").write_text(CALLER, encoding="utf-8")
        done = subprocess.run(guarded("caller", "a", "b"), cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == "['a', 'b'] __main__\n" and "a test stays on this machine" in done.stderr

    def test_missing_data_fail_the_job(self, account: Account, sagemaker: Any) -> None:
        channels = [s3_input("code", f"s3://{BUCKET}/code/"), s3_input("train", f"s3://{BUCKET}/nothing/")]
        sagemaker.create_training_job(**training("job", account.role, InputDataConfig=channels))
        found = until(sagemaker, "TrainingJob", "job")
        assert (found["TrainingJobStatus"], found["FailureReason"][:12]) == ("Failed", "ClientError:")
