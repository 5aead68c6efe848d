"""Training jobs: Create, Describe, Stop, Delete, List; the job itself runs in ``sm_launch.local``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from emulator.accounts import check_capacity, check_role
from emulator.errors import invalid
from emulator.jobs import COMPLETED, ENDED, FAILED, STOPPED, STOPPING, TRAINING, Job, add_job, delete_job, stop_job
from emulator.listing import pages
from emulator.running import run_job
from emulator.shapes import echo
from emulator.world import World, now, operation
from sm_launch.local import JobResult, run_training

# What a spot instance costs of an on-demand one in this account.
SPOT_SHARE = 0.3
WARM_POOL_SECONDS = 3600
KEPT_UNTIL = "kept until"


@operation("sagemaker", "CreateTrainingJob")
def create(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Check what SageMaker checks at once, and start the job."""
    check_training(world, request)
    resources = request["ResourceConfig"]
    instances = [(resources.get("InstanceType", ""), resources.get("InstanceCount", 1))]
    spot = request.get("EnableManagedSpotTraining", False)
    check_capacity(world, TRAINING, "spot training job usage" if spot else "training job usage", instances)
    job = add_job(world, TRAINING, request["TrainingJobName"], request)
    job.instances = instances
    job.move("Starting", "Starting the training job")
    world.begin(lambda: _run(world, job))
    return {"TrainingJobArn": job.arn}


def check_training(world: World, request: Mapping[str, Any]) -> None:
    """Rules that the API's model does not hold; the trials of a tuning job are under them too."""
    check_role(world, request["RoleArn"])
    limits = request["StoppingCondition"]
    resources = request.get("ResourceConfig", {})
    longest, wait = limits.get("MaxRuntimeInSeconds", 86400), limits.get("MaxWaitTimeInSeconds")
    spot = request.get("EnableManagedSpotTraining", False)
    if spot and (wait is None or wait < longest):
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )
    if wait is not None and not spot:
        raise invalid("Invalid MaxWaitTimeInSeconds. It must not be present when EnableManagedSpotTraining is false")
    warm = resources.get("KeepAlivePeriodInSeconds")
    if warm is not None and spot:
        raise invalid("KeepAlivePeriodInSeconds is not supported with managed spot training.")
    if warm is not None and warm > WARM_POOL_SECONDS:
        raise invalid(f"KeepAlivePeriodInSeconds must be at most {WARM_POOL_SECONDS}.")
    for channel in request.get("InputDataConfig", ()):
        if "FileSystemDataSource" in channel["DataSource"] and "VpcConfig" not in request:
            raise invalid("VpcConfig must be provided when FileSystemDataSource is used.")


def _run(world: World, job: Job) -> None:
    result = run_job(world, job, run_training, world.image_command)
    if result is not None:
        record(job, result)
        message = result.transitions[-1].message if result.transitions else ""
        job.finish(result.status, result.failure_reason, result.secondary_status, message)


def record(job: Job, result: JobResult) -> None:
    """Take over what the job left; its status is not touched."""
    spot = job.request.get("EnableManagedSpotTraining", False)
    billable = math.ceil(result.billable_seconds * SPOT_SHARE) if spot else result.billable_seconds
    metrics = [{"MetricName": each.name, "Value": each.value, "Timestamp": each.time} for each in result.metrics]
    job.started = result.started
    job.extra |= {
        "TrainingTimeInSeconds": max(1, result.training_seconds),
        "BillableTimeInSeconds": max(1, billable),
        "FinalMetricDataList": metrics or None,
    }


@operation("sagemaker", "DescribeTrainingJob")
def describe(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Everything that AWS tells of the job."""
    job = find(world, request["TrainingJobName"])
    asked = job.request
    artifacts = f"{asked['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job.name}/output/model.tar.gz"
    return {
        **echo(asked, "DescribeTrainingJob"),
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "ModelArtifacts": {"S3ModelArtifacts": artifacts},
        "TrainingJobStatus": job.status,
        "SecondaryStatus": STOPPING if job.status == STOPPING else job.secondary,
        "SecondaryStatusTransitions": [dict(each) for each in job.transitions],
        "FailureReason": job.failure,
        "CreationTime": job.created,
        "TrainingStartTime": job.started,
        "TrainingEndTime": job.ended,
        "LastModifiedTime": job.modified,
        "EnableNetworkIsolation": asked.get("EnableNetworkIsolation", False),
        "EnableInterContainerTrafficEncryption": asked.get("EnableInterContainerTrafficEncryption", False),
        "EnableManagedSpotTraining": asked.get("EnableManagedSpotTraining", False),
        "WarmPoolStatus": warm_pool(job),
        **job.extra,
    }


def warm_pool(job: Job) -> dict[str, Any] | None:
    """What became of machines that were to be kept; they cost as long as they are Available."""
    seconds = job.request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds", 0)
    if not seconds or job.ended is None:
        return None
    kept = (now() - job.ended).total_seconds()
    given_back = KEPT_UNTIL in job.inner or kept > seconds or job.status != COMPLETED
    status = "Terminated" if given_back else "Available"
    return {"Status": status, "ResourceRetainedBillableTimeInSeconds": int(min(kept, seconds)) if given_back else None}


@operation("sagemaker", "UpdateTrainingJob")
def update(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """The one update that is of use here: how long a warm pool is kept; 0 ends it."""
    job = find(world, request["TrainingJobName"])
    seconds = request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds")
    if (warm_pool(job) or {}).get("Status") != "Available":
        raise invalid("The training job has no warm pool that is available.")
    if seconds == 0:
        job.inner[KEPT_UNTIL] = now()
    elif seconds is not None:
        job.request = {
            **job.request,
            "ResourceConfig": {**job.request["ResourceConfig"], "KeepAlivePeriodInSeconds": seconds},
        }
    return {"TrainingJobArn": job.arn}


@operation("sagemaker", "StopTrainingJob")
def stop(world: World, request: dict[str, Any]) -> None:
    """SIGTERM to the containers; what they left is uploaded."""
    job = find(world, request["TrainingJobName"])
    stop_job(job, "training")


@operation("sagemaker", "DeleteTrainingJob")
def delete(world: World, request: dict[str, Any]) -> None:
    """The record of an ended job."""
    delete_job(world, find(world, request["TrainingJobName"]), "training")


@operation("sagemaker", "ListTrainingJobs")
def list_jobs(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Trials of tuning jobs are among them."""
    return pages(world.tables[TRAINING].values(), request, summary, "TrainingJobSummaries")


def summary(job: Job) -> dict[str, Any]:
    """A training job in a list."""
    return job.begun("TrainingJobStatus", "TrainingJob") | {
        "TrainingEndTime": job.ended,
        "LastModifiedTime": job.modified,
        "SecondaryStatus": job.secondary,
    }


def find(world: World, name: str) -> Job:
    """The job of a name."""
    job = world.tables[TRAINING].get(name)
    if job is None:
        raise invalid("Requested resource not found.")
    return job


def counted(jobs: list[Job]) -> dict[str, int]:
    """TrainingJobStatusCounters of a tuning job's trials."""
    by_status = [job.status for job in jobs]
    return {
        "Completed": by_status.count(COMPLETED),
        "InProgress": sum(status not in ENDED for status in by_status),
        "RetryableError": 0,
        "NonRetryableError": by_status.count(FAILED),
        "Stopped": by_status.count(STOPPED),
    }
