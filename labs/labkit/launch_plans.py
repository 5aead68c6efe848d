"""What sm_launch would ask of AWS for a spec, as plans and tables; nothing is sent, and no account is needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sm_launch.cost import Estimate, Hours, estimate
from sm_launch.plan import make_plan
from sm_launch.prices import TablePrices
from sm_launch.reading import read
from sm_launch.steps import Plan
from sm_launch.views import instructions

from .project import ROOT
from .tables import Table

SPECS = ROOT / "sm_launch" / "specs"
RUN = "brats-plan"


def plan_of(spec: Path, run: str = RUN, changes: Sequence[str] = (), jobs: Sequence[str] = ()) -> Plan:
    """The plan of a spec file, made without a call to AWS and not judged yet.

    Args:
        spec: YAML file, such as one of ``SPECS``.
        run: the run's id.
        changes: as after ``--set``.
        jobs: of the spec, such as ``train``; all if empty.

    Raises:
        LaunchError: the spec names what is not there, or contradicts itself.
    """
    return make_plan(read(spec, changes), run, jobs)


def cost(plan: Plan, region: str | None = None) -> Estimate:
    """What a plan costs by the dated price table.

    Args:
        plan: the plan.
        region: whose prices; None for the plan's.
    """
    hours = {step.name: Hours(step.expected_hours, step.expected_hours) for step in plan.steps if step.expected_hours}
    return estimate(plan, hours, TablePrices(region or plan.region))


def training_table(specs: Sequence[str]) -> Table:
    """How trainings of the shipped specs differ: machines, image, launcher, configs, the bill's ceiling."""
    rows = []
    for spec in specs:
        plan = plan_of(SPECS / spec, jobs=["train"])
        request = plan.steps[-1].request
        job, bill = instructions(plan, request), cost(plan)
        machines = request["ResourceConfig"]
        image = request["AlgorithmSpecification"]["TrainingImage"].rpartition("/")[2]
        overrides = [name.rpartition("/")[2] for name in job["configs"] if "train.json" in name or "network" in name]
        rows.append(
            [
                spec, f"{machines['InstanceCount']} x {machines['InstanceType']}", image, job["launch"],
                job["overrides"].get("backend", "-"), ", ".join(overrides), f"${bill.high:,.0f}",
            ]
        )  # fmt: skip
    columns = ["spec", "machines", "image", "started by", "backend", "configs", "24 h at most"]
    return Table(columns, rows, f"prices of {bill.source[:10]}; needs an AWS account; untested on AWS")


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
