"""``sm_launch local``: the very requests of a plan, one after the other, on this machine."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sm_launch.code_channel import REQUIREMENTS
from sm_launch.errors import LaunchError
from sm_launch.events import Event
from sm_launch.follow_view import Lines
from sm_launch.local import (
    FolderStore,
    JobResult,
    TuningResult,
    run_processing,
    run_training,
    run_tuning,
    start_server,
)
from sm_launch.local.results import COMPLETED
from sm_launch.steps import Plan, Step

# PyTorch and MONAI are imported, and a first case is computed.
START_SECONDS = 300.0

_RUNNERS: dict[str, Callable[..., JobResult | TuningResult]] = {
    "CreateProcessingJob": run_processing,
    "CreateTrainingJob": run_training,
    "CreateHyperParameterTuningJob": run_tuning,
}


def run_plan(plan: Plan, work_dir: Path, show: Callable[[str], None]) -> FolderStore:
    """Run the jobs of a plan here; what would be in S3 lies in ``work_dir``/s3/BUCKET.

    Packages are not installed: jobs run with this Python and what it has. What has no meaning without AWS (the bucket,
    a file system) is left out and said.

    Args:
        plan: the plan.
        work_dir: folder of all that is made.
        show: called with lines for the user.

    Returns:
        The store with everything that the jobs wrote.

    Raises:
        LaunchError: a job failed, or reads what is not on this machine.
    """
    store = FolderStore(work_dir / "s3")
    _fill_store(plan, store, work_dir)
    for step in plan.steps:
        if step.operation not in _RUNNERS:
            show(f"left out here: {step.operation} {step.name}".rstrip())
            continue
        _refuse_mount(step)
        show(f"{step.operation} {step.name}")
        lines = Lines(step.name, sys.stdout.isatty())

        def tell(event: Event, lines: Lines = lines) -> None:
            if line := lines.line(event):
                show(line)

        result = _RUNNERS[step.operation](step.request, store, work_dir / step.name, on_event=tell)
        for note in getattr(result, "notes", ()):
            show(note)
        if result.status != COMPLETED:
            reason = " ".join(str(result.failure_reason or "no reason given").split()).rstrip(".")
            raise LaunchError(
                f"{step.name} ended as {result.status}: {reason}; its logs are in {work_dir / step.name}."
            )
        _tell_result(result, show)
    return store


def serve_model(plan: Plan, store: FolderStore, work_dir: Path, show: Callable[[str], None]) -> None:
    """Serve the plan's model on this machine, as its endpoint would, until the user ends it; nothing without a model.

    It listens on loopback alone.

    Raises:
        LaunchError: the model is not on this machine, or cannot be served.
    """
    model = next((step.request for step in plan.steps if step.operation == "CreateModel"), None)
    if model is None:
        return
    container = model["PrimaryContainer"]
    source = _fetch_model(container, store, work_dir)
    root = str(Path(__file__).resolve().parents[1])
    command = ["env", f"PYTHONPATH={root}", sys.executable, "-m", "sm_launch.container.serve"]
    environment = {"BIND_HOST": "127.0.0.1", **container.get("Environment", {})}
    with start_server(command, source, work_dir / "serving", environment=environment) as server:
        server.wait_ready(START_SECONDS)
        sent = "curl --data-binary @CASE.nii.gz -H 'Content-Type: application/x-nifti' -o SEG.nii.gz"
        show(f"serving; for example: {sent} {server.url}/invocations")
        show("Ctrl-C ends it")
        while server.returncode() is None:
            time.sleep(0.5)
    raise LaunchError(f"the server ended by itself; its log is {server.log_file}.")


def _fetch_model(container: Mapping[str, Any], store: FolderStore, work_dir: Path) -> Path:
    """The archive of a model, or the folder of one that lies unpacked in the store.

    Raises:
        LaunchError: it is not on this machine.
    """
    if "ModelDataUrl" in container:
        archive = work_dir / "model.tar.gz"
        store.download(container["ModelDataUrl"], archive)
        return archive
    place = container["ModelDataSource"]["S3DataSource"]["S3Uri"]
    found = store.list(place)
    if not found:
        raise LaunchError(f"{place}: there is no such folder in {store.root}; put the files of the model there.")
    folder = work_dir / "model"
    # A file of an earlier model would be served with this one.
    shutil.rmtree(folder, ignore_errors=True)
    for uri in found:
        store.download(uri, folder / uri.removeprefix(place))
    return folder


def _fill_store(plan: Plan, store: FolderStore, work_dir: Path) -> None:
    """What ``apply`` would upload, as files; the data set as links, since jobs only read it."""
    made = work_dir / "made"
    made.mkdir(parents=True, exist_ok=True)
    for number, upload in enumerate(plan.uploads):
        if upload.uri.endswith(f"/{REQUIREMENTS}"):
            continue
        source = upload.path
        if source is None:
            source = made / str(number)
            source.write_bytes(upload.data or b"")
        store.upload(source, upload.uri)
    for copy in plan.copies:
        for file in copy.files:
            link = store.root / copy.uri.removeprefix("s3://") / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(copy.folder.resolve() / file.name)


def _refuse_mount(step: Step) -> None:
    """A channel on FSx has no files here."""
    for channel in step.request.get("InputDataConfig", ()):
        if "FileSystemDataSource" in channel["DataSource"]:
            raise LaunchError(
                f"{step.name}: the channel {channel['ChannelName']} is on FSx for Lustre, which this machine has not; "
                "plan with '--set file_system=null'."
            )


def _tell_result(result: Any, show: Callable[[str], None]) -> None:
    """Where the results are."""
    if isinstance(result, TuningResult):
        for trial in result.trials:
            show(f"  {trial.result.name}  {trial.objective}  {dict(trial.hyperparameters)}")
        return
    for metric in result.metrics:
        show(f"  {metric.name} {metric.value:g}")
    if result.model_artifact_uri:
        show(f"  model {result.model_artifact_uri}")
