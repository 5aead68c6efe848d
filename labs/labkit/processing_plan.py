"""The launcher's plan of a preprocessing job as tables; nothing is asked of AWS."""

from __future__ import annotations

from sm_launch.steps import Plan
from sm_launch.views import instructions

from .launch_plans import SPECS, plan_of
from .tables import Table


def planned(machines: int, instance_type: str) -> Plan:
    """The preprocessing of ``specs/one_gpu.yaml`` on other machines.

    Args:
        machines: how many.
        instance_type: such as ``ml.c5.9xlarge``.
    """
    changes = [f"preprocess.instance_count={machines}", f"preprocess.instance_type={instance_type}"]
    return plan_of(SPECS / "one_gpu.yaml", changes=changes, jobs=["preprocess"])


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
    told = instructions(plan, request)
    command = ["python -m", told["module"], *told["arguments"]]
    rows = [
        ["machines", f"{cluster['InstanceCount']} x {cluster['InstanceType']}, {cluster['VolumeSizeInGB']} GB each"],
        ["command", " ".join(command)],
        ["output", output["S3Uri"]],
        ["stopped after", f"{request['StoppingCondition']['MaxRuntimeInSeconds'] / 3600:g} h"],
    ]
    return Table(["", plan.steps[0].operation], rows)
