"""train.json and its overrides: what a training sees, draws and refuses."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import monai
import pytest
import torch
from skin_lesions.imbalance import class_weights
from skin_workflow import TINY, job, refusal_of, run
from tiny_ham10000 import write_tiny_ham10000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_ham10000(tmp_path_factory.mktemp("data") / "set", lesions=4, images=2)


def test_training_images_come_scaled_and_augmented_from_one_decoding(data: Path, tmp_path: Path) -> None:
    made = job(tmp_path, "train.json", dataset_dir=str(data), **TINY)
    dataset = made.content("train::dataset")
    first, again = dataset[0]["image"], dataset[0]["image"]
    assert first.shape == (3, 32, 32) and first.dtype == torch.float32 and type(first) is torch.Tensor
    assert first.min() >= 0 and 0.5 < first.max() <= 1
    assert any(not torch.equal(first, dataset[0]["image"]) for _ in range(5)), again
    assert made.content("train::pictures")[0]["image"].dtype == torch.uint8


def test_rotation_is_given_in_degrees(data: Path, tmp_path: Path) -> None:
    def largest_turn(*configs: str) -> float:
        made = job(tmp_path, *configs, dataset_dir=str(data), **TINY)
        (rotate,) = [step for step in made.content("random_transforms") if type(step).__name__ == "RandRotated"]
        return max(rotate.rand_rotate.range_x)

    assert largest_turn("train.json") == pytest.approx(math.pi / 12)
    assert largest_turn("train.json", "recipe/published.json") == 15, "radians: more than two whole turns"


def test_published_order_of_transforms(data: Path, tmp_path: Path) -> None:
    made = job(tmp_path, "train.json", "recipe/published.json", dataset_dir=str(data), **TINY)
    assert [type(step).__name__ for step in made.content("train::preprocessing").transforms] == [
        "ScaleIntensityd", "RandRotated", "RandFlipd", "RandZoomd", "Resized", "EnsureTyped",
    ]  # fmt: skip
    optimizer = made.content("optimizer")
    assert type(optimizer) is torch.optim.Adam
    assert made.content("lr_scheduler").get_last_lr() == [1e-5]


def test_remedies_for_imbalance_touch_the_training_part_alone(data: Path, tmp_path: Path) -> None:
    plain = job(tmp_path, "train.json", dataset_dir=str(data), **TINY)
    items = plain.content("train::items")
    weighted = job(tmp_path, "train.json", "imbalance/weighted_loss.json", dataset_dir=str(data), **TINY)
    assert torch.equal(weighted.content("loss").weight, class_weights(items))
    assert plain.content("loss").weight is None
    drawn = job(tmp_path, "train.json", "imbalance/weighted_sampler.json", dataset_dir=str(data), **TINY)
    assert type(drawn.content("train::dataloader").sampler) is torch.utils.data.WeightedRandomSampler
    copied = job(tmp_path, "train.json", "imbalance/oversample.json", dataset_dir=str(data), **TINY)
    counts = Counter(item["label"] for item in copied.content("train::items"))
    assert len(set(counts.values())) == 1
    for made in (weighted, drawn, copied):
        assert made.content("validate::items") == plain.content("validate::items")


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_other_networks(name: str, tmp_path: Path) -> None:
    network = job(tmp_path, "train.json", f"network/{name}.json").content("placed_network")
    assert network.eval()(torch.rand(2, 3, 64, 64)).shape == (2, 7)


def test_the_input_has_the_side_that_the_knob_says(data: Path, tmp_path: Path) -> None:
    made = job(tmp_path, "train.json", dataset_dir=str(data), **(TINY | {"image_size": 128, "epochs": 1}))
    assert made.content("stored_side") == 256
    assert made.content("train::dataset")[0]["image"].shape == (3, 128, 128)
    run(made)
    infer = job(tmp_path, "inference.json", kind="infer", dataset_dir=str(data), output_dir=str(tmp_path / "out"))
    assert infer.content("dataset")[0]["image"].shape == (3, 128, 128)


def test_augmentation_keeps_no_record_and_leaves_monai_as_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(tmp_path, "train.json", dataset_dir=str(data), **TINY)
    transform, seen = made.content("train::preprocessing"), []
    resize = made.content("resize")
    kept = type(resize).__call__

    def looked_at(self: Any, item: dict[str, Any], **options: Any) -> Any:
        seen.append(type(item["image"]))
        return kept(self, item, **options)

    monkeypatch.setattr(type(resize), "__call__", looked_at)
    transform(made.content("train::pictures")[0])
    assert seen == [torch.Tensor] and monai.data.get_track_meta()
    with pytest.raises(RuntimeError):
        transform({"image": "no tensor"})
    assert monai.data.get_track_meta(), "put back after an error too"


def test_a_training_that_diverges_ends_with_a_sentence_and_without_a_model(data: Path, tmp_path: Path) -> None:
    constant = {"_target_": "torch.optim.lr_scheduler.ConstantLR", "optimizer": "@optimizer", "factor": 1.0}
    made = job(tmp_path, "train.json", dataset_dir=str(data), learning_rate=1e30, lr_scheduler=constant, **TINY)
    said = refusal_of(made)
    assert said.startswith("epoch 1: this model's answers to ") and "with a smaller learning_rate" in said
    assert not (tmp_path / "models" / "model.pt").exists()


def test_a_training_that_would_never_validate_is_refused(data: Path, tmp_path: Path) -> None:
    made = job(tmp_path, "train.json", dataset_dir=str(data), val_interval=3, **TINY)
    assert "epochs 2 is less than val_interval 3" in refusal_of(made)
    assert not (tmp_path / "runs").exists()
