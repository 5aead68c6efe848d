"""What both jobs of ``sm_launch.sdk`` need: the SDK itself, the plan, its code channel as a folder, a quiet session."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sm_launch.aws import open_session
from sm_launch.checks import refuse
from sm_launch.errors import LaunchError
from sm_launch.plan import make_plan, new_run
from sm_launch.requests_training import CODE_CHANNEL, TRAIN
from sm_launch.spec import Spec
from sm_launch.steps import Plan

if TYPE_CHECKING:
    from sagemaker.core.helper.session_helper import Session

PIP = "python -m pip install 'sagemaker>=3.27,<4'"
SCHEMA = {"SchemaVersion": "1.0"}


def import_sdk() -> None:
    """Import the SDK, or say what is missing.

    Raises:
        LaunchError: it is not installed, or is an older one.
    """
    try:
        import sagemaker.core.processing
        import sagemaker.train  # noqa: F401
    except ImportError as error:
        raise LaunchError(
            f"the SageMaker SDK cannot be imported ({error}); run: {PIP} (1 GB, best in an environment of its own)."
        ) from error


def job_plan(spec: Spec, run: str | None, job: str) -> Plan:
    """The plan of one job, checked as ``apply`` would; its last step is the job.

    Raises:
        LaunchError: it is refused, or holds what the SDK does not do.
    """
    if spec.file_system and job == TRAIN:
        raise LaunchError("file_system is set, and the SDK makes no FSx for Lustre; leave it out, or use apply.")
    if job == TRAIN and spec.train and spec.train.mlflow_arn:
        raise LaunchError("train.mlflow_arn is set, and ModelTrainer has no place for it; leave it out, or use apply.")
    plan = make_plan(spec, run or new_run(spec, datetime.now(timezone.utc)), [job])
    refuse(plan)
    source = spec.data.source if spec.data else ""
    if source and not source.startswith("s3://"):
        raise LaunchError(
            f"data.source is the folder {source}, which only apply copies; put it into S3 and set data.source to its "
            "s3:// address."
        )
    return plan


def code_folder(plan: Plan, job: str, folder: Path | None) -> tuple[Path, TemporaryDirectory | None]:
    """The code channel of a plan's one job as files.

    Args:
        plan: of the job alone.
        job: its name in the run.
        folder: absent or empty; None makes a temporary one.

    Returns:
        The folder ``code`` in it, and the temporary folder, which goes when nothing holds it.

    Raises:
        LaunchError: ``folder`` is not empty.
    """
    made = TemporaryDirectory(prefix="sm-launch-") if folder is None else None
    place = Path(made.name) if made else Path(folder)
    if place.exists() and any(place.iterdir()):
        raise LaunchError(f"{place}: is not empty, and all of it would be uploaded; give an empty folder.")
    prefix = f"s3://{plan.bucket}/{plan.folder}/code-{job}/"
    for upload in plan.uploads:
        file = place / CODE_CHANNEL / upload.uri.removeprefix(prefix)
        file.parent.mkdir(parents=True, exist_ok=True)
        if upload.path is not None:
            shutil.copyfile(upload.path, file)
        else:
            file.write_bytes(upload.data or b"")
    return place / CODE_CHANNEL, made


def session_of(spec: Spec, plan: Plan, session: Session | None) -> Session:
    """The caller's session, or one whose uploads lie in the run's folder; telemetry off.

    Raises:
        LaunchError: the session is of another region than the spec.
    """
    if session is None:
        from sagemaker.core.helper.session_helper import Session

        return Session(
            open_session(spec.region), default_bucket=plan.bucket, default_bucket_prefix=plan.folder,
            sagemaker_config=_without_telemetry({}),
        )  # fmt: skip
    if session.boto_region_name != spec.region:
        raise LaunchError(
            f"the session is of {session.boto_region_name}, and the spec of {spec.region}; make them one."
        )
    session.sagemaker_config = _without_telemetry(session.sagemaker_config or {})
    return session


def _without_telemetry(config: Mapping[str, Any]) -> dict[str, Any]:
    """The SDK's defaults with SageMaker.PythonSDK.Modules.TelemetryOptOut, where each of its calls looks."""
    changed = inner = {**SCHEMA, **config}
    for key in ("SageMaker", "PythonSDK", "Modules"):
        inner[key] = dict(inner.get(key) or {})
        inner = inner[key]
    inner["TelemetryOptOut"] = True
    return changed


def snake(value: Any) -> Any:
    """A request of the API with the SDK's names of its members."""
    from sagemaker.core.utils.code_injection.codec import pascal_to_snake

    if isinstance(value, Mapping):
        return {pascal_to_snake(key): snake(inner) for key, inner in value.items()}
    return [snake(inner) for inner in value] if isinstance(value, (list, tuple)) else value
