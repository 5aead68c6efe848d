"""Processing jobs: Create, Describe, Stop, Delete, List."""

from __future__ import annotations

from typing import Any

from emulator.accounts import check_capacity, check_role
from emulator.errors import invalid
from emulator.jobs import PROCESSING, Job, add_job, delete_job, stop_job
from emulator.listing import pages
from emulator.running import instances_in, run_job
from emulator.shapes import echo
from emulator.world import World, operation
from sm_launch.local import run_processing


@operation("sagemaker", "CreateProcessingJob")
def create(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Check the role and the quota, and start the job."""
    check_role(world, request["RoleArn"])
    instances = instances_in(request["ProcessingResources"]["ClusterConfig"])
    check_capacity(world, PROCESSING, "processing job usage", instances)
    job = add_job(world, PROCESSING, request["ProcessingJobName"], request)
    job.instances = instances
    world.begin(lambda: _run(world, job))
    return {"ProcessingJobArn": job.arn}


def _run(world: World, job: Job) -> None:
    # An image without an entry point would need its own; the requests under test all name one.
    result = run_job(world, job, run_processing, None)
    if result is not None:
        job.started = result.started
        job.extra["ExitMessage"] = result.exit_message
        job.finish(result.status, result.failure_reason)


@operation("sagemaker", "DescribeProcessingJob")
def describe(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Everything that AWS tells of the job; processing jobs have no secondary status."""
    job = _find(world, request["ProcessingJobName"])
    return {
        **echo(job.request, "DescribeProcessingJob"),
        "ProcessingJobName": job.name,
        "ProcessingJobArn": job.arn,
        "ProcessingJobStatus": job.status,
        "FailureReason": job.failure,
        "CreationTime": job.created,
        "ProcessingStartTime": job.started,
        "ProcessingEndTime": job.ended,
        "LastModifiedTime": job.modified,
        **job.extra,
    }


@operation("sagemaker", "StopProcessingJob")
def stop(world: World, request: dict[str, Any]) -> None:
    """SIGTERM to the containers."""
    stop_job(_find(world, request["ProcessingJobName"]), "processing")


@operation("sagemaker", "DeleteProcessingJob")
def delete(world: World, request: dict[str, Any]) -> None:
    """The record of an ended job."""
    delete_job(world, _find(world, request["ProcessingJobName"]), "processing")


@operation("sagemaker", "ListProcessingJobs")
def list_jobs(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Newest first."""
    return pages(world.tables[PROCESSING].values(), request, _summary, "ProcessingJobSummaries")


def _summary(job: Job) -> dict[str, Any]:
    return job.begun("ProcessingJobStatus", "ProcessingJob") | {
        "ProcessingEndTime": job.ended,
        "LastModifiedTime": job.modified,
        "FailureReason": job.failure,
        "ExitMessage": job.extra.get("ExitMessage"),
    }


def _find(world: World, name: str) -> Job:
    job = world.tables[PROCESSING].get(name)
    if job is None:
        raise invalid(f"Could not find requested job with name: {name}")
    return job
