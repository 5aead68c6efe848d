"""The regular expressions of a plan, against lines that are really printed."""

from __future__ import annotations

import re

import pytest
from ignite.engine import Engine
from monai.handlers import StatsHandler
from scripts.progress import describe

from sm_launch.metrics import DEFAULT_METRICS


def found(name: str, text: str) -> list[float]:
    """All values of a metric in a log."""
    return [float(value) for value in re.findall(DEFAULT_METRICS[name], text)]


@pytest.mark.parametrize(("loss", "dice"), [(0.41234, 0.7134), (1.5e-5, 0.0), (12.0, 1.0)])
def test_the_bundles_own_line(loss: float, dice: float) -> None:
    record = {
        "epoch": 3, "train_loss": loss, "val_mean_dice": dice, "val_dice_TC": 0.11, "val_dice_WT": 0.22, "seconds": 1.0,
        "samples_per_s": 3.2, "data_wait_share": 0.1,
    }  # fmt: skip
    line = describe(record, 30, 61.0)
    assert found("train_loss", line) == [pytest.approx(loss, abs=1e-4)]
    assert found("val_mean_dice", line) == [pytest.approx(dice, abs=1e-4)]
    # Between validations a line has no Dice, and none may be found in it.
    del record["val_mean_dice"]
    assert found("val_mean_dice", describe(record, 30, 61.0)) == []


def test_lines_of_monais_stats_handler(capfd: pytest.CaptureFixture[str]) -> None:
    trainer = Engine(lambda engine, batch: batch)
    StatsHandler(name="metrics_train", tag_name="train_loss", output_transform=lambda value: value).attach(trainer)
    trainer.run([0.5, 0.25], max_epochs=1)
    evaluator = Engine(lambda engine, batch: {})
    evaluator.add_event_handler("EPOCH_COMPLETED", lambda engine: engine.state.metrics.update(val_mean_dice=0.75))
    StatsHandler(name="metrics_val", output_transform=lambda value: None).attach(evaluator)
    evaluator.run([0], max_epochs=1)
    # Its loggers write to a stream of their own.
    lines = "".join(capfd.readouterr())
    assert found("train_loss", lines) == [0.5, 0.25]
    assert found("val_mean_dice", lines) == [0.75]
