"""The deploy part of a spec as the calls that make an endpoint or a batch job."""

from __future__ import annotations

from sm_launch.bundle import requirements
from sm_launch.errors import LaunchError
from sm_launch.frame import Frame
from sm_launch.instances import takes_volume_key
from sm_launch.requests_image import ImageBuild
from sm_launch.requests_serving import BATCH, Serving, serving_steps
from sm_launch.requests_training import TRAIN
from sm_launch.steps import Step


def model_uri(frame: Frame, trained: bool) -> str:
    """Where the model lies: the spec's word, or what the run's training will write.

    Raises:
        LaunchError: there is neither.
    """
    if frame.spec.deploy.model:
        return frame.spec.deploy.model
    if not trained:
        raise LaunchError("deploy.model is missing, and this run trains none; set it to s3://.../model.tar.gz.")
    # The platform's own place: OutputDataConfig.S3OutputPath/JOB/output/model.tar.gz.
    return frame.uri("output", f"{frame.run}-{TRAIN}", "output", "model.tar.gz")


def image_build(frame: Frame) -> ImageBuild:
    """The image that the run builds; its tag is the run."""
    wanted, spec = frame.spec.image, frame.spec
    packages = requirements(frame.bundle.metadata) if wanted.packages is None else wanted.packages
    return ImageBuild(
        repository=wanted.repository or f"{frame.run}-serve",
        tag=frame.run,
        region=spec.region,
        account=spec.role.split(":")[4],
        source_uri=frame.uri("image", "source.zip"),
        role=wanted.role,
        torch=wanted.torch,
        packages=packages,
        kms_key=spec.security.kms_key,
        tags={tag["Key"]: tag["Value"] for tag in frame.tags()},
    )


def deployment_steps(frame: Frame, trained: bool) -> list[Step]:
    """Model and endpoint, or model and batch job.

    Raises:
        LaunchError: the values contradict each other, or there is no model.
    """
    spec, wanted = frame.spec, frame.spec.deploy
    source = wanted.input
    if wanted.mode == BATCH and not source.startswith("s3://"):
        source = frame.data_uri() if source == "data" else None
        if source is None:
            raise LaunchError(
                f"deploy.input is '{wanted.input}'; write s3://BUCKET/PREFIX, or data and add data.source."
            )
    image = wanted.image or (image_build(frame).image if spec.image else None)
    if image is None:
        raise LaunchError("deploy.image is missing; set it to the URI of a serving image, or add image to build one.")
    key = spec.security.kms_key
    with_volume_key = bool(key and wanted.instance_type and takes_volume_key(wanted.instance_type))
    serving = Serving(
        run=frame.run,
        image=image,
        model_uri=model_uri(frame, trained),
        role=spec.role,
        mode=wanted.mode,
        instance_type=wanted.instance_type,
        instance_count=wanted.instance_count,
        input_uri=source if wanted.mode == BATCH else "",
        output_uri=frame.uri("answers"),
        config=wanted.config,
        memory_mb=wanted.memory_mb,
        min_instances=wanted.min_instances,
        max_instances=wanted.max_instances,
        output_kms_key=key,
        volume_kms_key=key if with_volume_key else None,
        subnets=spec.security.subnets,
        security_groups=spec.security.security_groups,
        network_isolation=spec.security.network_isolation,
        expected_hours=wanted.expected_hours,
        environment=wanted.environment,
        tags={tag["Key"]: tag["Value"] for tag in frame.tags()},
    )
    return serving_steps(serving)
