"""From a spec to a plan: pure, without a call to AWS and without writing anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sm_launch import requests_processing as processing
from sm_launch import requests_training as training
from sm_launch import requests_tuning as tuning
from sm_launch.bundle import read_bundle
from sm_launch.code_channel import code_channel, folder_copy
from sm_launch.errors import LaunchError
from sm_launch.frame import Frame, account_of
from sm_launch.requests_fsx import file_system_steps
from sm_launch.rules import advice
from sm_launch.spec import Spec
from sm_launch.spec_numbers import check_numbers
from sm_launch.steps import Copy, Plan, Step, Upload

JOBS = ("preprocess", "train", "tune", "image", "deploy")
# Run ids are names of tuning jobs, which the API limits to 32 characters: 19, a hyphen and the 12 digits of the time.
LONGEST_NAME, LONGEST_RUN = 19, 32
STAMP = "%y%m%d%H%M%S"


def new_run(spec: Spec, now: datetime) -> str:
    """An id for a run that begins now."""
    return f"{spec.name}-{now.strftime(STAMP)}"


def jobs_of(spec: Spec, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The jobs of a plan, in order.

    Without a wish it is all that the spec has; but where it has ``tune``, ``train`` is the pattern of the trials and is
    not run by itself.

    Raises:
        LaunchError: a wish that is no job, or that the spec does not have.
    """
    there = [job for job in JOBS if getattr(spec, job) is not None]
    for job in wanted:
        if job not in JOBS:
            raise LaunchError(f"'{job}' is no job; choose among {', '.join(JOBS)}.")
        if job not in there:
            raise LaunchError(
                f"the spec has no {job}; add it, or choose among {', '.join(there) or 'the jobs you add'}."
            )
    if not wanted and {"train", "tune"} <= set(there):
        there.remove("train")
    chosen = tuple(job for job in there if not wanted or job in wanted)
    if not chosen and spec.data is None:
        raise LaunchError("the spec has neither data nor a job; add data, preprocess, train, tune or deploy.")
    return chosen


def make_plan(spec: Spec, run: str, jobs: Sequence[str] = ()) -> Plan:
    """Everything that the run would upload and ask of AWS.

    Args:
        spec: what is wanted.
        run: the run's id, see ``new_run``.
        jobs: jobs of the spec to plan; all if empty, see ``jobs_of``.

    Raises:
        LaunchError: the spec names what is not there, or contradicts itself.
    """
    if not re.fullmatch(rf"[a-zA-Z](-?[a-zA-Z0-9]){{0,{LONGEST_NAME - 1}}}", spec.name):
        raise LaunchError(
            f"name is '{spec.name}'; write letters, digits and single hyphens, beginning with a letter, at most "
            f"{LONGEST_NAME}."
        )
    if not re.fullmatch(rf"[a-zA-Z](-?[a-zA-Z0-9]){{0,{LONGEST_RUN - 1}}}", run):
        raise LaunchError(f"the run is called '{run}'; write letters, digits and hyphens, at most {LONGEST_RUN}.")
    folders = spec.bucket.prefix.strip("/")
    if folders and {"", ".", ".."} & set(folders.split("/")):
        raise LaunchError(
            f"bucket.prefix is '{spec.bucket.prefix}'; write folders with single slashes between them and no dots "
            "alone, such as team/sm-launch."
        )
    account_of(spec.role)
    check_numbers(spec)
    frame = Frame(spec, read_bundle(spec.bundle), run)
    chosen = jobs_of(spec, jobs)
    uploads, copies, notes = [], _copies(frame), []
    steps: list[Step] = list(bucket_steps(frame)) if spec.bucket.create else []
    if "preprocess" in chosen:
        job_uploads, job_steps = _preprocess(frame)
        uploads += job_uploads
        steps += job_steps
    if spec.file_system and ({"train", "tune"} & set(chosen)):
        steps += file_system_steps(frame, spec.file_system)
    for name, made in (("train", _train), ("tune", _tune)):
        if name in chosen:
            job_uploads, job_steps = made(frame, last=chosen[-1] == name)
            uploads += job_uploads
            steps += job_steps
    if "image" in chosen:
        from sm_launch.deployment import image_build, image_notes
        from sm_launch.requests_image import image_steps, image_upload

        uploads.append(image_upload(image_build(frame)))
        steps += image_steps(image_build(frame))
        notes += image_notes(frame)
    if "deploy" in chosen:
        from sm_launch.deployment import deployment_steps

        steps += deployment_steps(frame, trained="train" in chosen)
    plan = Plan(
        run, spec.region, spec.bucket.name, spec.profile, tuple(uploads), tuple(copies), tuple(steps),
        role=spec.role, kms_key=spec.security.kms_key, folder=frame.uri().removeprefix(f"s3://{spec.bucket.name}/"),
    )  # fmt: skip
    return plan.with_notes([*notes, *advice(plan)])


