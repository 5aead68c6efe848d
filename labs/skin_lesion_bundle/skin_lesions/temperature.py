"""The temperature of the model that is kept, fitted on the validation part while training."""

from __future__ import annotations

from ignite.engine import Engine, Events

from skin_lesions.answers import Answers
from skin_lesions.calibration import fit_temperature
from skin_lesions.checkpoints import note
from skin_lesions.distributed import rank


class FitTemperature:
    """Evaluator handler: whenever validation is the best so far, fits the temperature and notes it in ``model.json``.

    It takes the logits that validation has computed. It stands after ``BestModel``, which writes that file, and works
    on every process.

    Args:
        ckpt_dir: folder of ``model.json``.
    """

    def __init__(self, ckpt_dir: str) -> None:
        self.ckpt_dir = ckpt_dir
        self.answers = Answers()

    def attach(self, engine: Engine) -> None:
        """Register for the answers, and at the end of each validation."""
        self.answers.attach(engine)
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Fit if this validation set a new best."""
        if engine.state.best_metric_epoch != engine.state.epoch:
            return
        _, logits, truth = self.answers.gathered()
        if rank() > 0:
            return
        note(self.ckpt_dir, "temperature", fit_temperature(logits, truth))
