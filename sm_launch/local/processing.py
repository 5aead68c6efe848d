"""A CreateProcessingJob request, run on this machine.

Source of the tree: AWS docs, "Build Your Own Processing Container".
"""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.events import Event
from sm_launch.local.channels import download, objects, shard
from sm_launch.local.container import addresses, arn, failure_reason, place_of, region_of, write_config
from sm_launch.local.group import is_set, run_group
from sm_launch.local.isolation import Isolation
from sm_launch.local.journal import Journal, now
from sm_launch.local.metrics import LastMetrics
from sm_launch.local.nodes import NodePlan
from sm_launch.local.results import COMPLETED, FAILED, IN_PROGRESS, STOPPED, JobResult
from sm_launch.local.store import Store
from sm_launch.local.training import KILL_AFTER, STOP, TIMEOUT

# Of StoppingCondition (API reference, ProcessingStoppingCondition): a day.
DEFAULT_MAX_RUNTIME = 86400


def run_processing(
    request: Mapping[str, Any],
    store: Store,
    work_dir: Path,
    *,
    image_command: Sequence[str] | None = None,
    on_event: Callable[[Event], None] | None = None,
    stop: threading.Event | None = None,
    kill_after: float = KILL_AFTER,
    namespaces: bool | None = None,
) -> JobResult:
    """Run a processing job as SageMaker would, and wait for its end.

    Args:
        request: the parameters of CreateProcessingJob.
        store: where the request's s3:// URIs lead.
        work_dir: a folder for this job.
        image_command: what the image starts where AppSpecification has no ContainerEntrypoint.
        on_event: as for :func:`sm_launch.local.run_training`; processing jobs have no secondary statuses but InProgress
            and their end.
        stop: once set, the job is stopped as by StopProcessingJob.
        kill_after: seconds between SIGTERM and SIGKILL.
        namespaces: as for :func:`sm_launch.local.run_training`.

    Raises:
        LaunchError: the request cannot be run here.
    """
    app, name = request["AppSpecification"], request["ProcessingJobName"]
    entrypoint = app.get("ContainerEntrypoint") or image_command
    if not entrypoint:
        raise LaunchError(
            f"processing job '{name}': has no ContainerEntrypoint, and a local run has no image whose own it could "
            "start; give AppSpecification one."
        )
    command = [*entrypoint, *app.get("ContainerArguments", ())]
    region = region_of(app["ImageUri"])
    job_arn = arn(region, "processing-job", name)
    variables = {"AWS_REGION": region, **request.get("Environment", {})}
    longest = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME)
    network = not request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
    created = now()
    with (
        Isolation(namespaces, network) as isolation,
        Journal(name, work_dir / "logs", LastMetrics(()), on_event) as journal,
    ):
        journal.status(IN_PROGRESS, "The processing job is running")
        hosts = addresses(request["ProcessingResources"]["ClusterConfig"]["InstanceCount"], isolation)
        folders = _make_trees(request, store, work_dir, list(hosts), job_arn)
        plans = [NodePlan(folder.name, folder, command, variables, hosts) for folder in folders]
        started, begun = now(), time.monotonic()
        conditions = {STOP: is_set(stop), TIMEOUT: lambda: time.monotonic() - begun > longest}
        outcome = run_group(plans, isolation, journal, conditions, kill_after, lambda cause: None)
        status, reason = COMPLETED, None
        if outcome.cause:
            status = STOPPED
        elif outcome.first_failed:
            status, reason = FAILED, failure_reason(outcome.codes[outcome.first_failed], "")
        else:
            _upload(request, store, folders)
        message = _message(folders, outcome.first_failed)
        journal.status(status, reason or "")
        return JobResult(
            name=name,
            arn=job_arn,
            status=status,
            secondary_status=status,
            failure_reason=reason,
            exit_message=message,
            transitions=journal.transitions,
            created=created,
            started=started,
            ended=now(),
            training_seconds=math.ceil(outcome.seconds),
            billable_seconds=math.ceil(outcome.seconds),
            log_files=journal.log_files,
            environment={"isolation": isolation.kind},
        )


def _make_trees(
    request: Mapping[str, Any], store: Store, work_dir: Path, hosts: Sequence[str], job_arn: str
) -> list[Path]:
    folders = []
    for index, host in enumerate(hosts):
        folder = work_dir / f"algo-{index + 1}"
        shutil.rmtree(folder, ignore_errors=True)
        tree = folder / "ml"
        for each in request.get("ProcessingInputs", ()):
            what = f"processing input '{each['InputName']}'"
            source = each.get("S3Input")
            if source is None or "LocalPath" not in source:
                raise LaunchError(f"{what}: a local run takes an S3Input with a LocalPath; give it one.")
            found = objects(source["S3DataType"], source["S3Uri"], store, what)
            mine = shard(found, source.get("S3DataDistributionType", ""), index, len(hosts))
            download(mine, store, place_of(source["LocalPath"], tree, what))
        for each, local in _outputs(request):
            place_of(local, tree, f"processing output '{each['OutputName']}'").mkdir(parents=True, exist_ok=True)
        (tree / "output").mkdir(exist_ok=True)
        resources = {"current_host": host, "hosts": list(hosts)}
        described = {**request, "ProcessingJobArn": job_arn}
        write_config(tree / "config", {"resourceconfig.json": resources, "processingjobconfig.json": described})
        folders.append(folder)
    return folders


def _outputs(request: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    """Outputs with their folders in the container.

    Raises:
        LaunchError: one does not go to S3.
    """
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", ())
    for each in outputs:
        if "LocalPath" not in each.get("S3Output", {}):
            raise LaunchError(
                f"processing output '{each['OutputName']}': a local run takes an S3Output with LocalPath; give it."
            )
    return [(each, each["S3Output"]["LocalPath"]) for each in outputs]


def _upload(request: Mapping[str, Any], store: Store, folders: Sequence[Path]) -> None:
    """All hosts write to one URI; of one name, the first host's file stays."""
    for each, local in _outputs(request):
        for folder in reversed(folders):
            store.upload(place_of(local, folder / "ml", each["OutputName"]), each["S3Output"]["S3Uri"])


def _message(folders: Sequence[Path], failed: str) -> str | None:
    """ExitMessage: what the node that failed, or any, wrote to /opt/ml/output/message."""
    ordered = sorted(folders, key=lambda folder: folder.name != failed)
    for folder in ordered:
        file = folder / "ml" / "output" / "message"
        if file.is_file():
            return file.read_text(encoding="utf-8", errors="replace")[:1024]
    return None
