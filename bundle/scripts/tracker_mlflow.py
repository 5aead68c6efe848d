"""MLflow: an SQLite file under ``output_dir`` or any tracking server."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.image import imread

from scripts.trackers import PICTURE, Tracker, optional_package

# MLflow's own limits would retry for four minutes a call; what is not sent is sent after the next epoch.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}
# A training on patients' data reports to nobody unasked.
PRIVACY = {"MLFLOW_DISABLE_TELEMETRY": "true"}
# MLflow 3's limit of a parameter's text.
MAX_PARAM = 6000


class MLflow(Tracker):
    """Parameters, metrics, pictures and files of a run in an MLflow experiment.

    Args:
        output_dir: holds the default store: ``mlflow.db``, and the files in ``mlflow_artifacts``.
        tracking_uri: any MLflow address; None takes $MLFLOW_TRACKING_URI, or else the default store.
        experiment_name: made if absent.
        log_model: also store model.pt.
    """

    name = "MLflow"

    def __init__(
        self,
        output_dir: str,
        tracking_uri: str | None = None,
        experiment_name: str = "brats",
        log_model: bool = False,
    ) -> None:
        self.output_dir = Path(output_dir).resolve()
        self.tracking_uri = tracking_uri
        self.experiment_name = experiment_name
        self.log_model = log_model

    def open(self, folder: Path, knobs: Mapping[str, Any], run_id: str | None) -> str:
        """Begin or continue a run named after the folder; see :meth:`Tracker.open`."""
        for name, value in (PATIENCE | PRIVACY).items():
            os.environ.setdefault(name, value)
        mlflow = optional_package("mlflow", "mlflow>=3.1", "MLflow")
        # Its store announces every table that it makes.
        for chatty in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self.entities = mlflow.entities
        store = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if store is None:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            store = f"sqlite:///{(self.output_dir / 'mlflow.db').as_posix()}"
        self.client = mlflow.MlflowClient(tracking_uri=store)
        self.run_id = self._continued(run_id) or self._begun(folder, store)
        self._log_params(knobs)
        return self.run_id

    def log(self, epoch: int, values: Mapping[str, float], picture: Path | None) -> None:
        """Send the picture for MLflow's image view, then the metrics in one request.

        In this order, because a metric that is sent twice is there twice.
        """
        if picture is not None:
            pixels = (imread(picture)[..., :3] * 255).round().astype("uint8")
            self.client.log_image(self.run_id, pixels, key=PICTURE, step=epoch, synchronous=True)
        now = int(time.time() * 1000)
        metrics = [self.entities.Metric(name, value, now, epoch) for name, value in values.items()]
        self.client.log_batch(self.run_id, metrics=metrics, synchronous=True)

    def keep(self, files: Sequence[Path]) -> None:
        """Send files as the run's artifacts."""
        for file in files:
            self.client.log_artifact(self.run_id, str(file))

    def close(self, status: str) -> None:
        """Set the run's status."""
        self.client.set_terminated(self.run_id, status)

    def _continued(self, run_id: str | None) -> str | None:
        """``run_id``, running again, or None where this store has no such run."""
        if run_id is None:
            return None
        from mlflow.exceptions import MlflowException

        try:
            self.client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return run_id

    def _begun(self, folder: Path, store: str) -> str:
        """Id of a new run."""
        experiment = self.client.get_experiment_by_name(self.experiment_name)
        if experiment is None:
            # A database has no place for files: MLflow would put them into the folder it is called from.
            beside = (self.output_dir / "mlflow_artifacts").as_uri() if store.startswith("sqlite:") else None
            experiment_id = self.client.create_experiment(self.experiment_name, artifact_location=beside)
        else:
            experiment_id = experiment.experiment_id
        run = self.client.create_run(experiment_id, tags={"run_dir": str(folder)}, run_name=folder.name)
        return run.info.run_id

    def _log_params(self, knobs: Mapping[str, Any]) -> None:
        """Send the knobs; MLflow's parameters are final, so what a resumed training changed becomes a tag."""
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in knobs.items()}
        texts = {name: text[:MAX_PARAM] for name, text in texts.items()}
        there = self.client.get_run(self.run_id).data.params
        self.client.log_batch(
            self.run_id,
            params=[self.entities.Param(name, text) for name, text in texts.items() if name not in there],
            tags=[
                self.entities.RunTag(f"resumed.{name}", text)
                for name, text in texts.items()
                if there.get(name, text) != text
            ],
            synchronous=True,
        )
