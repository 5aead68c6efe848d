"""Tuning jobs: Create, Describe, Stop, Delete, List, and their trials, which are training jobs too."""

from __future__ import annotations

from typing import Any

from emulator.accounts import check_capacity
from emulator.errors import NOT_FOUND, AwsError
from emulator.jobs import ENDED, FAILED, TRAINING, TUNING, Job, add_job, delete_job, stop_job
from emulator.listing import pages
from emulator.logs import GROUPS, Shipper
from emulator.running import BROKEN, fails_at_once
from emulator.training import check_training, counted
from emulator.trials import CONFIG, TRIALS, trial_listener
from emulator.world import World, operation
from sm_launch.errors import LaunchError
from sm_launch.local import S3Store, run_tuning

OBJECTIVE = "HyperParameterTuningJobObjective"


@operation("sagemaker", "CreateHyperParameterTuningJob")
def create(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Check what is checked at once, and start the search."""
    definition = request["TrainingJobDefinition"]
    check_training(world, definition)
    cluster = definition.get("ResourceConfig") or definition["HyperParameterTuningResourceConfig"]
    parallel = request[CONFIG]["ResourceLimits"]["MaxParallelTrainingJobs"]
    instances = [(cluster["InstanceType"], cluster["InstanceCount"] * parallel)]
    check_capacity(world, TRAINING, "training job usage", instances)
    job = add_job(world, TUNING, request["HyperParameterTuningJobName"], request)
    job.inner[TRIALS] = []
    world.begin(lambda: _run(world, job))
    return {"HyperParameterTuningJobArn": job.arn}


def _run(world: World, job: Job) -> None:
    if fails_at_once(world, job):
        return
    shipper = Shipper(world, GROUPS[TRAINING])
    try:
        result = run_tuning(
            job.request,
            S3Store(world.clients("s3")),
            world.folder / TUNING / job.name,
            image_command=world.image_command,
            on_event=trial_listener(world, job, shipper),
            stop=job.stop,
            kill_after=world.kill_after,
            namespaces=world.namespaces,
        )
    except LaunchError as error:
        job.finish(FAILED, f"ClientError: {error}")
    except Exception:
        job.finish(FAILED, BROKEN)
        raise
    else:
        job.finish(result.status, result.failure_reason)
    finally:
        shipper.close()


def _objective(job: Job, trial: Job) -> float | None:
    name = job.request[CONFIG].get(OBJECTIVE, {}).get("MetricName")
    return trial.inner.get("metrics", {}).get(name, {}).get("Value")


@operation("sagemaker", "DescribeHyperParameterTuningJob")
def describe(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Everything that AWS tells of the search."""
    job = find(world, request["HyperParameterTuningJobName"])
    asked = job.request
    return _counts(job) | {
        "HyperParameterTuningJobName": job.name,
        "HyperParameterTuningJobArn": job.arn,
        CONFIG: asked[CONFIG],
        "TrainingJobDefinition": asked["TrainingJobDefinition"],
        "WarmStartConfig": asked.get("WarmStartConfig"),
        "HyperParameterTuningJobStatus": job.status,
        "FailureReason": job.failure,
        "CreationTime": job.created,
        "HyperParameterTuningEndTime": job.ended,
        "LastModifiedTime": job.modified,
        "BestTrainingJob": _best(job),
    }


def _counts(job: Job) -> dict[str, Any]:
    trials = job.inner[TRIALS]
    scored = sum(_objective(job, trial) is not None for trial in trials)
    ended = sum(trial.status in ENDED and _objective(job, trial) is None for trial in trials)
    pending = len(trials) - scored - ended
    return {
        "TrainingJobStatusCounters": counted(trials),
        "ObjectiveStatusCounters": {"Succeeded": scored, "Pending": pending, "Failed": ended},
    }


def _best(job: Job) -> dict[str, Any] | None:
    objective = job.request[CONFIG].get(OBJECTIVE)
    scored = [trial for trial in job.inner[TRIALS] if _objective(job, trial) is not None]
    if objective is None or not scored:
        return None
    choose = max if objective["Type"] == "Maximize" else min
    return trial_summary(job, choose(scored, key=lambda trial: _objective(job, trial)))


def trial_summary(job: Job, trial: Job) -> dict[str, Any]:
    """A trial in a list; what was drawn is known here when the search has ended."""
    objective = job.request[CONFIG].get(OBJECTIVE)
    value = _objective(job, trial)
    final = {**objective, "Value": value} if objective and value is not None else None
    succeeded = {None: "Pending", False: "Failed", True: "Succeeded"}
    return trial.begun("TrainingJobStatus", "TrainingJob") | {
        "TrainingStartTime": trial.started,
        "TrainingEndTime": trial.ended,
        "TunedHyperParameters": trial.inner.get("tuned", {}),
        "FailureReason": trial.failure,
        "FinalHyperParameterTuningJobObjectiveMetric": final,
        "ObjectiveStatus": succeeded[None if trial.ended is None else value is not None],
    }


@operation("sagemaker", "ListTrainingJobsForHyperParameterTuningJob")
def list_trials(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """The trials, oldest first unless asked otherwise."""
    job = find(world, request["HyperParameterTuningJobName"])
    if request.get("SortBy") == "FinalObjectiveMetricValue":
        worst = float("-inf")
        request = {key: value for key, value in request.items() if key != "SortBy"}
        trials = sorted(job.inner[TRIALS], key=lambda trial: _objective(job, trial) or worst)
        if request.get("SortOrder") == "Descending":
            trials.reverse()
        return {"TrainingJobSummaries": [trial_summary(job, trial) for trial in trials]}
    return pages(
        job.inner[TRIALS], request, lambda trial: trial_summary(job, trial), "TrainingJobSummaries", "Ascending"
    )


@operation("sagemaker", "StopHyperParameterTuningJob")
def stop(world: World, request: dict[str, Any]) -> None:
    """No new trials; those that run are stopped."""
    stop_job(find(world, request["HyperParameterTuningJobName"]), "hyperparameter tuning")


@operation("sagemaker", "DeleteHyperParameterTuningJob")
def delete(world: World, request: dict[str, Any]) -> None:
    """The record of an ended search; its trials stay."""
    delete_job(world, find(world, request["HyperParameterTuningJobName"]), "hyperparameter tuning")


@operation("sagemaker", "ListHyperParameterTuningJobs")
def list_jobs(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Newest first."""
    return pages(world.tables[TUNING].values(), request, _summary, "HyperParameterTuningJobSummaries")


def _summary(job: Job) -> dict[str, Any]:
    settings = job.request[CONFIG]
    return job.begun("HyperParameterTuningJobStatus", "HyperParameterTuningJob") | {
        "Strategy": settings["Strategy"],
        "HyperParameterTuningEndTime": job.ended,
        "LastModifiedTime": job.modified,
        "ResourceLimits": settings["ResourceLimits"],
        **_counts(job),
    }


def find(world: World, name: str) -> Job:
    """The tuning job of a name."""
    job = world.tables[TUNING].get(name)
    if job is None:
        raise AwsError(NOT_FOUND, f"Amazon SageMaker can't find a tuning job with the name {name}.")
    return job
