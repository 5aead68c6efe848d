"""The temperature of the model that is kept, fitted on the validation part while training."""

from __future__ import annotations

from ignite.engine import Engine, Events

from skin_lesions.answers import Answers, require_finite
from skin_lesions.calibration import UNCALIBRATED, fit_temperature


class FitTemperature:
    """Evaluator handler: whenever validation is the best so far, fits the temperature to the logits of its images.

    It stands before ``BestModel``, which keeps the value, and works on every process, since each has some of them.

    Attributes:
        value: of the best epoch so far.
    """

    def __init__(self) -> None:
        self.value = UNCALIBRATED
        self.answers = Answers()

    def attach(self, engine: Engine) -> None:
        """Register for the answers, and at the end of each validation."""
        self.answers.attach(engine)
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Fit if this validation set a new best.

        Raises:
            InputError: the network's answers are no finite numbers; the best model so far stays.
        """
        _, logits, truth = self.answers.gathered()
        require_finite(logits, f"epoch {engine.state.epoch}")
        if engine.state.best_metric_epoch == engine.state.epoch:
            self.value = fit_temperature(logits, truth)
