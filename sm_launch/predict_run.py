"""A folder of cases through what a run deployed: its endpoint, or its model in a batch job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sm_launch import aws, resources
from sm_launch.errors import LaunchError
from sm_launch.manifest import ASKED, GONE, MADE, Entry, Manifest
from sm_launch.predict import Progress, Report, Sending, predict_realtime
from sm_launch.predict_async import predict_async
from sm_launch.predict_batch import predict_batch
from sm_launch.serving import ASYNC, BATCH


@dataclass(frozen=True)
class Target:
    """What a run's cases go to.

    Attributes:
        entry: the endpoint, or the model of batch jobs.
        mode: of :mod:`sm_launch.serving`.
        identity: tells it from another of its name, made after this one was deleted.
    """

    entry: Entry
    mode: str
    identity: str

    def __str__(self) -> str:
        what = "a batch job of the model" if self.mode == BATCH else f"the {self.mode} endpoint"
        return f"{what} {self.entry.name}"


def target_of(manifest: Manifest, session: Any) -> Target:
    """What the cases of a run go to.

    Raises:
        LaunchError: the run deployed nothing, it is gone, or AWS cannot be asked.
    """
    there = [entry for entry in manifest.entries if entry.state != GONE]
    endpoint = next((entry for entry in there if entry.kind == resources.ENDPOINT), None)
    model = next((entry for entry in there if entry.kind == resources.MODEL), None)
    entry = endpoint or (model if _pattern(manifest) else None)
    if entry is None:
        raise LaunchError(
            f"run {manifest.run} has neither an endpoint nor a model of batch jobs; apply a spec with deploy."
        )
    found = resources.find(entry, session)
    if found is None:
        raise LaunchError(f"the {entry.kind} {entry.name} is gone; apply the spec again.")
    mode = _facts(manifest, endpoint)["mode"] if endpoint else BATCH
    identity = f"{entry.name} {found.get('EndpointConfigName', '')} {found['CreationTime'].isoformat()}"
    return Target(entry, mode, identity)


def predict_run(
    manifest: Manifest,
    session: Any,
    cases_dir: Path,
    output_dir: Path,
    progress: Progress | None = None,
    agree: Callable[[Target, Sending], None] | None = None,
    poll_seconds: float = 5.0,
) -> Report:
    """Send the cases in the way that the run's deployment takes them.

    Args:
        manifest: of the run; transform jobs are noted in it.
        session: boto3 session.
        cases_dir: folder of images, or of a folder a case.
        output_dir: folder of the answers.
        progress: called for each case that is through.
        agree: called before the first case is sent, if any is to be; raises to send none.
        poll_seconds: between two looks for answers in S3, or at a batch job.

    Raises:
        LaunchError: the run deployed nothing, there are no cases, or one is too large.
    """
    target = target_of(manifest, session)
    name = target.entry.name

    def ask(sending: Sending) -> None:
        if agree:
            agree(target, sending)

    common = {"progress": progress, "answered_by": target.identity, "agree": ask}
    if target.mode == BATCH:
        return _batch(manifest, session, cases_dir, output_dir, poll_seconds, common)
    runtime = aws.client(session, "sagemaker-runtime")
    if target.mode != ASYNC:
        return predict_realtime(cases_dir, output_dir, name, runtime, mode=target.mode, **common)
    waiting = f"s3://{manifest.bucket}/{manifest.folder}/waiting/"
    key = _facts(manifest, target.entry).get("kms_key")
    return predict_async(
        cases_dir, output_dir, name, waiting, runtime, aws.client(session, "s3"), kms_key=key,
        poll_seconds=poll_seconds, **common,
    )  # fmt: skip


def _batch(
    manifest: Manifest,
    session: Any,
    cases_dir: Path,
    output_dir: Path,
    poll_seconds: float,
    common: dict[str, Any],
) -> Report:
    """A batch job on the cases, with model, machines and keys of the run's own."""
    pattern = _pattern(manifest)
    folder = f"s3://{manifest.bucket}/{manifest.folder}"
    data, output = pattern["TransformInput"], pattern["TransformOutput"]
    source = {"S3DataSource": {**data["DataSource"]["S3DataSource"], "S3Uri": f"{folder}/waiting/"}}
    request = {
        **pattern,
        "TransformInput": {**data, "DataSource": source},
        "TransformOutput": {**output, "S3OutputPath": f"{folder}/answered/"},
    }
    cluster = pattern["TransformResources"]
    noted: list[Entry] = []

    def note(job: str) -> None:
        entry = manifest.entry(resources.TRANSFORM, job)
        entry.facts = {"instance_type": cluster["InstanceType"], "instance_count": cluster["InstanceCount"]}
        entry.state = ASKED
        noted.append(entry)
        manifest.save()

    report = predict_batch(
        cases_dir, output_dir, request, aws.client(session, "sagemaker"), aws.client(session, "s3"),
        kms_key=output.get("KmsKeyId"), poll_seconds=poll_seconds, note=note, **common,
    )  # fmt: skip
    for entry in noted:
        entry.state = MADE
    manifest.save()
    return report


def _pattern(manifest: Manifest) -> dict[str, Any]:
    """Request of the run's own transform job; empty where it has none."""
    found = (entry.facts.get(resources.PATTERN, {}) for entry in manifest.entries if entry.kind == resources.TRANSFORM)
    return next(filter(None, found), {})


def _facts(manifest: Manifest, endpoint: Entry) -> dict[str, Any]:
    """Of an endpoint's configuration."""
    return manifest.entry(resources.ENDPOINT_CONFIG, endpoint.facts["endpoint_config"]).facts
