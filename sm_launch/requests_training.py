"""CreateTrainingJob: one GPU, many GPUs, many machines, from S3 or FSx for Lustre, on demand or on spare capacity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_launch.braces import check_braces, check_knobs
from sm_launch.bundle import check_overrides, define, merged, requirements
from sm_launch.code_channel import ENTRY
from sm_launch.errors import LaunchError
from sm_launch.frame import CHECKPOINTS, TENSORBOARD, Frame, s3_input, seconds, training_image
from sm_launch.instances import instance
from sm_launch.metrics import DEFAULT_METRICS
from sm_launch.requests_fsx import FILE_SYSTEM_ID, MOUNT_NAME, MOUNT_POINT
from sm_launch.rules_training import WHEELS_CHANNEL
from sm_launch.spec_jobs import Train
from sm_launch.views import CODE_CHANNEL

# What a training's own name is in the run: job, folders in S3.
TRAIN = "train"
# Kept between the jobs of a warm pool (SageMaker AI Developer Guide, "Train Using SageMaker Managed Warm Pools").
WARM_PIP_CACHE = "/opt/ml/sagemaker/warmpoolcache/pip"


def processes_per_host(train: Train) -> int:
    """One a GPU, or one; the spec may say otherwise."""
    return train.processes_per_host or max(1, instance(train.instance_type).gpus)


def launch_mode(train: Train) -> str:
    """How the processes are started: the spec's word, or what its backend and number of processes ask for."""
    if train.launch != "auto":
        return train.launch
    if train.backend == "smddp":
        return "smddprun"
    return "torchrun" if processes_per_host(train) * train.instance_count > 1 else "none"


def configs_of(frame: Frame, train: Train) -> tuple[str, ...]:
    """The config files of a training, those for several processes behind the others."""
    if launch_mode(train) == "none":
        return train.configs
    # A bundle need not have the default; one that is there, and stays here, is refused where all are laid together.
    there = (config for config in train.multi_process_configs if (frame.bundle.root / config).is_file())
    return (*train.configs, *there)


def keeps_checkpoints(train: Train) -> bool:
    """Whether checkpoints go to S3 while the job runs."""
    return train.resume or train.spot


def overrides_of(frame: Frame, train: Train, configs: tuple[str, ...]) -> dict[str, Any]:
    """The spec's overrides, and the platform's folders for the well-known knobs that the configs have.

    Raises:
        LaunchError: there are no configs; an override of the spec, or a knob of ``channel_knobs``, is not defined in
            them; or one names a channel that the training does not have.
    """
    if not configs:
        raise LaunchError("train.configs is empty; name the bundle's config of a training, such as configs/train.json.")
    content = merged(frame.bundle, configs)
    check_overrides(content, train.overrides, configs)
    check_overrides(content, train.channel_knobs, configs)
    check_braces(train.overrides, "train.overrides", [channel["ChannelName"] for channel in channels(frame, train)])
    check_knobs(train.channel_knobs, train.channels)
    # The channel of the data set, wherever it stands; of channels that are all s3://, the first.
    first = next(
        (name for name, source in train.channels.items() if source == "data"), next(iter(train.channels), None)
    )
    known: dict[str, Any] = {"dataset_dir": f"{{channel:{first}}}"} if first else {}
    if keeps_checkpoints(train):
        # The run's folder returns with the checkpoints, so its curve has no gap.
        known |= {"ckpt_dir": "{checkpoints}/models", "output_dir": "{checkpoints}/runs", "resume": "auto"}
    else:
        known["output_dir"] = "{tensorboard}" if train.tensorboard else "{output_data}"
    if launch_mode(train) != "none":
        known["backend"] = train.backend
    filled = {knob: value for knob, value in known.items() if define(content, knob)}
    filled |= {knob: f"{{channel:{channel}}}" for knob, channel in train.channel_knobs.items()}
    return filled | dict(train.overrides)


def training_job(frame: Frame, train: Train) -> dict[str, Any]:
    """Content of the code channel's job.json.

    Raises:
        LaunchError: as ``overrides_of``; or the model artifact would hold no file, not even the weights.
    """
    if not any(pattern and not pattern.startswith("!") for pattern in train.keep):
        raise LaunchError(
            f"train.keep is {list(train.keep)}, which keeps no file, not even the weights; begin with '*', and leave "
            "out by '!' after it."
        )
    configs = configs_of(frame, train)
    return {
        "kind": "train",
        "configs": list(configs),
        "overrides": overrides_of(frame, train, configs),
        "launch": launch_mode(train),
        "processes_per_host": train.processes_per_host,
        "keep": list(train.keep),
        **frame.redaction(),
    }


def packages_of(frame: Frame, train: Train) -> tuple[str, ...]:
    """What pip installs at start: the spec's list, or what the bundle's metadata asks for."""
    return requirements(frame.bundle.metadata) if train.packages is None else train.packages


def source_uri(frame: Frame, source: str, channel: str) -> str:
    """Where a channel's source lies in S3.

    Raises:
        LaunchError: the source is not known, or the spec has no such part.
    """
    if source.startswith("s3://"):
        return source
    if source == "data":
        if uri := frame.data_uri():
            return uri
        raise LaunchError(f"train.channels.{channel} is 'data', and the spec has no data; add data.source.")
    if source == "preprocess":
        if frame.spec.preprocess:
            return frame.uri(frame.spec.preprocess.output)
        raise LaunchError(f"train.channels.{channel} is 'preprocess', and the spec has none; add preprocess.")
    raise LaunchError(f"train.channels.{channel} is '{source}'; choose data, preprocess or s3://BUCKET/PREFIX.")


