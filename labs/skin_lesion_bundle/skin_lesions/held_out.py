"""The evaluation of a trained model on its test part, which neither training nor the choice of the epoch has seen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from skin_lesions import runs, synthetic
from skin_lesions.answers import Answers, require_finite
from skin_lesions.calibration import UNCALIBRATED, calibrated
from skin_lesions.checkpoints import trained
from skin_lesions.distributed import rank, rank_zero_first
from skin_lesions.errors import InputError
from skin_lesions.evaluation import summarise, text_table, write_summary
from skin_lesions.predictions import Predictions, write_cases
from skin_lesions.report import write_report

logger = logging.getLogger(__name__)

SYNTHETIC = "Synthetic data: the figures mean nothing clinically."


def datalist(ckpt_dir: str, dataset_dir: str | None) -> dict[str, Any]:
    """The split that the model was trained with.

    Args:
        ckpt_dir: folder of the model.
        dataset_dir: where its images lie; None takes the folder of the training. The synthetic set is made again where
            its cache has been cleared.

    Raises:
        InputError: there is no trained model, or no such folder.
    """
    with rank_zero_first():
        root = synthetic.resolve(_data_name(ckpt_dir, dataset_dir))
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder of the model's images; set dataset_dir to where they are.")
    return trained(ckpt_dir, "datalist") | {"dataset_dir": str(root.resolve())}


def run_dir(ckpt_dir: str, output_dir: str, run_name: str | int | None) -> str:
    """The run's folder, absolute: that of the training where it has no name and is on this machine.

    Args:
        ckpt_dir: folder of the model.
        output_dir: folder of the run folders.
        run_name: None takes the training's, which of another machine means nothing here but its name.

    Raises:
        InputError: there is no trained model.
    """
    recorded = Path(trained(ckpt_dir, "run_dir"))
    if run_name is None and recorded.is_dir():
        return str(recorded)
    return runs.run_dir(output_dir, run_name or recorded.name)


class WriteEvaluation:
    """Evaluator handler: writes cases.csv, summary.json and report.html once all images are seen.

    Args:
        items: the images of the part, with ``name``, ``lesion`` and the path ``image``.
        output_dir: folder of the three files.
        ckpt_dir: folder of the model, for its classes and temperature.
        dataset_dir: as :func:`datalist` takes it.
    """

    def __init__(
        self, items: Sequence[Mapping[str, Any]], output_dir: str, ckpt_dir: str, dataset_dir: str | None
    ) -> None:
        self.items = {item["name"]: item for item in items}
        self.folder = Path(output_dir)
        self.ckpt_dir = ckpt_dir
        self.dataset_dir = dataset_dir
        self.answers = Answers()

    def attach(self, engine: Engine) -> None:
        """Register for the answers, and at the end."""
        self.answers.attach(engine)
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the files, on rank 0.

        Raises:
            InputError: the model's answers are no numbers, or the folder cannot be written to.
        """
        names, logits, truth = self.answers.gathered()
        if rank() > 0:
            return
        require_finite(logits, self.ckpt_dir)
        predictions = Predictions(
            images=tuple(names),
            lesions=tuple(self.items[name]["lesion"] for name in names),
            classes=tuple(trained(self.ckpt_dir, "classes")),
            truth=truth,
            probabilities=calibrated(logits, UNCALIBRATED),
            temperature=trained(self.ckpt_dir, "temperature"),
        ).in_order_of_images()
        summary = summarise(predictions)
        write_cases(self.folder, predictions)
        write_summary(self.folder, summary)
        report = write_report(
            self.folder,
            predictions,
            summary,
            files=[self.items[name]["image"] for name in predictions.images],
            title=f"Evaluation of {Path(trained(self.ckpt_dir, 'run_dir')).name} on its test part",
            notices=[SYNTHETIC] if _data_name(self.ckpt_dir, self.dataset_dir) == synthetic.WORD else [],
        )
        logger.info("%s\n%s", text_table(summary), report)


def _data_name(ckpt_dir: str, dataset_dir: str | None) -> str:
    """``dataset_dir``, or what the training was given for it: the word ``synthetic``, or an absolute folder."""
    if dataset_dir is not None:
        return dataset_dir
    word = trained(ckpt_dir, "recipe").get("dataset_dir")
    return word if word == synthetic.WORD else trained(ckpt_dir, "datalist")["dataset_dir"]
