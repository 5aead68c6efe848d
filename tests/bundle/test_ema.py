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


def averaged(steps: list[float], decay: float) -> nn.Module:
    """The average of a network whose one weight takes these values, one a step."""
    network = nn.Linear(1, 1, bias=False)
    average = scored_network(network, decay)
    engine = Engine(lambda engine, weight: None)
    engine.register_events(StepEvents.OPTIMIZER_COMPLETED)
    UpdateAverage(network, average).attach(engine)
    for weight in steps:
        nn.init.constant_(network.weight, weight)
        engine.fire_event(StepEvents.OPTIMIZER_COMPLETED)
    assert float(network.weight) == steps[-1]
    return average


def test_average_is_the_closed_form_of_its_steps() -> None:
    """A decay below that of the warm-up, whose first is 2/11, holds from the start."""
    wanted = 0.1**3 * 5.0 + 0.9 * (0.1**2 * -1.0 + 0.1 * 2.0 + 7.0)
    assert float(unwrapped(averaged([5.0, -1.0, 2.0, 7.0], 0.1)).weight) == pytest.approx(wanted, abs=1e-6)


def test_decay_rises_with_the_steps() -> None:
    """``min(decay, (1 + n) / (10 + n))`` from the second step on, as TensorFlow's moving average."""
    steps = [float(step % 7) for step in range(300)]
    wanted = steps[0]
    for n, weight in enumerate(steps[1:], start=1):
        kept = min(0.9, (1 + n) / (10 + n))
        wanted = kept * wanted + (1 - kept) * weight
    average = averaged(steps, 0.9)
    assert float(unwrapped(average).weight) == pytest.approx(wanted, rel=1e-5)
    assert int(average.n_averaged) == 300


def test_short_training_forgets_its_beginning() -> None:
    """500 steps: a constant 0.999 would keep 0.999 ** 499 = 0.61 of the first weights."""
    assert float(unwrapped(averaged([1.0] + [0.0] * 499, 0.999)).weight) < 1e-9


def test_all_of_the_average_lies_where_the_network_does() -> None:
    """nccl broadcasts no buffer that lies on the CPU; the meta device stands for a GPU here."""
    average = scored_network(nn.BatchNorm1d(2, device="meta"), 0.9)
    assert {tensor.device.type for tensor in (*average.parameters(), *average.buffers())} == {"meta"}


def test_counts_among_the_buffers_are_taken_over() -> None:
    network = nn.BatchNorm1d(2)
    average = scored_network(network, 0.9)
    for _ in range(3):
        network(torch.rand(4, 2))
        average.update_parameters(network)
    assert int(unwrapped(average).num_batches_tracked) == 3
    assert not torch.equal(unwrapped(average).running_mean, network.running_mean)


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
