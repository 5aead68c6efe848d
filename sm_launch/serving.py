"""What is to be served, and in which of SageMaker's modes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sm_launch.errors import LaunchError

ASYNC, REALTIME, SERVERLESS, BATCH = "async", "realtime", "serverless", "batch"
MODES = (ASYNC, REALTIME, SERVERLESS, BATCH)
VARIANT = "main"
MB = 1_000_000
# Largest request body in bytes. Real-time and serverless: docs, "Invoke models for real-time inference" and "Serverless
# Inference"; async: docs, "Asynchronous inference"; batch: API reference, CreateTransformJob.MaxPayloadInMB.
PAYLOAD_BYTES: Mapping[str, int] = {REALTIME: 25 * MB, SERVERLESS: 4 * MB, ASYNC: 1000 * MB, BATCH: 100 * MB}
# Modes that take more than the one that refused, the smallest first.
_LARGER = {SERVERLESS: (REALTIME, ASYNC), REALTIME: (ASYNC,), BATCH: (ASYNC,), ASYNC: ()}
_SHOWN = {REALTIME: "a real-time endpoint", ASYNC: "an async endpoint"}
# botocore's model: ModelClientConfig.InvocationsTimeoutInSeconds and InvokeEndpointAsync.InvocationTimeoutSeconds.
LONGEST_INVOCATION_S = 3600


@dataclass(frozen=True)
class Serving:
    """What is deployed, and how.

    Attributes:
        run: id of the run; begins every name.
        image: URI of the container (sm_launch/container/serve).
        model_uri: s3://.../model.tar.gz, or s3://.../PREFIX/ of the unpacked artifact.
        role: ARN of the execution role.
        mode: async, realtime, serverless or batch.
        instance_type: None only where serverless.
        instance_count: machines.
        input_uri: batch: prefix of the cases.
        output_uri: async and batch: prefix of the answers.
        config: inference config in the bundle; several are separated by commas.
        memory_mb: serverless: 1024 to 6144.
        max_concurrency: serverless: requests at a time, each in a container of its own, 1 to 200.
        min_instances: lower end of autoscaling; 0 only where async.
        max_instances: upper end of autoscaling; 0 is no autoscaling.
        target_per_instance: what autoscaling aims at: async, waiting requests a machine; realtime, requests a minute
            and machine.
        output_kms_key: encrypts what AWS writes to S3.
        volume_kms_key: encrypts the machines' volumes; None for types with a disk of their own, which refuse it.
        subnets: of the VPC.
        security_groups: of the VPC.
        network_isolation: the container reaches no network.
        manifest_sha256: SHA-256 of the artifact's manifest.json, which the container then insists on; empty for none.
        inference_ami: InferenceAmiVersion, which sets the GPU driver; None leaves AWS's default.
        expected_hours: batch: for the cost only.
        environment: variables for the container.
        tags: of everything made.
    """

    run: str
    image: str
    model_uri: str
    role: str
    mode: str = ASYNC
    instance_type: str | None = None
    instance_count: int = 1
    input_uri: str = ""
    output_uri: str = ""
    config: str = "configs/inference.json"
    memory_mb: int = 6144
    max_concurrency: int = 1
    min_instances: int = 0
    max_instances: int = 0
    target_per_instance: float = 2.0
    output_kms_key: str | None = None
    volume_kms_key: str | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    network_isolation: bool = False
    manifest_sha256: str = ""
    inference_ami: str | None = None
    expected_hours: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_name(self) -> str:
        """Name of the model."""
        return f"{self.run}-model"

    @property
    def config_name(self) -> str:
        """Name of the endpoint configuration."""
        return f"{self.run}-config"

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint."""
        return f"{self.run}-endpoint"

    @property
    def transform_name(self) -> str:
        """Name of the batch transform job."""
        return f"{self.run}-transform"

    def tag_list(self) -> list[dict[str, str]]:
        """The tags as the API takes them."""
        return [{"Key": key, "Value": value} for key, value in self.tags.items()]


def check(serving: Serving) -> None:
    """Refuse what AWS or the container would refuse later.

    Raises:
        LaunchError: naming value and next step.
    """
    if serving.mode not in MODES:
        raise LaunchError(f"mode is '{serving.mode}'; choose among {', '.join(MODES)}.")
    if serving.mode == SERVERLESS and serving.instance_type:
        raise LaunchError(f"serverless has no machines, but instance_type is {serving.instance_type}; leave it out.")
    if serving.mode != SERVERLESS and not serving.instance_type:
        raise LaunchError(f"mode {serving.mode} needs machines; set instance_type, for example ml.g5.xlarge.")
    if serving.mode == SERVERLESS and (serving.subnets or serving.network_isolation or serving.max_instances):
        raise LaunchError(
            "serverless has neither VPC nor network isolation nor machines to scale; choose async, or leave them out."
        )
    if serving.mode == BATCH and not serving.input_uri.startswith("s3://"):
        raise LaunchError(f"input is '{serving.input_uri}'; a batch job reads its cases from s3://BUCKET/PREFIX.")
    if serving.mode in (ASYNC, BATCH) and not serving.output_uri.startswith("s3://"):
        raise LaunchError(f"output is '{serving.output_uri}'; mode {serving.mode} writes to s3://BUCKET/PREFIX.")
    if serving.min_instances and not serving.max_instances:
        raise LaunchError(
            f"min_instances is {serving.min_instances} and max_instances 0, which is no autoscaling; set "
            "max_instances, or leave min_instances out and set instance_count."
        )
    if serving.max_instances and serving.mode == BATCH:
        raise LaunchError("a batch job does not scale; leave out max_instances and set instance_count.")
    if serving.max_instances and not serving.min_instances <= serving.instance_count <= serving.max_instances:
        raise LaunchError(
            f"instance_count {serving.instance_count} is not within the {serving.min_instances} to "
            f"{serving.max_instances} of autoscaling; set it between them."
        )
    if serving.max_instances and serving.min_instances < 1 and serving.mode == REALTIME:
        raise LaunchError("min_instances is 0, and a real-time endpoint keeps at least 1; set it to 1 or choose async.")


def check_payload(mode: str, size: int, what: str) -> None:
    """Refuse a request body that AWS would refuse, before it is sent.

    Args:
        mode: realtime, serverless, async or batch.
        size: bytes.
        what: names the body in the message.

    Raises:
        LaunchError: it is larger than the mode takes.
    """
    limit = PAYLOAD_BYTES[mode]
    if size > limit:
        larger = [f"use {_SHOWN[other]}" for other in _LARGER[mode] if size <= PAYLOAD_BYTES[other]]
        raise LaunchError(
            f"{what} has {size / MB:.1f} MB, and {mode} inference takes {limit // MB} MB at most; "
            f"{(*larger, 'crop or compress it')[0]}."
        )