def bucket_steps(frame: Frame) -> list[Step]:
    """The bucket, made safely."""
    from sm_launch.requests_bucket import bucket_steps as steps

    spec = frame.spec
    return steps(spec.bucket.name, spec.region, spec.security.kms_key, spec.bucket.prefix)


def _copies(frame: Frame) -> list[Copy]:
    """Folders of this machine that jobs read."""
    spec, copies = frame.spec, []
    uri = frame.data_uri()
    if spec.data and uri != spec.data.source.rstrip("/"):
        copies.append(folder_copy(spec.data.source, str(uri), "data.source"))
    if spec.wheels and frame.wheels_uri() != spec.wheels:
        copies.append(folder_copy(spec.wheels, str(frame.wheels_uri()), "wheels"))
    return copies


def _preprocess(frame: Frame) -> tuple[Sequence[Upload], list[Step]]:
    wanted = frame.spec.preprocess
    _check_parts(frame, (*wanted.sharded, *wanted.replicated))
    request = processing.processing_request(frame, wanted)
    job = processing.processing_job(frame, wanted)
    uploads = code_channel(frame, f"code-{processing.PREPROCESS}", job, processing.packages_of(frame, wanted))
    # Training reads what this writes.
    step = Step(
        "sagemaker", "CreateProcessingJob", request, "processing-job", request["ProcessingJobName"], True,
        wanted.expected_hours,
    )  # fmt: skip
    return uploads, [step]


def _check_parts(frame: Frame, parts: Sequence[str]) -> None:
    """Parts of the data set exist, where it is a folder of this machine."""
    source = frame.spec.data.source if frame.spec.data else "s3://"
    for part in parts if not source.startswith("s3://") else ():
        if not (Path(source) / part).exists():
            raise LaunchError(f"{Path(source) / part}: is not there; correct preprocess.sharded and replicated.")


def _train(frame: Frame, last: bool) -> tuple[Sequence[Upload], list[Step]]:
    wanted = frame.spec.train
    request = training.training_request(frame, wanted)
    job, packages = training.training_job(frame, wanted), training.packages_of(frame, wanted)
    step = Step(
        "sagemaker", "CreateTrainingJob", request, "training-job", request["TrainingJobName"], not last,
        wanted.expected_hours,
    )  # fmt: skip
    return code_channel(frame, f"code-{training.TRAIN}", job, packages), [step]


def _tune(frame: Frame, last: bool) -> tuple[Sequence[Upload], list[Step]]:
    wanted = frame.spec.tune
    request = tuning.tuning_request(frame, wanted)
    _, trial = tuning.trial_of(frame, wanted)
    job, packages = tuning.tuning_job(frame, wanted), training.packages_of(frame, trial)
    name = request["HyperParameterTuningJobName"]
    step = Step(
        "sagemaker", "CreateHyperParameterTuningJob", request, "tuning-job", name, not last, trial.expected_hours
    )
    return code_channel(frame, f"code-{tuning.TUNE}", job, packages), [step]
