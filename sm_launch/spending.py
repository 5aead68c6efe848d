"""What a run has cost so far, by the dated price table: jobs by their billable seconds, the rest by its age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sm_launch import resources
from sm_launch.manifest import GONE, Entry, Manifest
from sm_launch.prices import Prices, TablePrices

_USES = {
    resources.TRAINING: "training", resources.PROCESSING: "processing", resources.TRANSFORM: "transform",
    resources.ENDPOINT: "endpoint",
}  # fmt: skip
HOURS_PER_MONTH = 730


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
        amount = cost_of(entry, found, prices, _facts(entry, manifest)) if found else None
        total += amount or 0.0
        complete &= amount is not None
        shown = "cost unknown" if amount is None else f"{amount:.2f} USD"
        waste = f", costs {kind.costs}" if found and kind.costs else ""
        lines.append(f"{entry.kind:<16} {entry.name}  {state}  {shown}{waste}")
    return Spent(total, complete, tuple(lines))


def cost_of(entry: Entry, found: Mapping[str, Any], prices: Prices, facts: Mapping[str, Any]) -> float | None:
    """USD of one thing so far; None where the table has no price.

    Jobs are billed by their billable seconds times machines (API reference, DescribeTrainingJob), endpoints and file
    systems from their creation on.

    Args:
        entry: of the manifest.
        found: AWS's answer about it.
        prices: where prices come from.
        facts: the entry's, or of the endpoint configuration that it uses.
    """
    if entry.kind == resources.FILE_SYSTEM:
        monthly = prices.lustre_gb_month(facts["deployment"], facts.get("throughput"))
        hours = _hours(found["CreationTime"])
        return None if monthly is None else monthly * facts["storage_gib"] * hours / HOURS_PER_MONTH
    if "instance_type" not in facts or entry.kind not in _USES:
        return None
    hourly = prices.instance_hour(facts["instance_type"], _USES[entry.kind])
    return None if hourly is None else hourly * billed_hours(entry.kind, found) * facts["instance_count"]


def _facts(entry: Entry, manifest: Manifest) -> Mapping[str, Any]:
    """The entry's facts; an endpoint's machines are told by its configuration."""
    name = entry.facts.get("endpoint_config")
    return manifest.entry(resources.ENDPOINT_CONFIG, name).facts if name else entry.facts


def billed_hours(kind: str, found: Mapping[str, Any]) -> float:
    """Hours that a job or an endpoint is billed for so far, a machine."""
    if kind == resources.ENDPOINT:
        return _hours(found["CreationTime"])
    if kind == resources.TRAINING and "BillableTimeInSeconds" in found:
        return found["BillableTimeInSeconds"] / 3600
    begin, end = {
        resources.TRAINING: ("TrainingStartTime", "TrainingEndTime"),
        resources.PROCESSING: ("ProcessingStartTime", "ProcessingEndTime"),
        resources.TRANSFORM: ("TransformStartTime", "TransformEndTime"),
    }[kind]
    if begin not in found:
        return 0.0
    return _hours(found[begin], found.get(end))


def _hours(begin: datetime, end: datetime | None = None) -> float:
    return ((end or datetime.now(timezone.utc)) - begin).total_seconds() / 3600
