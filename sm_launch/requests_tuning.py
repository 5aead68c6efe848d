"""CreateHyperParameterTuningJob: trials of the spec's training, each with its own values of the search file's knobs."""

from __future__ import annotations

import dataclasses
from typing import Any

from sm_launch import requests_training as training
from sm_launch.bundle import check_overrides, merged
from sm_launch.code_channel import ENTRY
from sm_launch.errors import LaunchError
from sm_launch.frame import Frame, training_image
from sm_launch.search_file import Search, read_search
from sm_launch.spec_jobs import Train, Tune

TUNE = "tune"
# Hyperband's smallest share of a trial: one epoch, as ASHA's in the local search.
HYPERBAND_MIN = 1


def trial_of(frame: Frame, tune: Tune) -> tuple[Search, Train]:
    """The search, and the training with what all trials share.

    Raises:
        LaunchError: the spec has no training, or one with an MLflow; the search file is wrong; or a knob of it is not
            in the configs.
    """
    if frame.spec.train is None:
        raise LaunchError("tune: there is no training to tune; add train to the spec.")
    train = frame.spec.train
    if train.mlflow_arn:
        raise LaunchError(
            f"train.mlflow_arn is {train.mlflow_arn}, and trials of a tuning have no place for it "
            "(HyperParameterTrainingJobDefinition); leave it out of a spec with tune."
        )
    search = read_search(frame.bundle.root / tune.search)
    # Nor have they one for TensorBoardOutputConfig: the run's folder goes into output.tar.gz of its trial instead.
    trial = dataclasses.replace(train, configs=(*train.configs, *search.configs), tensorboard=False)
    content = merged(frame.bundle, training.configs_of(frame, trial))
    check_overrides(content, dict.fromkeys(search.space), trial.configs)
    shared = {"epochs": search.epochs} if search.epochs and "epochs" in content else {}
    return search, dataclasses.replace(trial, overrides={**train.overrides, **shared, **(search.overrides or {})})


def tuning_job(frame: Frame, tune: Tune) -> dict[str, Any]:
    """Content of the trials' job.json."""
    search, trial = trial_of(frame, tune)
    return {**training.training_job(frame, trial), "hyperparameters": search.names()}


def strategy_of(search: Search, tune: Tune) -> str:
    """The spec's, or the one that the file's algorithm and scheduler come closest to.

    Raises:
        LaunchError: a grid over a range, or early stopping on top of Hyperband's own.
    """
    chosen = tune.strategy or ("Hyperband" if search.early else "Grid" if search.algorithm == "grid" else "Random")
    if chosen == "Grid" and search.combinations() is None:
        raise LaunchError(f"tune.strategy is Grid, and {search.file.name} has ranges; choose Random or Bayesian.")
    if chosen == "Hyperband" and tune.early_stopping:
        raise LaunchError("tune.early_stopping is true, and Hyperband stops trials by itself; set it to false.")
    if chosen == "Hyperband" and not search.epochs:
        raise LaunchError(f"tune.strategy is Hyperband, and {search.file.name} has no epochs to share out; add them.")
    return chosen


def wheels_only(frame: Frame) -> dict[str, str]:
    """pip's settings for a channel of wheels: in a trial the image's toolkit installs, before our entry is asked."""
    if not frame.spec.wheels:
        return {}
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"/opt/ml/input/data/{training.WHEELS_CHANNEL}"}


def tuning_request(frame: Frame, tune: Tune) -> dict[str, Any]:
    """The request.

    Raises:
        LaunchError: as ``trial_of`` and ``strategy_of``; or the objective is not among the metrics.
    """
    search, trial = trial_of(frame, tune)
    strategy = strategy_of(search, tune)
    metric = tune.metric or search.metric
    definitions = training.metric_definitions(trial)
    if metric not in {definition["Name"] for definition in definitions}:
        names = ", ".join(definition["Name"] for definition in definitions)
        raise LaunchError(f"tune.metric is '{metric}', and the log is read for {names}; add it to train.metrics.")
    trials = (search.combinations() if strategy == "Grid" else None) or tune.trials
    config: dict[str, Any] = {
        "Strategy": strategy,
        "HyperParameterTuningJobObjective": {
            "Type": "Maximize" if (tune.mode or search.mode) == "max" else "Minimize",
            "MetricName": metric,
        },
        "ResourceLimits": {
            "MaxNumberOfTrainingJobs": trials,
            "MaxParallelTrainingJobs": min(tune.parallel, trials),
        },
        "ParameterRanges": search.ranges(),
        "TrainingJobEarlyStoppingType": "Auto" if tune.early_stopping else "Off",
    }
    if strategy == "Hyperband":
        resource = {"MinResource": HYPERBAND_MIN, "MaxResource": search.epochs}
        config["StrategyConfig"] = {"HyperbandStrategyConfig": resource}
    inputs = training.channels(frame, trial)
    inputs[0] = training.code_input(frame, TUNE)
    definition: dict[str, Any] = {
        "StaticHyperParameters": {
            "sagemaker_program": ENTRY,
            "sagemaker_submit_directory": f"/opt/ml/input/data/{training.CODE_CHANNEL}",
        },
        "AlgorithmSpecification": {
            "TrainingImage": trial.image or training_image(frame.spec.region, trial.instance_type),
            "TrainingInputMode": trial.input_mode,
            "MetricDefinitions": definitions,
        },
        "RoleArn": frame.spec.role,
        "InputDataConfig": inputs,
        "OutputDataConfig": {"S3OutputPath": frame.uri("trials"), **frame.output_key()},
        "ResourceConfig": training.resources(frame, trial),
        "StoppingCondition": training.stopping(trial),
        "EnableManagedSpotTraining": trial.spot,
        **frame.isolation(),
        **frame.network(),
        **training.checkpointing(frame, trial, "trials"),
    }
    if variables := {**wheels_only(frame), **training.environment(trial)}:
        definition["Environment"] = variables
    return {
        "HyperParameterTuningJobName": frame.run,
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": definition,
        "Tags": frame.tags(),
    }
