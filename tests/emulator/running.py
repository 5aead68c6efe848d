"""A job's thread: faults first, then the real processes of ``sm_launch.local``, its events into status and logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from emulator.errors import AwsError
from emulator.filesystems import through_s3
from emulator.jobs import ENDED, FAILED, STOPPED, Job
from emulator.logs import GROUPS, Shipper
from emulator.world import World
from sm_launch.errors import LaunchError
from sm_launch.events import LOG, STATUS
from sm_launch.local import Event, JobResult, S3Store

BROKEN = "InternalServerError: We encountered an internal error. Please try again."
# They are told by the job's end, when all that Describe should say of it is in place.
FINAL = (*ENDED, "MaxRuntimeExceeded", "MaxWaitTimeExceeded")


def fails_at_once(world: World, job: Job) -> bool:
    """Let the time pass that machines take; whether the job has ended before a container began."""
    world.pause()
    failure = world.faults.job_failure(job.name)
    if job.stop.is_set():
        job.finish(STOPPED)
    elif failure:
        job.finish(FAILED, failure)
    return job.stop.is_set() or bool(failure)


def run_job(
    world: World,
    job: Job,
    run: Callable[..., JobResult],
    image_command: Sequence[str] | None,
) -> JobResult | None:
    """Run a training or processing job to its end; None if it ended before a container began."""
    if fails_at_once(world, job):
        return None
    shipper = Shipper(world, GROUPS[job.kind], world.faults.log_delay(job.name))
    more: dict[str, Any] = {"interrupt": job.interrupt} if job.request.get("EnableManagedSpotTraining") else {}
    try:
        return run(
            through_s3(world, job.request),
            S3Store(world.clients("s3")),
            world.folder / job.kind / job.name,
            image_command=image_command,
            on_event=listener(world, job, shipper),
            stop=job.stop,
            kill_after=world.kill_after,
            namespaces=world.namespaces,
            **more,
        )
    except (AwsError, LaunchError) as error:
        # SageMaker calls it the client's error when a job's inputs cannot be fetched.
        job.finish(FAILED, f"ClientError: {error}")
        return None
    except Exception:
        job.finish(FAILED, BROKEN)
        raise
    finally:
        shipper.close()


def listener(world: World, job: Job, shipper: Shipper) -> Callable[[Event], None]:
    """What takes a job's events."""
    stamp = int(job.created.timestamp())

    def take(event: Event) -> None:
        if event.kind == LOG:
            shipper.put(f"{job.name}/{event.node}-{stamp}", event.message, event.time)
            if world.faults.interrupts(job.name, event.message):
                job.interrupt.set()
        elif event.kind == STATUS and event.status not in FINAL and event.status != job.secondary:
            job.move(event.status, event.message, event.time)
            if event.status == "Training" and job.started is None:
                job.started = event.time

    return take


def instances_in(request: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Instance types and counts of a request's cluster."""
    return [(request["InstanceType"], request["InstanceCount"])]
