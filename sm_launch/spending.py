"""What a run has cost so far, by the dated price table: jobs by their billable seconds, the rest by its age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sm_launch import aws, resources
from sm_launch.manifest import GONE, Entry, Manifest
from sm_launch.prices import HOURS_PER_MONTH, Prices, TablePrices

_USES = {
    resources.TRAINING: "training", resources.PROCESSING: "processing", resources.TRANSFORM: "transform",
    resources.ENDPOINT: "endpoint", resources.TUNING: "training",
}  # fmt: skip
# Fact of an entry: hours that it was there, summed up when ``down`` deletes it.
HOURS = "hours"


@dataclass(frozen=True)
class Spent:
    """What a run has cost.

    Attributes:
        dollars: USD of all that could be counted.
        complete: whether all could be counted.
        lines: a sentence for each thing.
    """

    dollars: float
    complete: bool
    lines: tuple[str, ...]

    def text(self) -> str:
        """The amount for people."""
        return f"{'' if self.complete else 'at least '}{self.dollars:.2f} USD so far"


def spent(manifest: Manifest, session: Any) -> Spent:
    """Ask AWS how long each thing of a run ran.

    Raises:
        LaunchError: AWS cannot be asked.
    """
    prices = TablePrices(manifest.region)
    total, complete, lines = 0.0, True, []
    for entry in manifest.entries:
        kind = resources.KINDS.get(entry.kind)
        if kind is None or not kind.status_key or entry.kind == resources.DATA_REPOSITORY:
            continue
        found = resources.find(entry, session)
        state = str(found[kind.status_key]) if found else GONE
        trials = _trials(entry, session) if entry.kind == resources.TUNING and found else ()
        amount = cost_of(entry, found, prices, _facts(entry, manifest), trials)
        total += amount or 0.0
        complete &= amount is not None
        shown = "cost unknown" if amount is None else f"{amount:.2f} USD"
        waste = f", costs {kind.costs}" if found and kind.costs else ""
        lines.append(f"{entry.kind:<16} {entry.name}  {state}  {shown}{waste}")
    return Spent(total, complete, tuple(lines))


def cost_of(
    entry: Entry,
    found: Mapping[str, Any] | None,
    prices: Prices,
    facts: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]] = (),
) -> float | None:
    """USD of one thing so far; None where the table has no price, or AWS and manifest tell no time.

    Jobs are billed by their billable seconds times machines (API reference, DescribeTrainingJob), a tuning job by those
    of its trials, endpoints and file systems from their creation to their end.

    Args:
        entry: of the manifest.
        found: AWS's answer about it; None if it is gone.
        prices: where prices come from.
        facts: the entry's, or of the endpoint configuration that it uses.
        trials: AWS's answers about a tuning job's training jobs.
    """
    if found is None and HOURS not in entry.facts:
        return None
    hours = entry.facts.get(HOURS, 0.0)
    if entry.kind == resources.FILE_SYSTEM:
        monthly = prices.lustre_gb_month(facts["deployment"], facts.get("throughput"))
        hours += alive_hours(found) if found else 0.0
        return None if monthly is None else monthly * facts["storage_gib"] * hours / HOURS_PER_MONTH
    if "instance_type" not in facts or entry.kind not in _USES:
        return None
    hourly = prices.instance_hour(facts["instance_type"], _USES[entry.kind])
    if entry.kind == resources.TUNING:
        hours = sum(billed_hours(resources.TRAINING, trial) for trial in trials)
    elif found:
        hours += billed_hours(entry.kind, found)
    return None if hourly is None else hourly * hours * facts["instance_count"]


def _trials(entry: Entry, session: Any) -> list[Mapping[str, Any]]:
    """AWS's answers about a tuning job's training jobs: the list of them does not tell what is billed."""
    client = aws.client(session, "sagemaker")
    pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    job = {"HyperParameterTuningJobName": entry.name}
    listed = aws.ask(
        f"list the trials of {entry.name}",
        lambda: [one["TrainingJobName"] for page in pages.paginate(**job) for one in page["TrainingJobSummaries"]],
    )
    return [
        aws.ask(f"look at the trial {name}", lambda name=name: client.describe_training_job(TrainingJobName=name))
        for name in listed
    ]


def _facts(entry: Entry, manifest: Manifest) -> Mapping[str, Any]:
    """The entry's facts; an endpoint's machines are told by its configuration."""
    name = entry.facts.get("endpoint_config")
    return manifest.entry(resources.ENDPOINT_CONFIG, name).facts if name else entry.facts


def billed_hours(kind: str, found: Mapping[str, Any]) -> float:
    """Hours that a job or an endpoint is billed for so far, a machine."""
    if kind == resources.ENDPOINT:
        return alive_hours(found)
    # Told once the kept machines are given back (API reference, WarmPoolStatus).
    kept = (found.get("WarmPoolStatus") or {}).get("ResourceRetainedBillableTimeInSeconds") or 0
    if kind == resources.TRAINING and "BillableTimeInSeconds" in found:
        return (found["BillableTimeInSeconds"] + kept) / 3600
    begin, end = {
        resources.TRAINING: ("TrainingStartTime", "TrainingEndTime"),
        resources.PROCESSING: ("ProcessingStartTime", "ProcessingEndTime"),
        resources.TRANSFORM: ("TransformStartTime", "TransformEndTime"),
    }[kind]
    if begin not in found:
        return 0.0
    return _hours(found[begin], found.get(end))


def alive_hours(found: Mapping[str, Any]) -> float:
    """Hours since a thing was made."""
    return _hours(found["CreationTime"])


def _hours(begin: datetime, end: datetime | None = None) -> float:
    return ((end or datetime.now(timezone.utc)) - begin).total_seconds() / 3600
