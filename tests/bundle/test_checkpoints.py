"""What a training leaves behind and how it is taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.networks.nets import UNet
from scripts.checkpoints import evaluation_dir, from_recipe, load_weights, sha256, trained, trained_scheme
from scripts.errors import InputError

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"


def network(channels: tuple[int, ...] = (4, 8)) -> UNet:
    return UNet(3, 4, 3, channels, strides=(2,) * (len(channels) - 1))


def test_weights_come_back_from_plain_and_nested_checkpoints(tmp_path: Path) -> None:
    saved = network()
    torch.save(saved.state_dict(), tmp_path / "plain.pt")
    torch.save({"model": saved.state_dict(), "epoch": 3}, tmp_path / "nested.pt")
    for name in ("plain.pt", "nested.pt"):
        fresh = network()
        load_weights(fresh, tmp_path / name)
        assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), fresh.parameters(), strict=True))


def test_checkpoint_of_another_network_is_one_sentence_and_changes_nothing(tmp_path: Path) -> None:
    torch.save(network((4, 8, 16)).state_dict(), tmp_path / "model.pt")
    fresh = network()
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    with pytest.raises(InputError, match=r"model\.pt: holds the weights of another network .* leave out the override"):
        load_weights(fresh, tmp_path / "model.pt")
    assert all(torch.equal(before[key], value) for key, value in fresh.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip"])
def test_damaged_checkpoint_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(InputError, match="is not a readable PyTorch checkpoint"):
        load_weights(network(), tmp_path / "model.pt")


def test_before_any_training_the_next_step_is_named(tmp_path: Path) -> None:
    for use in (
        lambda: load_weights(network(), tmp_path / "model.pt"),
        lambda: trained(str(tmp_path), "datalist"),
        lambda: evaluation_dir(str(tmp_path), "runs", None),
    ):
        with pytest.raises(InputError, match=r"there is no trained model; run configs/train\.json first"):
            use()


def test_recipe_is_the_trainings_own_once_there_is_one(tmp_path: Path) -> None:
    assert from_recipe(str(tmp_path), str(BUNDLE), "patch_size") == [64, 64, 64]
    recipe = {"patch_size": [32, 32, 16], "network_def": {"_target_": "UNet", "spatial_dims": 3, "in_channels": 4,
              "out_channels": 3, "channels": [4, 8], "strides": [2]}}  # fmt: skip
    (tmp_path / "model.json").write_text(json.dumps({"recipe": recipe, "label_scheme": "msd"}))
    assert from_recipe(str(tmp_path), str(BUNDLE), "patch_size") == [32, 32, 16]
    assert isinstance(from_recipe(str(tmp_path), str(BUNDLE), "network_def"), UNet)
    assert trained_scheme(str(tmp_path), "trained") == "msd"
    assert trained_scheme(str(tmp_path), "brats2018") == "brats2018"
    with pytest.raises(InputError, match="has no entry 'datalist'"):
        trained(str(tmp_path), "datalist")


def test_weights_that_their_description_does_not_fit_are_refused(tmp_path: Path) -> None:
    """What a process killed between the two files leaves."""
    torch.save(network().state_dict(), tmp_path / "model.pt")
    (tmp_path / "model.json").write_text(json.dumps({"sha256": sha256(tmp_path / "model.pt")}))
    load_weights(network(), tmp_path / "model.pt")
    torch.save(network().state_dict(), tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"is not the file that model\.json beside it describes"):
        load_weights(network(), tmp_path / "model.pt")


def test_weights_without_what_tells_of_their_training_are_refused(tmp_path: Path) -> None:
    """They would be taken for a model of train.json: other spacing, other windows, other label ids."""
    (tmp_path / "model.pt").write_bytes(b"weights")
    sentence = "has model.pt but no model.json, which says spacing, .*; copy model.json from the folder that the model"
    for ask in (
        lambda: from_recipe(str(tmp_path), str(BUNDLE), "patch_size"),
        lambda: trained_scheme(str(tmp_path), "trained"),
        lambda: trained(str(tmp_path), "recipe"),
    ):
        with pytest.raises(InputError, match=sentence):
            ask()
    assert trained_scheme(str(tmp_path), "brats2018") == "brats2018"
