"""Trials of a tuning job: a table, and the best one as an override file of the bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sm_launch import aws, resources
from sm_launch.errors import LaunchError
from sm_launch.manifest import Manifest


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        job: name of its training job.
        status: of that job.
        knobs: knob to the value that was tried.
        objective: final value of the metric; None if it never printed one.
    """

    job: str
    status: str
    knobs: Mapping[str, Any]
    objective: float | None


@dataclass(frozen=True)
class Trials:
    """All trials, best first.

    Attributes:
        metric: objective.
        rows: trials; those without a value last.
    """

    metric: str
    rows: tuple[TrialRow, ...]


def trials(manifest: Manifest, session: Any) -> Trials:
    """Ask AWS for the trials of a run's tuning job.

    Raises:
        LaunchError: the run has none, or AWS refuses.
    """
    entry = next((one for one in manifest.entries if one.kind == resources.TUNING), None)
    if entry is None:
        raise LaunchError(f"run {manifest.run} has no tuning job; apply a spec with tune.")
    service = aws.client(session, "sagemaker")
    job = {"HyperParameterTuningJobName": entry.name}
    found = aws.ask("look at the tuning job", lambda: service.describe_hyper_parameter_tuning_job(**job))
    pages = service.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(**job)
    listed = aws.ask("list its trials", lambda: [one for page in pages for one in page["TrainingJobSummaries"]])
    objective = found["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    knobs = entry.facts.get("hyperparameters", {})
    rows = [
        TrialRow(
            one["TrainingJobName"],
            one["TrainingJobStatus"],
            {knobs.get(name, name): _value(text) for name, text in one.get("TunedHyperParameters", {}).items()},
            one.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value"),
        )
        for one in listed
    ]
    sign = -1 if objective["Type"] == "Maximize" else 1
    rows.sort(key=lambda row: (row.objective is None, sign * (row.objective or 0.0), row.job))
    return Trials(objective["MetricName"], tuple(rows))


def table(found: Trials) -> str:
    """The trials as plain text, best first."""
    names = sorted({name for row in found.rows for name in row.knobs})
    lines: list[Sequence[str]] = [(found.metric, *names, "status", "training job")]
    for row in found.rows:
        value = "-" if row.objective is None else f"{row.objective:.4f}"
        lines.append((value, *(json.dumps(row.knobs.get(name)) for name in names), row.status, row.job))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def best_overrides(found: Trials) -> dict[str, Any]:
    """The best trial's knobs, as a config file that overrides train.json.

    Raises:
        LaunchError: no trial has a value.
    """
    if not found.rows or found.rows[0].objective is None:
        raise LaunchError(f"no trial has a value of {found.metric} yet; wait for the first to end.")
    return dict(found.rows[0].knobs)


def _value(text: str) -> Any:
    """A hyperparameter's text as the value that it was made from."""
    try:
        return json.loads(text)
    except ValueError:
        return text
