"""configs/recipe/zoo.json: the Model Zoo's recipe on today's MONAI, where its own config fails."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from monai.networks.nets import SegResNet
from monai.transforms import Compose
from workflow import BUNDLE, run, workflow

CONFIGS = ("train.json", "network/segresnet.json", "recipe/zoo.json")
# The whole padded volume; group normalisation has 8 groups.
SIZE = [24, 32, 24]
SMALL = {"patch_size": SIZE, "window_size": SIZE, "network_def::init_filters": 8, "val_interval": 1}


def test_it_trains_and_evaluates(tiny_decathlon: Path, tmp_path: Path) -> None:
    run(tmp_path, *CONFIGS, dataset_dir=str(tiny_decathlon), epochs=1, **SMALL)
    run(tmp_path, *CONFIGS, "evaluate.json", window_size=SIZE)
    summary = json.loads((tmp_path / "runs/run/test/summary.json").read_text("utf-8"))
    assert set(summary["dice"]) == {"TC", "WT", "ET", "mean"}


@pytest.mark.parametrize("recipe", ["zoo", "original"])
def test_a_better_default_of_ours_leaves_the_opponents_as_they_are(recipe: str) -> None:
    """Whatever knob of train.json bears on the steps or the inference of these two is their own number."""
    config = json.loads((BUNDLE / f"configs/recipe/{recipe}.json").read_text("utf-8"))
    assert config["accumulation_steps"] == 1 and config["tta_axes"] == []
    assert config["clip_grad_norm"] == config["ema_decay"] == 0.0
    assert {"crops_per_case", "batch_size", "learning_rate", "weight_decay", "size_multiple", "window_overlap",
            "inference_mode", "loss", "optimizer", "lr_scheduler"} <= set(config)  # fmt: skip
    assert recipe == "zoo" or config["network_def"]["_target_"] == "UNet"


def test_a_continued_training_follows_the_cosine_of_its_new_length(tiny_decathlon: Path, tmp_path: Path) -> None:
    for epochs, resume in ((1, "none"), (4, "auto")):
        run(tmp_path, *CONFIGS, dataset_dir=str(tiny_decathlon), epochs=epochs, resume=resume, **SMALL)
    lines = (tmp_path / "runs/run/metrics.jsonl").read_text("utf-8").splitlines()
    rates = [json.loads(line)["learning_rate"] for line in lines]
    assert rates[1:] == pytest.approx([0.5e-4 * (1 + math.cos(math.pi * epoch / 4)) for epoch in (1, 2, 3)])


def test_its_parts_are_the_zoos(tiny_decathlon: Path, tmp_path: Path) -> None:
    job = workflow(tmp_path, *CONFIGS, dataset_dir=str(tiny_decathlon), window_size=SIZE)
    job.initialize()
    chain = job.content("train::preprocessing")
    assert isinstance(chain, Compose)
    names = [type(transform).__name__ for transform in chain.transforms]
    assert names.index("NormalizeIntensityd") < names.index("RandSpatialCropd") < names.index("RandFlipd")
    assert names[-5:] == ["RandFlipd"] * 3 + ["RandScaleIntensityd", "RandShiftIntensityd"]
    network, loss = job.content("network_def"), job.content("loss")
    assert isinstance(network, SegResNet)
    assert (network.init_filters, tuple(network.blocks_down), network.dropout_prob) == (16, (1, 2, 2, 4), 0.2)
    assert job.content("train::trainer").state.max_epochs == 300
    schedule = job.content("lr_scheduler")
    published = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.Adam(network.parameters(), lr=1e-4), T_max=300)
    assert schedule.base_lrs == published.base_lrs
    for epoch in range(301):
        published.last_epoch = epoch
        assert schedule.lr_lambdas[0](epoch) * 1e-4 == pytest.approx(published._get_closed_form_lr()[0], abs=1e-18)
    # Dice with squared denominator: p = sigmoid(0) = 1/2 against half ones is 1 - 2 * n/4 / (n/4 + n/2) = 1/3.
    target = torch.tensor([0.0, 1.0]).repeat(4).reshape(1, 1, 2, 2, 2)
    assert torch.isclose(loss(torch.zeros_like(target), target), torch.tensor(1 / 3))
