"""The jobs of a spec: preprocessing, training, tuning, the serving image and the deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Launch = Literal["auto", "none", "torchrun", "mpirun", "smddprun"]


@dataclass(frozen=True)
class Preprocess:
    """A Processing job that runs a module of the bundle on N machines.

    Attributes:
        instance_type: for example ml.c5.4xlarge.
        instance_count: machines; each takes its share of the cases.
        module: what ``python -m`` runs in the bundle's folder.
        arguments: its command line; {input:data}, {output:NAME}, {host_index} and {host_count} are filled in. None
            takes those of this project's ``scripts.store``, which makes the cases by the configs that train names
            (not by its overrides: another spacing needs arguments of its own here).
        output: name of the output, as in {output:NAME}.
        sharded: parts of the data set whose objects are dealt to the machines (ShardedByS3Key): folders in which a case
            is one file, as imagesTr of the Decathlon; empty gives every machine everything, and a share of the cases.
        replicated: where ``sharded`` is used: the parts that every machine gets.
        packages: pip requirements to install at start; None takes the bundle's own, from metadata.json.
        image: container; None takes the PyTorch CPU image.
        volume_gb: disk of a machine.
        max_hours: the job is stopped after this.
        expected_hours: for the cost only.
        environment: variables.
    """

    instance_type: str
    instance_count: int = 1
    module: str = "scripts.store"
    arguments: tuple[str, ...] | None = None
    output: str = "store"
    sharded: tuple[str, ...] = ()
    replicated: tuple[str, ...] = ()
    packages: tuple[str, ...] | None = None
    image: str | None = None
    volume_gb: int = 100
    max_hours: float = 6.0
    expected_hours: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Train:
    """A training job.

    Attributes:
        instance_type: for example ml.g5.2xlarge.
        instance_count: machines.
        configs: config files of the bundle, later ones override.
        multi_process_configs: added behind ``configs`` where more than one process trains.
        overrides: values of the configs by id, as on the command line of ``monai.bundle run``.
        channels: name of a channel to its source: data, preprocess, or s3://...
        channel_knobs: knob to the channel whose folder it names; a bundle's dataset_dir is filled without it.
        launch: how processes are started; auto is torchrun where there is more than one, else none.
        backend: value of the bundle's knob ``backend``, where it has one; smddp needs an image and a type with it.
        processes_per_host: None takes one a GPU.
        input_mode: File copies a channel first, FastFile streams it; with a file system it is read there.
        image: container; None takes the PyTorch image.
        packages: pip requirements to install at start; None takes the bundle's own, from metadata.json.
        volume_gb: disk of a machine, where its type has none of its own.
        max_hours: the job is stopped after this.
        expected_hours: for the cost only.
        spot: spare capacity, with checkpoints and resume.
        max_wait_hours: with spot: the job is given up after this, waiting included.
        keep_alive_minutes: keep the machines for the next job (warm pool), billed; not with tune.
        resume: keep checkpoints in S3 and continue from them, which spot always does.
        tensorboard: copy TensorBoard's files to S3 as they are written; those of a trial are in its output.tar.gz.
        mlflow_arn: MLflow app or tracking server on SageMaker; not with tune.
        keep: which files of the bundle, models/ included, go into the model artifact, as patterns; an asterisk stands
            for any characters, and an exclamation mark before a pattern leaves out.
        metrics: name to the regular expression that finds it in the log; None takes
            train_loss and val_mean_dice as this project's bundle and MONAI's StatsHandler print them.
        environment: variables.
    """

    instance_type: str
    instance_count: int = 1
    configs: tuple[str, ...] = ("configs/train.json",)
    multi_process_configs: tuple[str, ...] = ("configs/multi_gpu_train.json",)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=lambda: {"train": "data"})
    channel_knobs: Mapping[str, str] = field(default_factory=dict)
    launch: Launch = "auto"
    backend: Literal["auto", "nccl", "gloo", "smddp"] = "auto"
    processes_per_host: int | None = None
    input_mode: Literal["File", "FastFile"] = "File"
    image: str | None = None
    packages: tuple[str, ...] | None = None
    volume_gb: int = 100
    max_hours: float = 24.0
    expected_hours: float | None = None
    spot: bool = False
    max_wait_hours: float | None = None
    keep_alive_minutes: int = 0
    resume: bool = False
    tensorboard: bool = True
    mlflow_arn: str | None = None
    keep: tuple[str, ...] = ("*", "!models/*_last.pt", "!models/*_previous.pt")
    metrics: Mapping[str, str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tune:
    """Automatic Model Tuning around the training of the spec.

    Attributes:
        search: the bundle's search-space file, for example configs/search/distmis_grid.json.
        strategy: Bayesian, Random, Grid or Hyperband; None takes the file's.
        trials: how many.
        parallel: at a time.
        early_stopping: stop trials that will not win.
        metric: objective, one of the training's metrics; None takes the file's.
        mode: max or min; None takes the file's.
    """

    search: str
    strategy: Literal["Bayesian", "Random", "Grid", "Hyperband"] | None = None
    trials: int = 10
    parallel: int = 2
    early_stopping: bool = False
    metric: str | None = None
    mode: Literal["max", "min"] | None = None


@dataclass(frozen=True)
class Image:
    """The serving image, built by CodeBuild and kept in ECR; for those who have no docker.

    Attributes:
        role: ARN of a role that CodeBuild assumes.
        repository: name of the ECR repository, made here and deleted by ``down``; None is the run's own.
        torch: cpu, or the CUDA build: cu126, cu128 or cu130.
        packages: pip requirements of the bundle besides MONAI's usual readers; None takes the bundle's own.
    """

    role: str
    repository: str | None = None
    torch: Literal["cpu", "cu126", "cu128", "cu130"] = "cu126"
    packages: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Deploy:
    """An endpoint or a batch job around the trained model.

    Attributes:
        mode: async suits volumes; realtime up to 25 MB and 60 s; serverless up to 4 MB; batch is no endpoint.
        image: the serving container (sm_launch/container/serve); None takes the one that the run builds.
        instance_type: None only where serverless.
        instance_count: machines.
        model: s3://.../model.tar.gz; None takes the training's.
        config: inference config in the bundle.
        min_instances: lower end of autoscaling; 0 is for async only.
        max_instances: upper end of autoscaling; 0 is no autoscaling.
        target_per_instance: what autoscaling aims at: async, waiting cases a machine; realtime, cases a minute.
        max_concurrency: serverless: cases at a time, each in a container of its own.
        inference_ami: InferenceAmiVersion, which sets the GPU driver; None takes the one that the built image needs.
        memory_mb: of a serverless endpoint, 1024 to 6144.
        input: batch only, and needed there: s3://... of the cases, or data/FOLDER of the data set.
        expected_hours: for the cost only.
        environment: variables.
    """

    image: str | None = None
    mode: Literal["async", "realtime", "serverless", "batch"] = "async"
    instance_type: str | None = None
    instance_count: int = 1
    model: str | None = None
    config: str = "configs/inference.json"
    min_instances: int = 0
    max_instances: int = 0
    target_per_instance: float = 2.0
    max_concurrency: int = 1
    inference_ami: str | None = None
    memory_mb: int = 6144
    input: str | None = None
    expected_hours: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
