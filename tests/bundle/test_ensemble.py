"""Members that predict together: whose mean it is, and which trainings go together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from scripts.checkpoints import sha256
from scripts.ensemble import Members, evaluation_dir, folders, with_references
from scripts.errors import InputError
from scripts.inferers import BrainBoxInferer
from scripts.precision import PrecisionInferer

RECIPE = {
    "modalities": ["FLAIR"], "regions": ["TC", "WT", "ET"], "patch_size": [8, 8, 8], "size_multiple": 1,
    "spacing": [2.0, 2.0, 2.0], "seed": 1,
    "deterministic_transforms": [{"_target_": "Spacingd", "pixdim": "@spacing"}],
    "network_def": {"_target_": "torch.nn.Conv3d", "in_channels": "$len(@modalities)"},
}  # fmt: skip


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Conv3d(1, 3, 3, padding=1)


def training(folder: Path, weights: int, **recipe: Any) -> str:
    """A folder as a training leaves it."""
    folder.mkdir()
    torch.save(network(weights).state_dict(), folder / "model.pt")
    about = {"recipe": RECIPE | recipe, "sha256": sha256(folder / "model.pt"), "run_dir": str(folder / "run")}
    (folder / "model.json").write_text(json.dumps(about))
    return str(folder)


def together(*paths: str, **options: Any) -> BrainBoxInferer:
    return BrainBoxInferer((8, 8, 8), members=Members(list(paths)), size_multiple=1, **options)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(2, 1, 11, 9, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", [{}, {"mode": "sliding_window"}, {"tta_axes": [0, 2]}, {"one_pass_ratio": 8.0}])
@torch.no_grad()
def test_probabilities_are_averaged(tmp_path: Path, image: torch.Tensor, options: dict[str, Any]) -> None:
    inferer = together(*(training(tmp_path / str(seed), seed) for seed in (1, 2, 3)), **options)
    shown = network(9)
    inferer.members.load(shown)
    alone = BrainBoxInferer((8, 8, 8), size_multiple=1, **options)
    wanted = torch.stack([alone(image, network(seed)).sigmoid() for seed in (1, 2, 3)]).mean(0)
    # Twice: the second case must not meet the last member's weights as the first's.
    for _ in range(2):
        torch.testing.assert_close(inferer(image, shown).sigmoid(), wanted)


@torch.no_grad()
def test_equal_members_are_one(tmp_path: Path, image: torch.Tensor) -> None:
    paths = [training(tmp_path / name, 1) for name in ("a", "b")]
    shown = network(9)
    one, two = together(paths[0]), together(*paths)
    for inferer in (one, two):
        inferer.members.load(shown)
    assert torch.equal(one(image, shown), BrainBoxInferer((8, 8, 8), size_multiple=1)(image, network(1)))
    torch.testing.assert_close(two(image, shown), one(image, shown), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_low_precision_does_not_remember_the_member_before(tmp_path: Path, image: torch.Tensor) -> None:
    """Autocast keeps weights that it has cast."""
    inferer = together(*(training(tmp_path / str(seed), seed) for seed in (1, 2)))
    shown, device = network(9), torch.device("cpu")
    inferer.members.load(shown)
    alone = PrecisionInferer(BrainBoxInferer((8, 8, 8), size_multiple=1), "bf16", device)
    wanted = torch.stack([alone(image, network(seed)).sigmoid() for seed in (1, 2)]).mean(0)
    found = PrecisionInferer(inferer, "bf16", device)(image, shown).sigmoid()
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_certain_members_stay_finite(tmp_path: Path) -> None:
    members = Members([training(tmp_path / str(seed), seed) for seed in (1, 2)])
    members.load(network(9))
    extreme = torch.tensor([-200.0, -20.0, 0.0, 20.0, 200.0]).reshape(1, 1, 5, 1, 1)
    mean = members.logits(network(9), lambda: extreme)
    assert not mean.isnan().any()
    torch.testing.assert_close(mean.sigmoid(), extreme.sigmoid(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spacing": [1.0, 1.0, 1.0]}, r"b: has another spacing than .*a \(\[1.0, 1.0, 1.0\], not \[2.0, 2.0, 2.0\]\)"),
        ({"patch_size": [16, 8, 8]}, "another patch_size"),
        ({"regions": ["WT"]}, "another regions"),
        ({"modalities": ["T1w"]}, "another modalities"),
        ({"deterministic_transforms": []}, "another deterministic_transforms"),
        ({"network_def": {"_target_": "UNet"}}, "another network_def"),
    ],
)
def test_trainings_of_different_recipes_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    paths = [training(tmp_path / "a", 1), training(tmp_path / "b", 2, **change)]
    with pytest.raises(InputError, match=words):
        Members(paths)


def test_trainings_may_differ_in_all_else(tmp_path: Path) -> None:
    assert len(Members([training(tmp_path / "a", 1), training(tmp_path / "b", 2, seed=2)]).folders) == 2


def test_lists_without_sense_are_refused(tmp_path: Path) -> None:
    assert folders("models") == folders(Path("models")) == folders(["models"]) == ["models"]
    for listed in ([], ["models", "models"], ["models", "./models"]):
        with pytest.raises(InputError, match="different folders of trained models are wanted"):
            folders(listed)


def test_references_are_followed() -> None:
    assert set(with_references(RECIPE, "network_def")) == {"network_def", "modalities"}
    assert set(with_references(RECIPE, "deterministic_transforms")) == {"deterministic_transforms", "spacing"}


def test_an_ensembles_evaluation_has_a_folder_of_its_own(tmp_path: Path) -> None:
    members = Members([training(tmp_path / "a", 1), training(tmp_path / "b", 2)])
    runs = tmp_path / "runs"
    assert evaluation_dir(members, str(runs), "folds") == str(runs / "folds")
    with pytest.raises(InputError, match="give it a run_name"):
        evaluation_dir(members, str(runs), None)
    (runs / "trained").mkdir(parents=True)
    (runs / "trained" / "metrics.jsonl").touch()
    with pytest.raises(InputError, match="is the folder of a training"):
        evaluation_dir(members, str(runs), "trained")
    assert evaluation_dir(Members(str(tmp_path / "a")), str(runs), None) == str(runs / "run")
