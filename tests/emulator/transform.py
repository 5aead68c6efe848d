"""Batch transform jobs: one object of S3 a request, its answer beside it in S3 with ``.out`` at its end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from emulator.accounts import check_capacity
from emulator.containers import Container
from emulator.errors import invalid
from emulator.jobs import COMPLETED, FAILED, STOPPED, TRANSFORM, Job, add_job, stop_job
from emulator.listing import pages
from emulator.logs import GROUPS, Shipper
from emulator.models import MODELS, find_resource
from emulator.running import BROKEN, fails_at_once
from emulator.shapes import echo
from emulator.world import World, now, operation
from sm_launch.errors import LaunchError
from sm_launch.local import S3Store
from sm_launch.s3_uri import join

# API reference, CreateTransformJob: the default, and the most that payload times concurrency may be, in MB.
PAYLOAD_MB, ALL_MB = 6, 100


@operation("sagemaker", "CreateTransformJob")
def create(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Check the model and the payload's limits, and start the job."""
    find_resource(world, MODELS, request["ModelName"], "model")
    if request.get("MaxPayloadInMB", PAYLOAD_MB) * request.get("MaxConcurrentTransforms", 1) > ALL_MB:
        raise invalid(f"MaxPayloadInMB * MaxConcurrentTransforms must not be greater than {ALL_MB}")
    resources = request["TransformResources"]
    instances = [(resources["InstanceType"], resources["InstanceCount"])]
    check_capacity(world, TRANSFORM, "transform job usage", instances)
    job = add_job(world, TRANSFORM, request["TransformJobName"], request)
    job.instances = instances
    world.begin(lambda: _run(world, job))
    return {"TransformJobArn": job.arn}


def _run(world: World, job: Job) -> None:
    if fails_at_once(world, job):
        return
    shipper = Shipper(world, GROUPS[TRANSFORM], world.faults.log_delay(job.name))
    folder = world.folder / TRANSFORM / job.name
    stream = f"{job.name}/i-{secrets.token_hex(8)}"
    container = None
    try:
        model = dict(find_resource(world, MODELS, job.request["ModelName"], "model").request)
        job.started = now()
        container = Container(world, _with_environment(model, job), folder, shipper, stream)
        container.wait_ready()
        failures = [text for text in _transform(world, job, container, folder, shipper) if text]
    except LaunchError as error:
        shipper.put(f"{stream}/data-log", str(error), now())
        failures = [f"AlgorithmError: {error}"]
    except Exception:
        job.finish(FAILED, BROKEN)
        raise
    finally:
        if container is not None:
            container.stop()
        shipper.close()
    if job.stop.is_set():
        job.finish(STOPPED)
    else:
        job.finish(FAILED if failures else COMPLETED, failures[0] if failures else None)


def _with_environment(model: dict[str, Any], job: Job) -> dict[str, Any]:
    container = dict(model.get("PrimaryContainer") or model["Containers"][0])
    container["Environment"] = {**container.get("Environment", {}), **job.request.get("Environment", {})}
    return model | {"PrimaryContainer": container}


def _transform(world: World, job: Job, container: Container, folder: Path, shipper: Shipper) -> Iterator[str | None]:
    """Do every object; a failed one does not stop the others, and gives its reason."""
    source = job.request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    store = S3Store(world.clients("s3"))
    objects = store.list(source)
    if not objects:
        raise LaunchError(f'No S3 objects found under S3 URL "{source}" given in input data source.')
    # What follows the prefix's last folder is kept, in subfolders as it was.
    top = source[: source.rindex("/") + 1]

    def one(index: int) -> str | None:
        if job.stop.is_set():
            return None
        file = folder / "objects" / str(index)
        store.download(objects[index], file)
        body = file.read_bytes()
        reason = _request(world, job, container, body, file)
        if reason is None:
            output = join(job.request["TransformOutput"]["S3OutputPath"], f"{objects[index][len(top) :]}.out")
            store.upload(file, output)
        else:
            shipper.put(f"{job.name}/data-log", f"{objects[index].removeprefix('s3://')}: {reason}", now())
        file.unlink(missing_ok=True)
        return reason

    with ThreadPoolExecutor(max(1, job.request.get("MaxConcurrentTransforms", 1))) as pool:
        yield from pool.map(one, range(len(objects)))


def _request(world: World, job: Job, container: Container, body: bytes, file: Path) -> str | None:
    most = job.request.get("MaxPayloadInMB", PAYLOAD_MB)
    if most and len(body) > most * 1024**2:
        return f"ClientError: Too much data for max payload size ({most} MB)"
    headers = {"Content-Type": job.request["TransformInput"].get("ContentType", "application/octet-stream")}
    if "Accept" in job.request["TransformOutput"]:
        headers["Accept"] = job.request["TransformOutput"]["Accept"]
    seconds = job.request.get("ModelClientConfig", {}).get("InvocationsTimeoutInSeconds", 600)
    status, _, answer = container.post(body, headers, seconds)
    if not 200 <= status < 300:
        return (
            f"ClientError: See job logs for more information: HTTP {status} {answer[:200].decode('utf-8', 'replace')}"
        )
    file.write_bytes(answer)
    return None


@operation("sagemaker", "DescribeTransformJob")
def describe(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Everything that AWS tells of the job."""
    job = _find(world, request["TransformJobName"])
    return {
        **echo(job.request, "DescribeTransformJob"),
        "TransformJobName": job.name,
        "TransformJobArn": job.arn,
        "TransformJobStatus": job.status,
        "FailureReason": job.failure,
        "CreationTime": job.created,
        "TransformStartTime": job.started,
        "TransformEndTime": job.ended,
    }


@operation("sagemaker", "StopTransformJob")
def stop(world: World, request: dict[str, Any]) -> None:
    """No further objects."""
    stop_job(_find(world, request["TransformJobName"]), "transform")


@operation("sagemaker", "ListTransformJobs")
def list_jobs(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Newest first."""
    return pages(world.tables[TRANSFORM].values(), request, _summary, "TransformJobSummaries")


def _summary(job: Job) -> dict[str, Any]:
    return job.begun("TransformJobStatus", "TransformJob") | {
        "TransformEndTime": job.ended,
        "LastModifiedTime": job.modified,
        "FailureReason": job.failure,
    }


def _find(world: World, name: str) -> Job:
    job = world.tables[TRANSFORM].get(name)
    if job is None:
        raise invalid(f'Could not find transform job "{world.arn(TRANSFORM, name)}".')
    return job