def channels(frame: Frame, train: Train) -> list[dict[str, Any]]:
    """InputDataConfig: code, wheels and data channels."""
    made = [code_input(frame, TRAIN)]
    if wheels := frame.wheels_uri():
        made.append(_channel(WHEELS_CHANNEL, wheels))
    for name, source in train.channels.items():
        if frame.spec.file_system and source == "data":
            made.append({"ChannelName": name, "DataSource": {"FileSystemDataSource": lustre_source(frame)}})
        else:
            made.append(_channel(name, source_uri(frame, source, name), train.input_mode))
    return made


def code_input(frame: Frame, job: str) -> dict[str, Any]:
    """The code channel of one of the run's jobs."""
    return _channel(CODE_CHANNEL, frame.uri(f"{CODE_CHANNEL}-{job}"))


def lustre_source(frame: Frame) -> dict[str, str]:
    """The data set on the run's file system; id and mount name come from AWS, so ``apply`` fills them in.

    An import path fills the root of the file system, an association the folder that it names.
    """
    linked = frame.spec.file_system is not None and frame.spec.file_system.kind != "SCRATCH_2"
    return {
        "FileSystemId": FILE_SYSTEM_ID,
        "FileSystemType": "FSxLustre",
        "DirectoryPath": f"/{MOUNT_NAME}" + (MOUNT_POINT if linked else ""),
        "FileSystemAccessMode": "ro",
    }


def metric_definitions(train: Train) -> list[dict[str, str]]:
    """What SageMaker reads off the log."""
    found: Mapping[str, str] = DEFAULT_METRICS if train.metrics is None else train.metrics
    return [{"Name": name, "Regex": regex} for name, regex in found.items()]


def resources(frame: Frame, train: Train) -> dict[str, Any]:
    """ResourceConfig."""
    config: dict[str, Any] = {
        "InstanceType": train.instance_type,
        "InstanceCount": train.instance_count,
        "VolumeSizeInGB": train.volume_gb,
        **frame.volume_key(train.instance_type),
    }
    if train.keep_alive_minutes:
        config["KeepAlivePeriodInSeconds"] = train.keep_alive_minutes * 60
    return config


def stopping(train: Train) -> dict[str, int]:
    """StoppingCondition."""
    condition = {"MaxRuntimeInSeconds": seconds(train.max_hours)}
    if train.spot:
        condition["MaxWaitTimeInSeconds"] = seconds(train.max_wait_hours or 2 * train.max_hours)
    return condition


def environment(train: Train) -> dict[str, str]:
    """Environment of the containers."""
    cache = {"PIP_CACHE_DIR": WARM_PIP_CACHE} if train.keep_alive_minutes else {}
    return {**cache, **train.environment}


def checkpointing(frame: Frame, train: Train, folder: str = TRAIN) -> dict[str, Any]:
    """CheckpointConfig, where checkpoints are kept."""
    if not keeps_checkpoints(train):
        return {}
    return {"CheckpointConfig": {"S3Uri": frame.uri("checkpoints", folder), "LocalPath": CHECKPOINTS}}


def training_request(frame: Frame, train: Train) -> dict[str, Any]:
    """The request.

    Raises:
        LaunchError: a config, an override, a channel or the instance type is not known.
    """
    entry = f"/opt/ml/input/data/{CODE_CHANNEL}/{ENTRY}"
    request: dict[str, Any] = {
        "TrainingJobName": f"{frame.run}-{TRAIN}",
        "AlgorithmSpecification": {
            "TrainingImage": train.image or training_image(frame.spec.region, train.instance_type),
            "TrainingInputMode": train.input_mode,
            "ContainerEntrypoint": ["python3", entry],
            "MetricDefinitions": metric_definitions(train),
            "EnableSageMakerMetricsTimeSeries": True,
        },
        "RoleArn": frame.spec.role,
        "InputDataConfig": channels(frame, train),
        "OutputDataConfig": {"S3OutputPath": frame.uri("output"), **frame.output_key()},
        "ResourceConfig": resources(frame, train),
        "StoppingCondition": stopping(train),
        "EnableManagedSpotTraining": train.spot,
        **frame.isolation(),
        **frame.network(),
        **checkpointing(frame, train),
        "Environment": environment(train),
        "ProfilerConfig": {"DisableProfiler": True},
        "Tags": frame.tags(),
    }
    if train.tensorboard and not keeps_checkpoints(train):
        request["TensorBoardOutputConfig"] = {"LocalPath": TENSORBOARD, "S3OutputPath": frame.uri("tensorboard")}
    if train.mlflow_arn:
        request["MlflowConfig"] = {
            "MlflowResourceArn": train.mlflow_arn,
            "MlflowExperimentName": frame.spec.name,
            "MlflowRunName": frame.run,
        }
    return request


def _channel(name: str, uri: str, mode: str = "File") -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": dict(s3_input(uri)), "InputMode": mode}
