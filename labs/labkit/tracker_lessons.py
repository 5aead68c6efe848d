"""Lab 07: a server that is away, and a key that was passed as a hyper-parameter; both with the real trackers."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.runs import METRICS_FILE
from scripts.tracker_mlflow import PRIVACY
from scripts.trackers import Tracker
from scripts.tracking import Tracking

from .tracked import ended, files_with

JOB_DESCRIPTION = "SageMaker's description of the job"
ENVIRONMENT = "the environment of the process"


def copied_run(run_dir: Path, folder: Path) -> Path:
    """A run folder with the knobs and metrics of another, which no tracker knows."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("config.json", METRICS_FILE):
        shutil.copy(run_dir / name, folder)
    return folder


def follow(run_dir: Path, tracker: Tracker) -> list[str]:
    """Let a tracker follow a run to its end, as a training does.

    Args:
        run_dir: of a training whose epochs are all in metrics.jsonl.
        tracker: a closed one.

    Returns:
        The warnings that the training would have shown.
    """
    with _warnings("scripts.tracking") as said:
        tracking = Tracking([tracker], str(run_dir), str(run_dir))
        tracking.open()
        tracking.send_epochs()
        tracking.finish()
    return said


def pass_as_knob(key: str, folder: Path) -> dict[str, bool]:
    """Do what a published workshop did: hand the key over as a hyper-parameter, and track all hyper-parameters.

    Args:
        key: a made-up one.
        folder: emptied; holds the trackers' files.

    Returns:
        Place to whether the key can be read there afterwards. For the trackers that is measured. SageMaker's
        DescribeTrainingJob returns ``HyperParameters`` as they were given (its API reference); the environment is
        written nowhere.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # By its path MLflow stays connected to a database that was deleted, and a learner may run this cell again.
    anew = Path(tempfile.mkdtemp(dir=folder))
    arguments = {"learning_rate": 0.01, "wandb_api_key": key}
    stores = {"MLflow's database": anew / "mlflow", "W&B's run file": anew / "wandb"}
    for store in stores.values():
        store.mkdir(parents=True)
    _to_mlflow(arguments, stores["MLflow's database"])
    _to_wandb(arguments, stores["W&B's run file"])
    found = {place: bool(files_with(key, store)) for place, store in stores.items()}
    return found | {JOB_DESCRIPTION: True, ENVIRONMENT: False}


def _to_mlflow(arguments: dict[str, object], folder: Path) -> None:
    for name, value in PRIVACY.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{(folder / 'mlflow.db').as_posix()}")
    experiment = client.create_experiment("published", artifact_location=(folder / "files").as_uri())
    run = client.create_run(experiment)
    for name, value in arguments.items():
        client.log_param(run.info.run_id, name, value)
    client.set_terminated(run.info.run_id)


def _to_wandb(arguments: dict[str, object], folder: Path) -> None:
    import wandb

    settings = wandb.Settings(console="off", silent=True, disable_git=True, save_code=False, reinit="create_new")
    wandb.init(project="published", mode="offline", dir=str(folder), config=arguments, settings=settings).finish()
    for file in folder.glob("wandb/offline-run-*/run-*.wandb"):
        ended(file)


@contextmanager
def _warnings(name: str) -> Iterator[list[str]]:
    """Collect a logger's warnings, and show them nowhere else."""
    said: list[str] = []
    logger = logging.getLogger(name)
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
