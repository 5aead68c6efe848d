"""What sm_launch would ask of AWS for its shipped specs, as tables; nothing is sent, and no account is needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sm_launch.cost import Estimate, estimate
from sm_launch.plan import make_plan
from sm_launch.reading import read
from sm_launch.steps import Plan

from .project import ROOT
from .tables import Table

SPECS = ROOT / "sm_launch" / "specs"
JOB_FILE = "job.json"
RUN = "brats-plan"


def plan_of(spec: str, job: str = "train", changes: Sequence[str] = ()) -> Plan:
    """The plan of one job of a shipped spec.

    Args:
        spec: name of its file, such as ``smddp.yaml``.
        job: ``train`` or ``tune``.
        changes: ``train.instance_count=2``-like.

    Raises:
        LaunchError: the spec is wrong.
    """
    return make_plan(read(SPECS / spec, changes), RUN, [job])


def job_of(plan: Plan) -> dict[str, Any]:
    """What the plan's container will be told: its job.json."""
    found = next(upload for upload in plan.uploads if upload.uri.endswith(f"/{JOB_FILE}"))
    return json.loads(found.data if found.data is not None else found.path.read_bytes())


def training_table(specs: Sequence[str]) -> Table:
    """How trainings of the shipped specs differ: machines, image, launcher, configs, the bill's ceiling."""
    rows = []
    for spec in specs:
        plan = plan_of(spec)
        request, job = plan.steps[-1].request, job_of(plan)
        machines = request["ResourceConfig"]
        image = request["AlgorithmSpecification"]["TrainingImage"].rpartition("/")[2]
        overrides = [name.rpartition("/")[2] for name in job["configs"] if "train.json" in name or "network" in name]
        rows.append(
            [
                spec, f"{machines['InstanceCount']} x {machines['InstanceType']}", image, job["launch"],
                job["overrides"].get("backend", "-"), ", ".join(overrides), f"${estimate(plan).high:,.0f}",
            ]
        )  # fmt: skip
    columns = ["spec", "machines", "image", "started by", "backend", "configs", "24 h at most"]
    return Table(columns, rows, f"prices of {estimate(plan).source[:10]}; needs an AWS account; untested on AWS")


def bill_of(plan: Plan) -> Estimate:
    """What the plan costs, by the launcher's dated table."""
    return estimate(plan)


def tuning_table(plan: Plan) -> Table:
    """A tuning job's request, the parts that a search file decides."""
    request = plan.steps[-1].request
    config, trial = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    limits, objective = config["ResourceLimits"], config["HyperParameterTuningJobObjective"]
    machines, hours = trial["ResourceConfig"], trial["StoppingCondition"]["MaxRuntimeInSeconds"] / 3600
    rows = [
        ["Strategy", config["Strategy"]],
        ["Objective", f"{objective['Type']} {objective['MetricName']}"],
        ["MaxNumberOfTrainingJobs", limits["MaxNumberOfTrainingJobs"]],
        ["MaxParallelTrainingJobs", limits["MaxParallelTrainingJobs"]],
        ["TrainingJobEarlyStoppingType", config["TrainingJobEarlyStoppingType"]],
        ["a trial's machine", f"{machines['InstanceCount']} x {machines['InstanceType']}"],
        ["a trial's ceiling", f"{hours:.0f} h"],
    ]
    for kind, ranges in config["ParameterRanges"].items():
        for one in ranges:
            found = one.get("Values") or [f"{one['MinValue']} to {one['MaxValue']}, {one['ScalingType']}"]
            rows.append([f"{kind.removesuffix('ParameterRanges')}: {one['Name']}", " | ".join(map(_short, found))])
    return Table(["CreateHyperParameterTuningJob", "value"], rows, "needs an AWS account; untested on AWS")


def _short(value: str) -> str:
    """A value of a range; an object by the name of its class."""
    if not value.startswith("{"):
        return value
    return json.loads(value)["_target_"].rpartition(".")[2]
