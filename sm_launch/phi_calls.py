"""What each SageMaker call must hold where the data are patients': one sentence a missing protection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sm_launch import phi_storage
from sm_launch.instances import known, takes_volume_key
from sm_launch.phi_parts import missing, need_key, ours
from sm_launch.steps import Plan, Step
from sm_launch.views import (
    CREATE_ASSOCIATION,
    CREATE_ENDPOINT,
    CREATE_ENDPOINT_CONFIG,
    CREATE_FILE_SYSTEM,
    CREATE_MODEL,
    CREATE_PROCESSING,
    CREATE_TRAINING,
    CREATE_TRANSFORM,
    CREATE_TUNING,
    Training,
    fleets,
    of,
    trainings,
)

Request = Mapping[str, Any]


def protections(plan: Plan) -> Iterator[str]:
    """Protections that are missing, of every step."""
    for training in trainings(plan):
        yield from _training(plan, training)
    started = {id(fleet.step) for fleet in fleets(plan)}
    for step in plan.steps:
        if step.operation in (CREATE_TRAINING, CREATE_TUNING) and id(step) not in started:
            yield f"{step.name}: no machines are named, so their disks cannot be seen; give ResourceConfig."
    for step in plan.steps:
        check = _CHECKS.get((step.service, step.operation))
        if check is not None:
            yield from check(plan, step)
    yield from _volumes(plan)


def _training(plan: Plan, training: Training) -> Iterator[str]:
    step, path, request = training.step, training.path, training.request
    yield from _network(step, path, request)
    if request.get("EnableInterContainerTrafficEncryption") is not True:
        yield missing(step, f"{path}EnableInterContainerTrafficEncryption", "set it to true")
    output = request.get("OutputDataConfig", {})
    yield from need_key(step, f"{path}OutputDataConfig.KmsKeyId", output.get("KmsKeyId"))
    yield from ours(plan, step, f"{path}OutputDataConfig.S3OutputPath", output.get("S3OutputPath"))
    yield from ours(plan, step, f"{path}CheckpointConfig.S3Uri", request.get("CheckpointConfig", {}).get("S3Uri"))
    board = request.get("TensorBoardOutputConfig", {})
    yield from ours(plan, step, f"{path}TensorBoardOutputConfig.S3OutputPath", board.get("S3OutputPath"))


def _processing(plan: Plan, step: Step) -> Iterator[str]:
    network = step.request.get("NetworkConfig", {})
    yield from _network(step, "NetworkConfig.", network)
    if network.get("EnableInterContainerTrafficEncryption") is not True:
        yield missing(step, "NetworkConfig.EnableInterContainerTrafficEncryption", "set it to true")
    output = step.request.get("ProcessingOutputConfig", {})
    yield from need_key(step, "ProcessingOutputConfig.KmsKeyId", output.get("KmsKeyId"))
    for index, one in enumerate(output.get("Outputs", ())):
        place = f"ProcessingOutputConfig.Outputs[{index}]"
        if "S3Output" not in one:
            yield missing(step, f"{place}.S3Output", "write to the run's bucket")
        yield from ours(plan, step, f"{place}.S3Output.S3Uri", one.get("S3Output", {}).get("S3Uri"))


def _model(plan: Plan, step: Step) -> Iterator[str]:
    yield from _network(step, "", step.request)


def _endpoint_config(plan: Plan, step: Step) -> Iterator[str]:
    request = step.request
    types = [fleet.instance_type for fleet in fleets(plan) if fleet.step is step]
    if not types or any(takes_volume_key(one) for one in types):
        yield from need_key(step, "KmsKeyId", request.get("KmsKeyId"))
    for index, variant in enumerate(request.get("ProductionVariants", ())):
        yield from _made_here(plan, step, CREATE_MODEL, f"ProductionVariants[{index}].ModelName", variant)
    if "AsyncInferenceConfig" in request:
        output, place = request["AsyncInferenceConfig"].get("OutputConfig", {}), "AsyncInferenceConfig.OutputConfig."
        yield from need_key(step, f"{place}KmsKeyId", output.get("KmsKeyId"))
        for name in ("S3OutputPath", "S3FailurePath"):
            yield from ours(plan, step, f"{place}{name}", output.get(name))
    yield from _capture(plan, step)


def _endpoint(plan: Plan, step: Step) -> Iterator[str]:
    yield from _made_here(plan, step, CREATE_ENDPOINT_CONFIG, "EndpointConfigName", step.request)


def _transform(plan: Plan, step: Step) -> Iterator[str]:
    output = step.request.get("TransformOutput", {})
    yield from need_key(step, "TransformOutput.KmsKeyId", output.get("KmsKeyId"))
    yield from ours(plan, step, "TransformOutput.S3OutputPath", output.get("S3OutputPath"))
    yield from _made_here(plan, step, CREATE_MODEL, "ModelName", step.request)
    yield from _capture(plan, step)


def _capture(plan: Plan, step: Step) -> Iterator[str]:
    capture = step.request.get("DataCaptureConfig")
    if capture is not None:
        yield from need_key(step, "DataCaptureConfig.KmsKeyId", capture.get("KmsKeyId"))
        yield from ours(plan, step, "DataCaptureConfig.DestinationS3Uri", capture.get("DestinationS3Uri"))


def _volumes(plan: Plan) -> Iterator[str]:
    """Keys of the machines' own volumes; an endpoint's is its configuration's, a local NVMe disk takes none."""
    for fleet in fleets(plan):
        if fleet.step.operation == CREATE_ENDPOINT_CONFIG:
            continue
        if not known(fleet.instance_type):
            yield (
                f"{fleet.step.name}: {fleet.path}InstanceType {fleet.instance_type!r} is not in the instance table, so "
                f"the encryption of its disks is unknown; take a type of the table."
            )
        elif takes_volume_key(fleet.instance_type) and not fleet.volume_key:
            yield missing(fleet.step, f"{fleet.path}VolumeKmsKeyId", "give your KMS key")


