"""A plan as a person reads it before paying, and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from sm_launch.cost import render as render_cost
from sm_launch.fleet import fleet_of
from sm_launch.steps import Plan, Step


def text(plan: Plan, cost: Any) -> str:
    """The plan as a few short tables.

    Args:
        plan: the plan.
        cost: its estimate, of ``cost.estimate``.
    """
    lines = [f"Run {plan.run} in {plan.region}, bucket {plan.bucket}, profile {plan.profile}", ""]
    lines += ["Uploads"]
    folders: dict[str, list[int]] = defaultdict(list)
    for upload in plan.uploads:
        folders[_channel(plan, upload.uri)].append(upload.size)
    for uri, sizes in folders.items():
        lines.append(f"  {len(sizes):>6} files {size(sum(sizes)):>9}  {uri}")
    for copy in plan.copies:
        lines.append(f"  {len(copy.files):>6} files {size(copy.size):>9}  {copy.uri}  from {copy.folder}")
    if not (plan.uploads or plan.copies):
        lines.append("  nothing")
    lines += ["", "Steps"]
    lines += [f"  {number:>2}  {_step(step)}" for number, step in enumerate(plan.steps, start=1)] or ["  none"]
    if plan.notes:
        lines += ["", "Notes", *(f"  - {note}" for note in plan.notes)]
    return "\n".join([*lines, "", render_cost(cost)])


def content(plan: Plan) -> dict[str, Any]:
    """The plan as JSON: exact requests, files with sizes and checksums, notes."""
    return {
        "run": plan.run,
        "region": plan.region,
        "bucket": plan.bucket,
        "profile": plan.profile,
        "uploads": [{"uri": one.uri, "bytes": one.size, "sha256": one.sha256} for one in plan.uploads],
        "copies": [
            {"folder": str(one.folder), "uri": one.uri, "files": len(one.files), "bytes": one.size}
            for one in plan.copies
        ],
        "steps": [
            {"service": step.service, "operation": step.operation, "request": json.loads(json.dumps(step.request))}
            for step in plan.steps
        ],
        "notes": list(plan.notes),
    }


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _channel(plan: Plan, uri: str) -> str:
    """The folder of the run that a file belongs to."""
    root = f"s3://{plan.bucket}/{plan.folder}/"
    return root + uri.removeprefix(root).split("/", 1)[0] + "/"


def _step(step: Step) -> str:
    """One line of a step."""
    facts = fleet_of(step)
    parts = [step.operation, step.name]
    if "instance_type" in facts:
        parts.append(f"{facts['instance_count']} x {facts['instance_type']}" + (" spot" if facts.get("spot") else ""))
    if "storage_gib" in facts:
        parts.append(f"{facts['storage_gib']} GiB {facts['deployment']}")
    limit = step.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    if limit:
        parts.append(f"at most {limit / 3600:g} h")
    return "  ".join(filter(None, parts))
