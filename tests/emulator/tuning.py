"""Tuning jobs: Create, Describe, Stop, Delete, List, and their trials, which are training jobs too."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from emulator.accounts import check_capacity
from emulator.errors import NOT_FOUND, AwsError
from emulator.jobs import COMPLETED, FAILED, STOPPED, TRAINING, TUNING, Job, add_job, delete_job, stop_job
from emulator.listing import pages
from emulator.logs import GROUPS, Shipper
from emulator.running import BROKEN, listener
from emulator.training import check_training, counted, record
from emulator.world import World, operation
from sm_launch.errors import LaunchError
from sm_launch.local import Event, S3Store, TuningResult, run_tuning
from sm_launch.local.results import LOG, TRIAL

TRIALS = "trials"
CONFIG = "HyperParameterTuningJobConfig"
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
    world.pause()
    failure = world.faults.job_failure(job.name)
    if failure:
        job.finish(FAILED, failure)
        return
    shipper = Shipper(world, GROUPS[TRAINING])
    try:
        result = run_tuning(
            job.request,
            S3Store(world.clients("s3")),
            world.folder / TUNING / job.name,
            image_command=world.image_command,
            on_event=_listener(world, job, shipper),
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
        _complete(world, job, result)
    finally:
        shipper.close()


def _listener(world: World, job: Job, shipper: Shipper) -> Callable[[Event], None]:
    takers: dict[str, Callable[[Event], None]] = {}

    def take(event: Event) -> None:
        if event.job == job.name:
            return
        if event.job not in takers:
            takers[event.job] = listener(world, _begin_trial(world, job, event.job), shipper)
        takers[event.job](event)
        trial = world.tables[TRAINING][event.job]
        if event.kind == LOG:
            _measure(job, trial, event)
        elif event.kind == TRIAL:
            # What was drawn follows with the search's end; that the trial is over must be seen while others run.
            trial.finish(event.status, event.message if event.status == FAILED else None)

    return take


def _begin_trial(world: World, job: Job, name: str) -> Job:
    definition = job.request["TrainingJobDefinition"]
    cluster = definition.get("ResourceConfig") or definition["HyperParameterTuningResourceConfig"]
    request = {
        **{key: value for key, value in definition.items() if key != "HyperParameterRanges"},
        "ResourceConfig": cluster,
        "HyperParameters": dict(definition.get("StaticHyperParameters", {})),
    }
    trial = add_job(world, TRAINING, name, request)
    trial.extra["TuningJobArn"] = job.arn
    trial.instances = [(cluster["InstanceType"], cluster["InstanceCount"])]
    trial.move("Starting", "Starting the training job")
    job.inner[TRIALS].append(trial)
    return trial


def _measure(job: Job, trial: Job, event: Event) -> None:
    """The objective's last value so far, from the line."""
    wanted = job.request[CONFIG].get(OBJECTIVE, {}).get("MetricName")
    for definition in job.request["TrainingJobDefinition"]["AlgorithmSpecification"].get("MetricDefinitions", ()):
        found = re.search(definition["Regex"], event.message)
        if found and definition["Name"] == wanted:
            trial.inner["objective"] = float(found.group(1))


def _complete(world: World, job: Job, result: TuningResult) -> None:
    for trial in result.trials:
        mine = world.tables[TRAINING][trial.result.name]
        mine.request = {**mine.request, "HyperParameters": trial.request.get("HyperParameters", {})}
        mine.inner |= {"tuned": dict(trial.hyperparameters), "objective": trial.objective}
        mine.failure = trial.result.failure_reason
        record(mine, trial.result)
    job.finish(result.status, result.failure_reason)


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
    scored = sum(trial.inner.get("objective") is not None for trial in trials)
    ended = sum(
        trial.status in (COMPLETED, FAILED, STOPPED) and trial.inner.get("objective") is None for trial in trials
    )
    pending = len(trials) - scored - ended
    return {
        "TrainingJobStatusCounters": counted(trials),
        "ObjectiveStatusCounters": {"Succeeded": scored, "Pending": pending, "Failed": ended},
    }


def _best(job: Job) -> dict[str, Any] | None:
    objective = job.request[CONFIG].get(OBJECTIVE)
    scored = [trial for trial in job.inner[TRIALS] if trial.inner.get("objective") is not None]
    if objective is None or not scored:
        return None
    choose = max if objective["Type"] == "Maximize" else min
    return trial_summary(job, choose(scored, key=lambda trial: trial.inner["objective"]))


def trial_summary(job: Job, trial: Job) -> dict[str, Any]:
    """A trial in a list; what was drawn is known here when the search has ended."""
    objective = job.request[CONFIG].get(OBJECTIVE)
    value = trial.inner.get("objective")
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
        trials = sorted(job.inner[TRIALS], key=lambda trial: trial.inner.get("objective") or worst)
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
