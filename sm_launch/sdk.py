"""The spec's jobs for those who work with the SageMaker Python SDK (v3): a ModelTrainer, a ScriptProcessor.

The same image, code, data, machines, network, protection and limits as the plan has; docs/sdk.md tells what differs.
The SDK is imported inside the functions: it takes seconds, and nothing else of ``sm_launch`` needs it. Its telemetry is
switched off in the session, and so are defaults files of the user's own: the job is the spec's and nothing else.
Untested on AWS.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sm_launch.code_channel import ENTRY
from sm_launch.requests_processing import INPUT, PREPROCESS
from sm_launch.requests_training import CODE_CHANNEL, TRAIN, WHEELS_CHANNEL
from sm_launch.sdk_parts import code_folder, import_sdk, job_plan, session_of, snake
from sm_launch.spec import Spec

if TYPE_CHECKING:
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.processing import ScriptProcessor
    from sagemaker.train import ModelTrainer

# ``exec`` makes the entry the process that gets SIGTERM, in place of the SDK's shell.
COMMAND = f"exec python3 {ENTRY}"
# ScriptProcessor takes one file for its own input "code"; the code channel travels as an input beside it.
JOB_INPUT = "job"
START = "start.py"
START_TEXT = f"""import os
import sys

os.execv(sys.executable, [sys.executable, "{INPUT}/{JOB_INPUT}/{ENTRY}"])
"""


@dataclass(frozen=True)
class Processing:
    """A processing job of the SDK, started by ``job.processor.run(**job.arguments)``.

    Attributes:
        processor: where and how.
        arguments: of its ``run``: code, inputs, outputs.
    """

    processor: ScriptProcessor
    arguments: Mapping[str, Any]


def to_model_trainer(
    spec: Spec, run: str | None = None, session: Session | None = None, folder: Path | None = None
) -> ModelTrainer:
    """The spec's training for the SDK; ``trainer.train()`` uploads and starts it.

    The SDK asks IAM about the role when a trainer is made, which needs credentials.

    Args:
        spec: what is wanted; its ``train`` is taken.
        run: the run's id; a new one by default.
        session: the SDK's; its bucket then takes the uploads. By default one with the spec's region and bucket.
        folder: where the code channel is put together, absent or empty; a temporary one by default, which goes with the
            trainer.

    Raises:
        LaunchError: the SDK is not installed, it cannot express the spec, or the plan is refused.
    """
    import_sdk()
    from sagemaker.core.shapes import (
        Channel,
        CheckpointConfig,
        MetricDefinition,
        OutputDataConfig,
        StoppingCondition,
        Tag,
        TensorBoardOutputConfig,
    )
    from sagemaker.core.training.configs import Compute, InputData, Networking, SourceCode
    from sagemaker.train import ModelTrainer

    plan = job_plan(spec, run, TRAIN)
    session = session_of(spec, plan, session)
    request = plan.steps[-1].request
    algorithm = request["AlgorithmSpecification"]
    inputs: list[Channel | InputData] = []
    for channel in request["InputDataConfig"]:
        if channel["ChannelName"] == WHEELS_CHANNEL:
            inputs.append(InputData(channel_name=WHEELS_CHANNEL, data_source=spec.wheels))
        elif channel["ChannelName"] != CODE_CHANNEL:
            inputs.append(Channel(**snake(channel)))
    checkpoints, tensorboard = request.get("CheckpointConfig"), request.get("TensorBoardOutputConfig")
    code, temporary = code_folder(plan, TRAIN, folder)
    trainer = ModelTrainer(
        sagemaker_session=session,
        role=request["RoleArn"],
        base_job_name=request["TrainingJobName"],
        source_code=SourceCode(source_dir=str(code), command=COMMAND, ignore_patterns=[]),
        compute=Compute(
            **snake(request["ResourceConfig"]), enable_managed_spot_training=request["EnableManagedSpotTraining"]
        ),
        networking=Networking(
            **snake(request.get("VpcConfig", {})),
            enable_network_isolation=request["EnableNetworkIsolation"],
            enable_inter_container_traffic_encryption=request["EnableInterContainerTrafficEncryption"],
        ),
        stopping_condition=StoppingCondition(**snake(request["StoppingCondition"])),
        training_image=algorithm["TrainingImage"],
        training_input_mode=algorithm["TrainingInputMode"],
        output_data_config=OutputDataConfig(**snake(request["OutputDataConfig"])),
        input_data_config=inputs,
        checkpoint_config=CheckpointConfig(**snake(checkpoints)) if checkpoints else None,
        environment=dict(request["Environment"]),
        tags=[Tag(**snake(tag)) for tag in request["Tags"]],
    ).with_metric_definitions([MetricDefinition(**snake(metric)) for metric in algorithm["MetricDefinitions"]])
    if tensorboard:
        trainer.with_tensorboard_output_config(TensorBoardOutputConfig(**snake(tensorboard)))
    if temporary is not None:
        weakref.finalize(trainer, temporary.cleanup)
    return trainer


def to_script_processor(
    spec: Spec, run: str | None = None, session: Session | None = None, folder: Path | None = None
) -> Processing:
    """The spec's preprocessing for the SDK.

    Args:
        spec: what is wanted; its ``preprocess`` is taken.
        run: as of ``to_model_trainer``.
        session: as of ``to_model_trainer``.
        folder: as of ``to_model_trainer``.

    Raises:
        LaunchError: the SDK is not installed, it cannot express the spec, or the plan is refused.
    """
    import_sdk()
    from sagemaker.core.network import NetworkConfig
    from sagemaker.core.processing import ScriptProcessor
    from sagemaker.core.shapes import ProcessingInput, ProcessingOutput

    plan = job_plan(spec, run, PREPROCESS)
    session = session_of(spec, plan, session)
    request = plan.steps[-1].request
    outputs, cluster = request["ProcessingOutputConfig"], request["ProcessingResources"]["ClusterConfig"]
    security = spec.security
    code, temporary = code_folder(plan, PREPROCESS, folder)
    (code.parent / START).write_text(START_TEXT, encoding="utf-8")
    inputs = []
    for given in request["ProcessingInputs"]:
        made = ProcessingInput(**snake(given))
        # The SDK uploads what is no s3:// address.
        if made.input_name == CODE_CHANNEL:
            made.input_name, made.s3_input.s3_uri = JOB_INPUT, str(code)
            made.s3_input.local_path = f"{INPUT}/{JOB_INPUT}"
        elif made.input_name == WHEELS_CHANNEL:
            made.s3_input.s3_uri = spec.wheels
        inputs.append(made)
    processor = ScriptProcessor(
        role=request["RoleArn"],
        image_uri=request["AppSpecification"]["ImageUri"],
        command=["python3"],
        instance_count=cluster["InstanceCount"],
        instance_type=cluster["InstanceType"],
        volume_size_in_gb=cluster["VolumeSizeInGB"],
        volume_kms_key=cluster.get("VolumeKmsKeyId"),
        output_kms_key=outputs.get("KmsKeyId"),
        max_runtime_in_seconds=request["StoppingCondition"]["MaxRuntimeInSeconds"],
        base_job_name=request["ProcessingJobName"],
        sagemaker_session=session,
        env=dict(request["Environment"]) if "Environment" in request else None,
        tags=request["Tags"],
        network_config=NetworkConfig(
            enable_network_isolation=security.network_isolation,
            encrypt_inter_container_traffic=security.encrypt_traffic,
            security_group_ids=list(security.security_groups) or None,
            subnets=list(security.subnets) or None,
        ),
    )
    if temporary is not None:
        weakref.finalize(processor, temporary.cleanup)
    arguments = {
        "code": str(code.parent / START),
        "inputs": inputs,
        "outputs": [ProcessingOutput(**snake(output)) for output in outputs["Outputs"]],
    }
    return Processing(processor, arguments)
