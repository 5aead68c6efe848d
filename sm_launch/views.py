"""One way to look at the requests of a plan: what trains, what computes, on which machines, from which channels.

A training is a CreateTrainingJob or a definition inside a CreateHyperParameterTuningJob; a fleet is a set of machines,
whichever of the five request shapes asks for it. Rules, cost, quotas and the guard for patient data look at these, so
that none of them forgets a job type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sm_launch.steps import Plan, Step

TRAINING, PROCESSING, TRANSFORM, ENDPOINT = "training", "processing", "transform", "endpoint"
CREATE_TRAINING, CREATE_TUNING = "CreateTrainingJob", "CreateHyperParameterTuningJob"
CREATE_PROCESSING, CREATE_TRANSFORM = "CreateProcessingJob", "CreateTransformJob"
CREATE_MODEL, CREATE_ENDPOINT_CONFIG, CREATE_ENDPOINT = "CreateModel", "CreateEndpointConfig", "CreateEndpoint"
CREATE_FILE_SYSTEM, CREATE_ASSOCIATION = "CreateFileSystem", "CreateDataRepositoryAssociation"

CODE_CHANNEL = "code"
INSTRUCTIONS = "job.json"
REQUIREMENTS = "requirements.txt"


@dataclass(frozen=True)
class Training:
    """A training, or what a tuning's trials are made from.

    Attributes:
        step: the call.
        path: where in its request; empty for the request itself, else ending in a dot.
        request: that part of it.
        trials: how many may run in all; 1 for a training job.
    """

    step: Step
    path: str
    request: Mapping[str, Any]
    trials: int = 1

    @property
    def image(self) -> str:
        """Image URI; empty where the request names an algorithm instead."""
        return self.request.get("AlgorithmSpecification", {}).get("TrainingImage", "")

    @property
    def spot(self) -> bool:
        """Whether it runs on spot machines."""
        return bool(self.request.get("EnableManagedSpotTraining"))


@dataclass(frozen=True)
class Fleet:
    """Machines that a step pays for.

    Attributes:
        step: the call.
        path: the fields' place in its request, ending in a dot.
        use: training, processing, transform or endpoint.
        instance_type: ml.* name.
        count: machines of one job.
        volume_gb: EBS volume of each in GB; 0 where the request gives none.
        volume_key: whether it asks for a key of its own for that volume.
        max_runtime_s: seconds that AWS stops it after; None where the API has no limit.
        jobs: how many such jobs may run one after the other or side by side (trials of a tuning).
        parallel: how many of them at once.
        spot: on spot machines.
        keep_alive_s: seconds that a warm pool is kept, and billed, afterwards.
        alternative: whether a trial takes these machines or another fleet's of the same step, not both.
    """

    step: Step
    path: str
    use: str
    instance_type: str
    count: int
    volume_gb: int = 0
    volume_key: bool = False
    max_runtime_s: int | None = None
    jobs: int = 1
    parallel: int = 1
    spot: bool = False
    keep_alive_s: int = 0
    alternative: bool = False


# Limits that apply where a request gives none (API reference, StoppingCondition and ProcessingStoppingCondition).
DEFAULT_MAX_RUNTIME_S = 86_400


def of(plan: Plan, operation: str) -> Iterator[Step]:
    """Steps that make this call."""
    return (step for step in plan.steps if step.operation == operation)


def trainings(plan: Plan) -> Iterator[Training]:
    """Every training of the plan, those of tuning jobs included."""
    for step in of(plan, CREATE_TRAINING):
        yield Training(step, "", step.request)
    for step in of(plan, CREATE_TUNING):
        limits = step.request.get("HyperParameterTuningJobConfig", {}).get("ResourceLimits", {})
        trials = limits.get("MaxNumberOfTrainingJobs", 1)
        if "TrainingJobDefinition" in step.request:
            yield Training(step, "TrainingJobDefinition.", step.request["TrainingJobDefinition"], trials)
        for index, definition in enumerate(step.request.get("TrainingJobDefinitions", ())):
            yield Training(step, f"TrainingJobDefinitions[{index}].", definition, trials)


def fleets(plan: Plan) -> Iterator[Fleet]:
    """Every set of machines that the plan asks for; a serverless endpoint has none."""
    for training in trainings(plan):
        yield from _training_fleets(training)
    for step in of(plan, CREATE_PROCESSING):
        cluster = step.request.get("ProcessingResources", {}).get("ClusterConfig", {})
        stop = step.request.get("StoppingCondition", {})
        yield Fleet(
            step,
            "ProcessingResources.ClusterConfig.",
            PROCESSING,
            cluster.get("InstanceType", ""),
            cluster.get("InstanceCount", 1),
            volume_gb=cluster.get("VolumeSizeInGB", 0),
            volume_key="VolumeKmsKeyId" in cluster,
            max_runtime_s=stop.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_S),
        )
    for step in of(plan, CREATE_TRANSFORM):
        resources = step.request.get("TransformResources", {})
        yield Fleet(
            step,
            "TransformResources.",
            TRANSFORM,
            resources.get("InstanceType", ""),
            resources.get("InstanceCount", 1),
            volume_key="VolumeKmsKeyId" in resources,
        )
    for step in of(plan, CREATE_ENDPOINT_CONFIG):
        for name in ("ProductionVariants", "ShadowProductionVariants"):
            for index, variant in enumerate(step.request.get(name, ())):
                if "InstanceType" in variant:
                    yield Fleet(
                        step,
                        f"{name}[{index}].",
                        ENDPOINT,
                        variant["InstanceType"],
                        variant.get("InitialInstanceCount", 1),
                        volume_gb=variant.get("VolumeSizeInGB", 0),
                    )


def channels(training: Training) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Input channels with their place in the step's request."""
    for index, channel in enumerate(training.request.get("InputDataConfig", ())):
        yield f"{training.path}InputDataConfig[{index}]", channel


