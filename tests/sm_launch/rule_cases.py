"""For each rule of trainings a plan that breaks it and the very sentence that the user then sees, as docs/rules.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import launch_plans as lp

from sm_launch.steps import Plan

SPOT = {"EnableManagedSpotTraining": True}
WAIT = {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 7200}
CHECKPOINTS = {"S3Uri": f"{lp.ROOT}/checkpoints"}
SPOT_TRAINING = SPOT | {"StoppingCondition": WAIT, "CheckpointConfig": CHECKPOINTS}


@dataclass(frozen=True)
class Case:
    """One broken plan.

    Attributes:
        rule: the rule's name.
        plan: makes it.
        message: what the rule says.
    """

    rule: str
    plan: Callable[[], Plan]
    message: str


def one(step: lp.Step, *changes: Callable, uploads: tuple | None = None) -> Callable[[], Plan]:
    """A plan of one step with these changes."""

    def make() -> Plan:
        changed = step
        for change in changes:
            changed = lp.changed(changed, change)
        return lp.plan(changed, uploads=uploads)

    return make


def some(**members: object) -> Callable:
    """A change that sets top-level members."""
    return lambda request: request.update(members)


def machine(name: str, count: int = 1) -> Callable:
    resources = {"InstanceType": name, "InstanceCount": count, "VolumeSizeInGB": 30}
    return lp.put("ResourceConfig", resources)


def image(uri: str) -> Callable:
    return lp.put("AlgorithmSpecification.TrainingImage", uri)


TRAIN, TUNE, STORE = lp.training(), lp.tuning(), lp.processing()
SMDDP = lp.code_uploads("smddprun", "monai==1.5.2\n")
A = "demo-1a2b-train: "
METRIC = "AlgorithmSpecification.MetricDefinitions.0.Regex"

TRAINING_CASES = (
    Case(
        "longest-run",
        one(TRAIN, lp.put("StoppingCondition.MaxRuntimeInSeconds", 2_600_000)),
        A + "StoppingCondition.MaxRuntimeInSeconds is 2600000, and AWS runs a training for 2419200 s at most; lower "
        "train.max_hours to 672.",
    ),
    Case(
        "spot-wait",
        one(TRAIN, some(**SPOT_TRAINING), lp.put("StoppingCondition.MaxWaitTimeInSeconds", 3600)),
        A + "StoppingCondition.MaxWaitTimeInSeconds is 3600, and spot training takes at least MaxRuntimeInSeconds, "
        "7200; set train.max_wait_hours to 2 or more.",
    ),
    Case(
        "spot-wait",
        one(
            TUNE,
            lp.put("TrainingJobDefinition.EnableManagedSpotTraining", True),
            lp.put("TrainingJobDefinition.CheckpointConfig", CHECKPOINTS),
        ),
        "demo-1a2b-tune: TrainingJobDefinition.StoppingCondition.MaxWaitTimeInSeconds is absent, and spot training "
        "takes at least MaxRuntimeInSeconds, 7200; set train.max_wait_hours to 2 or more.",
    ),
    Case(
        "spot-only-wait",
        one(TRAIN, some(StoppingCondition=WAIT)),
        A + "StoppingCondition.MaxWaitTimeInSeconds is given without EnableManagedSpotTraining, and AWS refuses that; "
        "remove train.max_wait_hours or ask for spot.",
    ),
    Case(
        "spot-checkpoint",
        one(TRAIN, some(**SPOT, StoppingCondition=WAIT)),
        A + "CheckpointConfig is absent, and spot training would begin anew after each interruption; give a checkpoint "
        "prefix in S3.",
    ),
    Case(
        "warm-pool-spot",
        one(TRAIN, some(**SPOT_TRAINING), lp.put("ResourceConfig.KeepAlivePeriodInSeconds", 600)),
        A + "ResourceConfig.KeepAlivePeriodInSeconds is 600 together with EnableManagedSpotTraining, and AWS keeps no "
        "warm pool of spot machines; remove keep_alive or spot.",
    ),
    Case(
        "warm-pool-groups",
        one(
            TRAIN,
            lp.put(
                "ResourceConfig",
                {
                    "InstanceGroups": [
                        {"InstanceGroupName": "gpu", "InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
                        {"InstanceGroupName": "cpu", "InstanceType": "ml.c5.xlarge", "InstanceCount": 1},
                    ],
                    "VolumeSizeInGB": 30,
                    "KeepAlivePeriodInSeconds": 600,
                },
            ),
        ),
        A
        + "ResourceConfig.KeepAlivePeriodInSeconds is 600 together with InstanceGroups, and AWS keeps no warm pool of "
        "several types; remove keep_alive or take one instance type.",
    ),
    Case(
        "warm-pool-length",
        one(TRAIN, lp.put("ResourceConfig.KeepAlivePeriodInSeconds", 7200)),
        A + "ResourceConfig.KeepAlivePeriodInSeconds is 7200, and AWS keeps a warm pool for 3600 s at most; lower it.",
    ),
    Case(
        "metric-regex",
        one(TRAIN, lp.put(METRIC, "loss: (.*?)")),
        A + "AlgorithmSpecification.MetricDefinitions[0].Regex is 'loss: (.*?)', which can capture an empty text, and "
        "AWS would record no number; write the group as ([0-9.eE+-]+).",
    ),
    Case(
        "metric-regex",
        one(TRAIN, lp.put(METRIC, "(loss)?=?([0-9]*)")),
        A + "AlgorithmSpecification.MetricDefinitions[0].Regex is '(loss)?=?([0-9]*)' with 2 groups, and AWS reads the "
        "value from one; use one.",
    ),
    Case(
        "metric-regex",
        one(TRAIN, lp.put(METRIC, "loss=([0-9")),
        A + "AlgorithmSpecification.MetricDefinitions[0].Regex is 'loss=([0-9', which is no regular expression "
        "(unterminated character set at position 6); mend it.",
    ),
    Case(
        "channel-names",
        one(TRAIN, lambda request: request["InputDataConfig"].append(lp.s3_channel("train"))),
        A + "InputDataConfig has 2 channels named 'train', and each needs a name of its own; rename them.",
    ),
    Case(
        "isolated-install",
        one(TRAIN, lambda request: request["InputDataConfig"].pop()),
        A
        + "EnableNetworkIsolation is true and requirements.txt wants 'monai==1.6.1', which cannot be downloaded then; "
        "add a 'wheels' channel that holds the wheels.",
    ),
    Case(
        "isolated-install",
        one(STORE, lambda request: request["ProcessingInputs"].pop()),
        "demo-1a2b-store: NetworkConfig.EnableNetworkIsolation is true and requirements.txt wants 'monai==1.6.1', "
        "which cannot be downloaded then; add a 'wheels' channel that holds the wheels.",
    ),
    Case(
        "package-lines",
        one(TRAIN, uploads=lp.code_uploads("none", "monai==1.6.1\nnibabel = 5.3.2\n")),
        A
        + "requirements.txt has the line 'nibabel = 5.3.2', which pip does not read; write a name with a version, such "
        "as nibabel==5.3.2.",
    ),
    Case(
        "tuning-objective",
        one(TUNE, lp.put("HyperParameterTuningJobConfig.HyperParameterTuningJobObjective.MetricName", "dice")),
        "demo-1a2b-tune: the objective 'dice' is not among "
        "TrainingJobDefinition.AlgorithmSpecification.MetricDefinitions, and AWS would find no value to compare; "
        "define it.",
    ),
    Case(
        "tuning-parallel",
        one(TUNE, lp.put("HyperParameterTuningJobConfig.ResourceLimits.MaxParallelTrainingJobs", 9)),
        "demo-1a2b-tune: ResourceLimits.MaxParallelTrainingJobs is 9, and AWS takes at most MaxNumberOfTrainingJobs, "
        "8; lower it.",
    ),
    Case(
        "hyperband-stopping",
        one(
            TUNE,
            lp.put("HyperParameterTuningJobConfig.Strategy", "Hyperband"),
            lp.put("HyperParameterTuningJobConfig.TrainingJobEarlyStoppingType", "Auto"),
        ),
        "demo-1a2b-tune: TrainingJobEarlyStoppingType is 'Auto' with the Hyperband strategy, which stops trials "
        "itself; set it to 'Off'.",
    ),
    Case(
        "tuning-warm-pool",
        one(TUNE, lp.put("TrainingJobDefinition.ResourceConfig.KeepAlivePeriodInSeconds", 600)),
        "demo-1a2b-tune: TrainingJobDefinition.ResourceConfig.KeepAlivePeriodInSeconds is 600, and each trial would "
        "leave machines that are billed and that 'down' does not give back; set train.keep_alive_minutes to 0 for a "
        "tuning.",
    ),
    Case(
        "image-region",
        one(STORE, lp.put("AppSpecification.ImageUri", lp.IMAGE.replace("us-east-1", "us-west-2"))),
        "demo-1a2b-store: AppSpecification.ImageUri lies in us-west-2, and a job in us-east-1 takes an image of its "
        "own region; give the URI there.",
    ),
    Case(
        "processes-without-gpus",
        one(TRAIN, uploads=lp.code_uploads("torchrun")),
        A + "launch is 'torchrun', one process per GPU, and ml.c5.4xlarge has none; take a GPU type, or give "
        "processes_per_host and the backend gloo to train on processors.",
    ),
    Case(
        "more-processes-than-gpus",
        one(TRAIN, machine("ml.g5.12xlarge"), uploads=lp.code_uploads("torchrun", processes_per_host=8)),
        A + "processes_per_host is 8, and ml.g5.12xlarge has 4 GPUs; lower it, or leave it out to take one process per "
        "GPU.",
    ),
    Case(
        "smddp-type",
        one(TRAIN, machine("ml.p5.48xlarge", 2), image(lp.SMDDP_IMAGE), uploads=SMDDP),
        A + "SMDDP is asked for on ml.p5.48xlarge, and it runs on ml.p3dn.24xlarge, ml.p4d.24xlarge, ml.p4de.24xlarge "
        "only; take one of them, or the backend nccl.",
    ),
    Case(
        "smddp-image",
        one(TRAIN, machine("ml.p4d.24xlarge", 2), uploads=lp.code_uploads("smddprun")),
        A + "SMDDP is asked for, and the image's PyTorch 2.13.0 comes without it; take PyTorch 2.4.1's or PyTorch "
        "2.3.0's image, or the backend nccl.",
    ),
    Case(
        "monai-needs-newer-torch",
        one(
            TRAIN,
            machine("ml.p4d.24xlarge", 2),
            image(lp.SMDDP_IMAGE),
            uploads=lp.code_uploads("smddprun", "monai[fire]\n"),
        ),
        A + "requirements.txt asks for MONAI 1.6, which needs PyTorch 2.8 or newer, and the image has 2.4.1; ask for "
        "monai==1.5.*, or pip would replace the image's PyTorch.",
    ),
)

TRAINING_ADVICE = (
    Case(
        "nccl-is-better",
        one(TRAIN, machine("ml.p4d.24xlarge", 2), image(lp.SMDDP_IMAGE), uploads=SMDDP),
        A + "NCCL is the better choice than SMDDP unless you measured otherwise: SMDDP's last release is of 2024 for "
        "PyTorch 2.4.1, whereas NCCL over EFA runs on the default image with PyTorch 2.13.0 and MONAI 1.6; set the "
        "backend to nccl and launch by torchrun.",
    ),
    Case(
        "nccl-is-better",
        one(TRAIN, machine("ml.p4d.24xlarge"), image(lp.SMDDP_IMAGE), uploads=SMDDP),
        A + "NCCL is the better choice than SMDDP unless you measured otherwise: on one machine gradients travel by "
        "NVLink, where SMDDP gains nothing over NCCL; set the backend to nccl and launch by torchrun.",
    ),
    Case(
        "no-efa",
        one(TRAIN, machine("ml.g5.2xlarge", 4), uploads=lp.code_uploads("torchrun")),
        A + "4 x ml.g5.2xlarge exchange gradients over TCP, for the type has no EFA; one machine with more GPUs is "
        "usually faster and no dearer.",
    ),
)
