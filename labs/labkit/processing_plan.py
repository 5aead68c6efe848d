"""The launcher's plan of a preprocessing job as tables; nothing is asked of AWS."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sm_launch.plan import make_plan
from sm_launch.reading import read
from sm_launch.steps import Plan

from .project import ROOT
from .tables import Table

SPEC = ROOT / "sm_launch" / "specs" / "one_gpu.yaml"
RUN = "lab04"
INSTRUCTIONS = "job.json"


def planned(machines: int, instance_type: str) -> Plan:
    """The preprocessing of ``specs/one_gpu.yaml`` on other machines.

    Args:
        machines: how many.
        instance_type: such as ``ml.c5.9xlarge``.
    """
    changes = [f"preprocess.instance_count={machines}", f"preprocess.instance_type={instance_type}"]
    return make_plan(read(SPEC, changes), RUN, ("preprocess",))


def inputs(plan: Plan) -> Table:
    """What every machine gets, and how it is dealt."""
    request = plan.steps[0].request
    rows = [
        [one["InputName"], one["S3Input"]["S3Uri"], one["S3Input"]["S3DataDistributionType"]]
        for one in request["ProcessingInputs"]
    ]
    return Table(["input", "from", "distribution"], rows, f"Inputs of {request['ProcessingJobName']}")


def job(plan: Plan) -> Table:
    """On which machines, which command, and where its output goes."""
    request = plan.steps[0].request
    cluster = request["ProcessingResources"]["ClusterConfig"]
    output = request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]
    told = next(json.loads(one.data) for one in plan.uploads if one.uri.endswith(INSTRUCTIONS) and one.data)
    command: Sequence[str] = ["python -m", told["module"], *told["arguments"]]
    rows = [
        ["machines", f"{cluster['InstanceCount']} x {cluster['InstanceType']}, {cluster['VolumeSizeInGB']} GB each"],
        ["command", " ".join(command)],
        ["output", output["S3Uri"]],
        ["stopped after", f"{request['StoppingCondition']['MaxRuntimeInSeconds'] / 3600:g} h"],
    ]
    return Table(["", plan.steps[0].operation], rows)