def instructions(plan: Plan, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The job.json of a training's or a processing's code channel; empty where the plan doesn't upload one."""
    text = _code_file(plan, request, INSTRUCTIONS)
    return json.loads(text) if text else {}


def requirements(plan: Plan, request: Mapping[str, Any]) -> list[str]:
    """Lines of the requirements.txt that the job installs at its start; empty where the plan doesn't upload one."""
    return _code_file(plan, request, REQUIREMENTS).splitlines()


def _code_file(plan: Plan, request: Mapping[str, Any], name: str) -> str:
    root = _code_root(request)
    for upload in plan.uploads if root else ():
        if upload.uri == f"{root.rstrip('/')}/{name}":
            data = upload.data if upload.data is not None else upload.path.read_bytes() if upload.path else b""
            return data.decode("utf-8")
    return ""


def _code_root(request: Mapping[str, Any]) -> str:
    for channel in request.get("InputDataConfig", ()):
        if channel.get("ChannelName") == CODE_CHANNEL:
            return channel.get("DataSource", {}).get("S3DataSource", {}).get("S3Uri", "")
    for given in request.get("ProcessingInputs", ()):
        if given.get("InputName") == CODE_CHANNEL:
            return given.get("S3Input", {}).get("S3Uri", "")
    return ""


def _training_fleets(training: Training) -> Iterator[Fleet]:
    request, step = training.request, training.step
    limits = step.request.get("HyperParameterTuningJobConfig", {}).get("ResourceLimits", {})
    stop = request.get("StoppingCondition", {})
    for name in ("ResourceConfig", "HyperParameterTuningResourceConfig"):
        if name not in request:
            continue
        resources = request[name]
        groups = resources.get("InstanceGroups") or resources.get("InstanceConfigs") or [resources]
        key = "InstanceGroups" if "InstanceGroups" in resources else "InstanceConfigs"
        for index, group in enumerate(groups):
            path = f"{training.path}{name}." if group is resources else f"{training.path}{name}.{key}[{index}]."
            yield Fleet(
                step,
                path,
                TRAINING,
                group.get("InstanceType", ""),
                group.get("InstanceCount", 1),
                volume_gb=group.get("VolumeSizeInGB", resources.get("VolumeSizeInGB", 0)),
                volume_key="VolumeKmsKeyId" in resources,
                max_runtime_s=stop.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_S),
                jobs=training.trials,
                parallel=limits.get("MaxParallelTrainingJobs", 1),
                spot=training.spot,
                keep_alive_s=resources.get("KeepAlivePeriodInSeconds", 0),
                alternative="TrainingJobDefinitions" in step.request or "InstanceConfigs" in resources,
            )
