"""The learning rate's course over the epochs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.optimizers import WarmupCosineSchedule
from scripts.errors import InputError
from scripts.learning_rate import scheduler
from tiny import TINY
from torch.optim.lr_scheduler import LRScheduler
from workflow import run

PEAK = 0.002


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)


def rates(schedule: LRScheduler, epochs: int) -> list[float]:
    """The rate of each epoch, stepped as ``LrScheduleHandler`` does."""
    found = []
    for _ in range(epochs):
        found.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(("epochs", "warmup"), [(30, 2), (30, 0), (300, 5), (1, 2), (3, 3), (2, 7)])
def test_cosine_is_monais_bit_for_bit(epochs: int, warmup: int) -> None:
    monai = WarmupCosineSchedule(optimizer(), warmup_steps=warmup, warmup_multiplier=0.1, t_total=epochs)
    assert rates(scheduler(optimizer(), "cosine", warmup, epochs), epochs) == rates(monai, epochs)


def test_poly_is_that_of_nnunet() -> None:
    """nnU-Net: ``initial_lr * (1 - epoch / epochs) ** 0.9`` (PolyLRScheduler)."""
    wanted = [PEAK * (1 - epoch / 1000) ** 0.9 for epoch in range(1000)]
    assert rates(scheduler(optimizer(), "poly", 0, 1000), 1000) == pytest.approx(wanted, rel=1e-12)


def test_poly_begins_at_the_peak_after_the_warm_up() -> None:
    found = rates(scheduler(optimizer(), "poly", 2, 10), 11)
    assert found[:3] == pytest.approx([PEAK * 0.1, PEAK * 0.55, PEAK])
    assert found[6] == pytest.approx(PEAK * 0.5**0.9)
    # After the last epoch: what a training with more epochs is told by the state that it continues from.
    assert found[10] == 0.0


@pytest.mark.parametrize(
    ("schedule", "warmup", "sentence"),
    [
        ("linear", 2, "schedule 'linear' is unknown; choose one of cosine, poly"),
        ("poly", -1, "warmup_epochs -1 is not a number of epochs"),
        ("cosine", 0.5, "warmup_epochs 0.5 is not a number of epochs"),
    ],
)
def test_unusable_knob_is_one_sentence(schedule: str, warmup: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        scheduler(optimizer(), schedule, warmup, 10)


def test_nnunet_optimiser_trains_and_goes_on_with_another_rate(tiny_decathlon: Path, tmp_path: Path) -> None:
    knobs = TINY | {"dataset_dir": str(tiny_decathlon), "resume": "auto"}
    first = run(tmp_path, "train.json", "recipe/nnunet_sgd.json", **(knobs | {"epochs": 2}))
    group = first.content("optimizer").param_groups[0]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.99, True, 3e-5)
    assert first.content("train::trainer").clip_grad_norm == 12
    run(tmp_path, "train.json", "recipe/nnunet_sgd.json", **(knobs | {"epochs": 4, "learning_rate": 0.004}))
    last = torch.load(tmp_path / "models" / "model_last.pt", weights_only=True)
    assert last["epoch"] == 4 and last["lr_scheduler"]["last_epoch"] == 4
    lines = (tmp_path / "runs" / "run" / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line)["learning_rate"] for line in lines]
    assert found == pytest.approx([0.01, 0.01 * 0.5**0.9, 0.004 * 0.5**0.9, 0.004 * 0.25**0.9])
