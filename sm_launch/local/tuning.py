"""A CreateHyperParameterTuningJob request, run on this machine."""

from __future__ import annotations

import itertools
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.events import TRIAL, Event
from sm_launch.local.container import arn, region_of
from sm_launch.local.draws import grid, random_draws
from sm_launch.local.journal import now
from sm_launch.local.results import COMPLETED, FAILED, STOPPED, JobResult, Trial, TuningResult
from sm_launch.local.store import Store
from sm_launch.local.training import KILL_AFTER, run_training

RANDOM, GRID = "Random", "Grid"
MAXIMIZE = "Maximize"
# The service gives it to every trial, and the toolkit passes it by.
OBJECTIVE_HYPERPARAMETER = "_tuning_objective_metric"
# What a trial's request takes over from its TrainingJobDefinition as it is.
COPIED = (
    "AlgorithmSpecification", "CheckpointConfig", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining",
    "EnableNetworkIsolation", "Environment", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "RetryStrategy",
    "RoleArn", "StoppingCondition", "VpcConfig",
)  # fmt: skip


def run_tuning(
    request: Mapping[str, Any],
    store: Store,
    work_dir: Path,
    *,
    image_command: Sequence[str] | None = None,
    on_event: Callable[[Event], None] | None = None,
    stop: threading.Event | None = None,
    kill_after: float = KILL_AFTER,
    namespaces: bool | None = None,
) -> TuningResult:
    """Run a tuning job: its trials are drawn from the request's ranges and run as training jobs.

    Args:
        request: the parameters of CreateHyperParameterTuningJob.
        store: where the request's s3:// URIs lead.
        work_dir: a folder for this job; each trial takes one beneath it.
        image_command: as for :func:`sm_launch.local.run_training`; the API has no ContainerEntrypoint for trials.
        on_event: called with the trials' events too, one at a time; ``kind`` trial tells that one ended.
        stop: once set, the running trials are stopped and no new ones begin.
        kill_after: seconds between SIGTERM and SIGKILL.
        namespaces: as for :func:`sm_launch.local.run_training`.

    Raises:
        LaunchError: the request cannot be run here.
    """
    config = request["HyperParameterTuningJobConfig"]
    name, limits = request["HyperParameterTuningJobName"], config["ResourceLimits"]
    created, begun = now(), time.monotonic()
    longest = limits.get("MaxRuntimeInSeconds", float("inf"))
    planned = list(_trials(request))
    lock = threading.Lock()

    def tell(event: Event) -> None:
        if on_event is not None:
            with lock:
                on_event(event)

    def run(trial: tuple[dict[str, str], dict[str, Any], Mapping[str, str]]) -> Trial | None:
        drawn, training, objective = trial
        if (stop is not None and stop.is_set()) or time.monotonic() - begun > longest:
            return None
        result = run_training(
            training, store, work_dir / training["TrainingJobName"], image_command=image_command, on_event=tell,
            stop=stop, kill_after=kill_after, namespaces=namespaces,
        )  # fmt: skip
        tell(Event(now(), result.name, TRIAL, status=result.status, message=result.failure_reason or ""))
        return Trial(drawn, _objective(result, objective["MetricName"]), result, training)

    with ThreadPoolExecutor(limits["MaxParallelTrainingJobs"]) as pool:
        trials = tuple(trial for trial in pool.map(run, planned) if trial is not None)
    scored = [trial for trial in trials if trial.objective is not None and trial.result.status == COMPLETED]
    sign = 1 if planned[0][2]["Type"] == MAXIMIZE else -1
    best = max(scored, key=lambda trial: sign * float(trial.objective or 0), default=None)
    status, reason = COMPLETED, None
    if stop is not None and stop.is_set():
        status = STOPPED
    elif best is None:
        status = FAILED
        reason = "No trial completed with a value of the objective metric; see the trials' own reasons and logs."
    region = region_of(planned[0][1]["AlgorithmSpecification"].get("TrainingImage", ""))
    return TuningResult(
        name=name,
        arn=arn(region, "hyper-parameter-tuning-job", name),
        status=status,
        failure_reason=reason,
        trials=trials,
        best=best,
        notes=tuple(_notes(request)),
        created=created,
        ended=now(),
    )


def _objective(result: JobResult, metric: str) -> float | None:
    return next((found.value for found in result.metrics if found.name == metric), None)


def _notes(request: Mapping[str, Any]) -> Iterator[str]:
    """Where a local search differs from AWS's."""
    config = request["HyperParameterTuningJobConfig"]
    if config["Strategy"] not in (RANDOM, GRID):
        yield f"The {config['Strategy']} strategy is AWS's own; here the trials were drawn at random."
    if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
        yield "Early stopping is AWS's own; here every trial ran to its end."
    if "WarmStartConfig" in request:
        yield "The warm start was passed over: the parent jobs are on AWS."


def _trials(request: Mapping[str, Any]) -> Iterator[tuple[dict[str, str], dict[str, Any], Mapping[str, str]]]:
    """Drawn values, training request and objective of each trial.

    Raises:
        LaunchError: the request has no ranges, no objective, or no number of trials.
    """
    config = request["HyperParameterTuningJobConfig"]
    name = request["HyperParameterTuningJobName"]
    definitions = request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]]
    count = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    sources = []
    for place, definition in enumerate(definitions):
        ranges = definition.get("HyperParameterRanges") or config.get("ParameterRanges")
        objective = definition.get("TuningObjective") or config.get("HyperParameterTuningJobObjective")
        if not ranges or not objective:
            raise LaunchError(f"tuning job '{name}': has no ranges or no objective; give both.")
        if config["Strategy"] == GRID:
            drawn: Iterator[dict[str, str]] = iter(grid(ranges))
        else:
            drawn = random_draws(ranges, config.get("RandomSeed", f"{name}{place}"))
        sources.append(zip(drawn, itertools.repeat(definition), itertools.repeat(objective), strict=False))
    if config["Strategy"] != GRID and count is None:
        raise LaunchError(f"tuning job '{name}': ResourceLimits names no MaxNumberOfTrainingJobs; give it.")
    turns = (found for turn in itertools.zip_longest(*sources) for found in turn if found is not None)
    for number, (values, definition, objective) in enumerate(itertools.islice(turns, count), 1):
        # AWS, too, ends a trial's name with its number and eight characters.
        trial = f"{name}-{number:03d}-{zlib.crc32(repr((name, number, values)).encode()):08x}"
        training = {key: definition[key] for key in COPIED if key in definition}
        training["TrainingJobName"] = trial
        training["HyperParameters"] = {
            **definition.get("StaticHyperParameters", {}), **values,
            OBJECTIVE_HYPERPARAMETER: objective["MetricName"],
        }  # fmt: skip
        if "ResourceConfig" not in training:
            resources = definition["HyperParameterTuningResourceConfig"]
            # Of several types AWS takes the first that it has.
            training["ResourceConfig"] = {**resources, **next(iter(resources.get("InstanceConfigs", ())), {})}
        yield values, training, objective