def _network(step: Step, path: str, request: Request) -> Iterator[str]:
    vpc = request.get("VpcConfig") or {}
    for name in ("Subnets", "SecurityGroupIds"):
        if not vpc.get(name):
            yield missing(step, f"{path}VpcConfig.{name}", "give those of your VPC")
    if request.get("EnableNetworkIsolation") is not True:
        yield missing(step, f"{path}EnableNetworkIsolation", "set it to true")


def _made_here(plan: Plan, step: Step, operation: str, path: str, request: Request) -> Iterator[str]:
    wanted = request.get(path.rsplit(".", 1)[-1])
    if wanted not in [other.name for other in of(plan, operation)]:
        yield (
            f"{step.name}: {path} names {wanted!r}, which this plan doesn't make, so its protections cannot be seen; "
            f"make it in the same plan."
        )


_CHECKS: Mapping[tuple[str, str], Callable[[Plan, Step], Iterator[str]]] = {
    ("sagemaker", CREATE_PROCESSING): _processing,
    ("sagemaker", CREATE_MODEL): _model,
    ("sagemaker", CREATE_ENDPOINT_CONFIG): _endpoint_config,
    ("sagemaker", CREATE_ENDPOINT): _endpoint,
    ("sagemaker", CREATE_TRANSFORM): _transform,
    ("fsx", CREATE_FILE_SYSTEM): phi_storage.file_system,
    ("fsx", CREATE_ASSOCIATION): phi_storage.association,
    ("codebuild", "CreateProject"): phi_storage.project,
    ("logs", "CreateLogGroup"): phi_storage.log_group,
    ("s3", "CreateBucket"): phi_storage.bucket,
    ("s3", "PutPublicAccessBlock"): phi_storage.public_block,
    ("s3", "PutBucketEncryption"): phi_storage.bucket_encryption,
    ("s3", "PutBucketPolicy"): phi_storage.bucket_policy,
}
