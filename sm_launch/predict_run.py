"""A folder of cases through the endpoint that a run made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sm_launch import aws, resources
from sm_launch.errors import LaunchError
from sm_launch.manifest import GONE, Manifest
from sm_launch.predict import Progress, Report, predict_realtime
from sm_launch.predict_async import predict_async
from sm_launch.serving import ASYNC


def predict_run(
    manifest: Manifest, session: Any, cases_dir: Path, output_dir: Path, progress: Progress | None = None
) -> Report:
    """Send the cases in the way that the run's endpoint takes them.

    Args:
        manifest: of the run.
        session: boto3 session.
        cases_dir: folder of NIfTI files.
        output_dir: folder of the answers.
        progress: called for each case that is through.

    Raises:
        LaunchError: the run has no endpoint, there are no cases, or one is too large for the endpoint.
    """
    endpoint = next((e for e in manifest.entries if e.kind == resources.ENDPOINT and e.state != GONE), None)
    if endpoint is None:
        raise LaunchError(f"run {manifest.run} has no endpoint; apply a spec with deploy.")
    facts = manifest.entry(resources.ENDPOINT_CONFIG, endpoint.facts["endpoint_config"]).facts
    runtime = aws.client(session, "sagemaker-runtime")
    if facts["mode"] != ASYNC:
        return predict_realtime(cases_dir, output_dir, endpoint.name, runtime, mode=facts["mode"], progress=progress)
    waiting = f"s3://{manifest.bucket}/{manifest.folder}/waiting/"
    return predict_async(
        cases_dir, output_dir, endpoint.name, waiting, runtime, aws.client(session, "s3"),
        kms_key=facts.get("kms_key"), progress=progress,
    )  # fmt: skip
