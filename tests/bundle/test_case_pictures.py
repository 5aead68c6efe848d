"""Pictures of a validation case: when one is due, and that it shows truth and prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from monai.data import MetaTensor
from scripts.case_pictures import CasePicture
from scripts.errors import InputError
from scripts.figures import PURPLE
from scripts.labels import get_scheme, labels_to_regions
from tiny import SPACING_MM, TINY, make_case
from workflow import run

REGIONS, MODALITIES = ("TC", "WT", "ET"), ("FLAIR", "T1w", "T1gd", "T2w")


def pictures(folder: Path, **options: object) -> CasePicture:
    given = {"interval": 10, "val_interval": 5, "epochs": 32, "label_scheme": "msd", "regions": REGIONS}
    return CasePicture(str(folder), **(given | {"modalities": MODALITIES} | options))


@pytest.mark.parametrize(
    ("interval", "val_interval", "epochs", "due"),
    [
        (10, 5, 32, [10, 20, 30, 32]),
        (10, 4, 24, [12, 20, 24]),
        (3, 5, 20, [5, 10, 15, 20]),
        (10, 1, 21, [10, 20, 21]),
        (10, 5, 5, [5]),
    ],
)
def test_a_picture_is_due_at_the_first_validation_of_each_interval(
    interval: int, val_interval: int, epochs: int, due: list[int], tmp_path: Path
) -> None:
    picture = pictures(tmp_path, interval=interval, val_interval=val_interval, epochs=epochs)
    validated = [epoch for epoch in range(1, epochs + 1) if epoch % val_interval == 0 or epoch == epochs]
    assert [epoch for epoch in validated if picture.is_due(epoch)] == due


def a_case(modalities: int = 4) -> dict[str, torch.Tensor]:
    """A validated case: normalised image with blank surroundings, regions, and nothing predicted."""
    image, label = make_case(0)
    image = torch.as_tensor(image[..., :modalities]).permute(3, 0, 1, 2).float()
    brain = image > 0
    image = torch.where(brain, (image - image[brain].mean()) / image[brain].std(), 0.0)
    truth = labels_to_regions(torch.as_tensor(label)[None], get_scheme("msd"))
    affine = torch.diag(torch.tensor([*SPACING_MM, 1.0]))
    return {"image": MetaTensor(image, affine=affine), "label": truth, "pred": torch.zeros_like(truth)}


def purple(picture: Path) -> np.ndarray:
    """Where a picture has the colour of the line around enhancing tumour."""
    pixels = imread(picture)[..., :3]
    distance = np.abs(pixels - to_rgb(PURPLE)).sum(-1)
    return distance < 0.05


def test_truth_is_lined_and_prediction_tinted(tmp_path: Path) -> None:
    picture, case = pictures(tmp_path), a_case()
    nothing = imread(picture.draw(case, "case $1_", 10))
    # Nothing predicted: the lines of the truth alone. All predicted: the prediction's panels change, and only those.
    assert purple(tmp_path / "images" / "epoch_0010.png").any()
    case["pred"] = torch.ones_like(case["pred"])
    everything = imread(picture.draw(case, "case $1_", 11))
    assert nothing.shape == everything.shape
    below_title = slice(60, -90)
    changed = (np.abs(nothing - everything).sum(-1) > 0.1)[below_title].mean(axis=0)
    panels = np.array_split(changed, 6)
    assert [bool(panel.mean() > 0.2) for panel in panels] == [False, False, True, False, False, True]


def test_other_modalities_and_regions(tmp_path: Path) -> None:
    case = a_case(modalities=1)
    case |= {"label": case["label"][1:2], "pred": case["pred"][1:2]}
    picture = pictures(tmp_path, modalities=("CT",), regions=("WT",), label_scheme="binary")
    assert len(imread(picture.draw(case, "ct", 1))) > 200


@pytest.mark.parametrize("interval", [-1, 2.5, "often"])
def test_an_interval_that_is_none_is_refused(interval: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image_interval .* is not a number of epochs"):
        pictures(tmp_path, interval=interval)


def test_zero_draws_none(tiny_decathlon: Path, tmp_path: Path) -> None:
    run(tmp_path, "train.json", dataset_dir=str(tiny_decathlon), image_interval=0, **TINY)
    assert (tmp_path / "runs" / "run" / "report.html").is_file() and not (tmp_path / "runs" / "run" / "images").exists()


def test_every_way_of_reading_gives_a_picture(tiny_decathlon: Path, tmp_path: Path) -> None:
    """The store's volumes come without files to look the spacing up in."""
    run(
        tmp_path, "train.json", "data/store.json", dataset_dir=str(tiny_decathlon), store_dir=str(tmp_path / "store"),
        **TINY,
    )  # fmt: skip
    assert (tmp_path / "runs" / "run" / "images" / "epoch_0001.png").is_file()
