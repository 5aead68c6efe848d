"""The moving average of the weights, and the files that hold it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from scripts.checkpoints import unwrapped
from scripts.ema import UpdateAverage, scored_network
from scripts.errors import InputError
from scripts.step import StepEvents
from tiny import TINY
from torch import nn
from workflow import run


def test_average_is_the_closed_form_of_its_steps() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = scored_network(network, 0.9)
    engine = Engine(lambda engine, weight: None)
    engine.register_events(StepEvents.OPTIMIZER_COMPLETED)
    UpdateAverage(network, average).attach(engine)
    steps = [5.0, -1.0, 2.0, 7.0]
    for weight in steps:
        nn.init.constant_(network.weight, weight)
        engine.fire_event(StepEvents.OPTIMIZER_COMPLETED)
    wanted = 0.9**3 * 5.0 + 0.1 * (0.9**2 * -1.0 + 0.9 * 2.0 + 7.0)
    assert float(unwrapped(average).weight) == pytest.approx(wanted, abs=1e-6)
    assert float(network.weight) == 7.0


def test_without_decay_there_is_one_network() -> None:
    network = nn.Linear(1, 1)
    assert scored_network(network, 0.0) is network
    for decay in (1.0, -0.1):
        with pytest.raises(InputError, match=f"ema_decay {decay} is out of range"):
            scored_network(network, decay)


def test_model_is_the_average_and_the_last_state_keeps_both(tiny_decathlon: Path, tmp_path: Path) -> None:
    run(tmp_path, "train.json", dataset_dir=str(tiny_decathlon), ema_decay=0.5, **TINY)
    model = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    last = torch.load(tmp_path / "models" / "model_last.pt", weights_only=True)
    # One epoch: the best model is the last one.
    assert all(torch.equal(value, last["average"][f"module.{name}"]) for name, value in model.items())
    assert not all(torch.equal(value, last["model"][name]) for name, value in model.items())
    run(tmp_path, "train.json", "evaluate.json", ema_decay=0.5)
    assert (tmp_path / "runs" / "run" / "test" / "summary.json").is_file()
