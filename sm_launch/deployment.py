"""The deploy part of a spec as the calls that make an endpoint or a batch job."""

from __future__ import annotations

from sm_launch.bundle import missing, requirements
from sm_launch.errors import LaunchError
from sm_launch.frame import Frame, account_of, prefix
from sm_launch.image_packages import overridden
from sm_launch.instances import instance, takes_volume_key
from sm_launch.requests_image import ImageBuild
from sm_launch.requests_serving import BATCH, Serving, serving_steps
from sm_launch.requests_training import TRAIN
from sm_launch.steps import Step

# CUDA 13 needs driver 580, which only this machine image has (API reference, ProductionVariant.InferenceAmiVersion).
DRIVER_AMIS = {"cu130": "al2023-ami-sagemaker-inference-gpu-4-1"}


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
    """The image that the run builds; its tag is the run.

    Raises:
        LaunchError: the role of the build is no role's ARN.
    """
    wanted, spec = frame.spec.image, frame.spec
    account_of(wanted.role, "image.role")
    packages = requirements(frame.bundle.metadata) if wanted.packages is None else wanted.packages
    return ImageBuild(
        repository=wanted.repository or f"{frame.run}-serve",
        tag=frame.run,
        region=spec.region,
        account=account_of(spec.role),
        source_uri=frame.uri("image", "source.zip"),
        role=wanted.role,
        torch=wanted.torch,
        packages=packages,
        kms_key=spec.security.kms_key,
        tags={tag["Key"]: tag["Value"] for tag in frame.tags()},
    )


def image_notes(frame: Frame) -> list[str]:
    """What to know of the image before it is built: the versions that are not the bundle's."""
    told = frame.bundle.metadata
    carried = (("torch", told.get("pytorch_version")), ("numpy", told.get("numpy_version")))
    asked = [*image_build(frame).packages, *(f"{name}=={version}" for name, version in carried if version)]
    pairs = list(overridden(asked))
    if not pairs:
        return []
    wanted, has = (", ".join(words) for words in zip(*pairs, strict=True))
    return [
        f"image: the bundle asks for {wanted}, and the serving image has {has} by its lock; compare an answer with "
        "local inference, or set deploy.image to an image of your own."
    ]


def batch_input(frame: Frame) -> str:
    """Where a batch job finds its cases: every object below that folder is one.

    Raises:
        LaunchError: the spec does not say, or names a data set that it has not.
    """
    wanted, data = frame.spec.deploy.input, frame.data_uri()
    if wanted and wanted.startswith("s3://"):
        return prefix(wanted)
    if wanted and wanted.startswith("data/") and data:
        return prefix(f"{data}/{wanted.removeprefix('data/')}")
    raise LaunchError(
        f"deploy.input is '{wanted}'; write s3://BUCKET/PREFIX of the images, or data/imagesTs-like of the spec's data."
    )


def needed_ami(frame: Frame) -> str | None:
    """The machine image whose driver runs the container that the run builds; None leaves AWS's default."""
    machine = frame.spec.deploy.instance_type
    built = frame.spec.image is not None and frame.spec.deploy.image is None
    if not (built and machine and instance(machine).gpus):
        return None
    return DRIVER_AMIS.get(frame.spec.image.torch)


def deployment_steps(frame: Frame, trained: bool) -> list[Step]:
    """Model and endpoint, or model and batch job.

    Raises:
        LaunchError: the values contradict each other, or there is no model.
    """
    spec, wanted = frame.spec, frame.spec.deploy
    image = wanted.image or (image_build(frame).image if spec.image else None)
    # A model from elsewhere may hold other configs than the bundle's folder here.
    if not wanted.model and (why := missing(frame.bundle, wanted.config)):
        raise LaunchError(f"deploy.config is '{wanted.config}', which {why}")
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
        input_uri=batch_input(frame) if wanted.mode == BATCH else "",
        output_uri=frame.uri("answers"),
        config=wanted.config,
        memory_mb=wanted.memory_mb,
        min_instances=wanted.min_instances,
        max_instances=wanted.max_instances,
        target_per_instance=wanted.target_per_instance,
        max_concurrency=wanted.max_concurrency,
        inference_ami=wanted.inference_ami or needed_ami(frame),
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
