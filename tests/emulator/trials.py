"""The trials of a tuning job while they run: each is a training job, begun by its first event."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from emulator.jobs import FAILED, TRAINING, TUNING, Job, add_job
from emulator.logs import Shipper
from emulator.running import listener
from emulator.world import World
from sm_launch.events import LOG, TRIAL
from sm_launch.local import Event

TRIALS = "trials"
CONFIG = "HyperParameterTuningJobConfig"


def trial_listener(world: World, job: Job, shipper: Shipper) -> Callable[[Event], None]:
    """What takes the events of a tuning job's trials."""
    takers: dict[str, Callable[[Event], None]] = {}

    def take(event: Event) -> None:
        if event.job == job.name:
            return
        if event.job not in takers:
            takers[event.job] = listener(world, _begin_trial(world, job, event.job), shipper)
        takers[event.job](event)
        trial = world.tables[TRAINING][event.job]
        if event.kind == LOG:
            _measure(trial, event)
        elif event.kind == TRIAL:
            _end_trial(trial, event)
            shipper.flush()
        elif event.status == "Training":
            _read_drawn(trial, job, world.folder / TUNING / job.name / trial.name)

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


def _read_drawn(trial: Job, job: Job, folder: Path) -> None:
    """What was drawn for the trial, from the file that its container reads."""
    file = next(folder.rglob("input/config/hyperparameters.json"))
    given = json.loads(file.read_text(encoding="utf-8"))
    ranges = job.request[CONFIG].get("ParameterRanges", {}).values()
    names = {each["Name"] for kind in ranges for each in kind}
    trial.inner["tuned"] = {name: value for name, value in given.items() if name in names}
    trial.request = {**trial.request, "HyperParameters": given}


def _measure(trial: Job, event: Event) -> None:
    """Each metric's last value so far, from the line."""
    for definition in trial.request["AlgorithmSpecification"].get("MetricDefinitions", ()):
        found = re.search(definition["Regex"], event.message)
        if found:
            value = {"MetricName": definition["Name"], "Value": float(found.group(1)), "Timestamp": event.time}
            trial.inner.setdefault("metrics", {})[definition["Name"]] = value


def _end_trial(trial: Job, event: Event) -> None:
    """That the trial is over must be seen while others run."""
    metrics = trial.inner.get("metrics", {})
    seconds = max(1, round((event.time - (trial.started or event.time)).total_seconds()))
    trial.extra |= {
        "TrainingTimeInSeconds": seconds,
        "BillableTimeInSeconds": seconds,
        "FinalMetricDataList": list(metrics.values()) or None,
    }
    trial.finish(event.status, event.message if event.status == FAILED else None)
