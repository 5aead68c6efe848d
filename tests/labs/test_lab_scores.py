"""Lab 02: scores at their edges, and the two published mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import pytest
import torch
from labkit.checks import NotYet
from labkit.scores import (
    case_scores,
    curves_figure,
    empty_region_rows,
    hd95_rows,
    only_case,
    region_masks,
    score_rows,
    scores_figure,
    voxels,
)
from labkit.validation_bugs import check_gathered_mean, check_threshold, shards, threshold_rows
from monai.transforms import AsDiscrete
from scripts.labels import get_scheme

REGIONS = ("TC", "WT", "ET")
ROWS = [
    {"case": name, "dice": dict(zip(REGIONS, dice, strict=True)), "truth_ml": dict.fromkeys(REGIONS, 1.25)}
    for name, dice in {"a": (0.5, 0.9, 1.0), "b": (0.7, 0.8, 0.0)}.items()
]


def test_curves_mark_the_epoch_that_was_kept() -> None:
    regions = {f"val_dice_{name}": 0.5 for name in REGIONS}
    records = [{"epoch": 1, "train_loss": 1.0}, {"epoch": 2, "train_loss": 0.5, "val_mean_dice": 0.5, **regions}]
    figure = curves_figure(records, best_epoch=2)
    loss, dice = figure.axes
    assert list(loss.lines[0].get_ydata()) == [1.0, 0.5]
    assert {text.get_text() for text in dice.get_legend().get_texts()} == {"mean", *REGIONS, "kept: epoch 2"}
    plt.close(figure)


def test_scores_of_cases(tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text(json.dumps(ROWS))
    rows = case_scores(tmp_path)
    assert score_rows(rows, REGIONS)[0] == ["a", 0.5, 0.9, 1.0, "1.2", "1.2", "1.2"]
    figure = scores_figure(rows, REGIONS)
    (points, mean), *_ = zip(figure.axes[0].lines[::2], figure.axes[0].lines[1::2], strict=True)
    assert list(points.get_xdata()) == [0.5, 0.7] and mean.get_xdata()[0] == pytest.approx(0.6)
    plt.close(figure)


def test_empty_regions() -> None:
    scores = {row[0]: row[1:] for row in empty_region_rows()}
    assert scores["there is none, none is found"] == [1.0, "left out", 0.0]
    assert scores["there is none, one is found"] == [0.0, "left out", 374.0]
    assert scores["there is one, none is found"][:2] == [0.0, 0.0]
    assert scores["there is one, and it is found"] == [1.0, 1.0, 0.0]


def test_hd95_sees_a_block_and_no_stray_voxel() -> None:
    truth = torch.zeros(1, 1, 40, 40, 40)
    truth[..., 20:36, 20:36, 20:36] = 1
    scores = {name: (dice, hd95) for name, dice, hd95 in hd95_rows(truth, (2, 2, 2))}
    assert scores["the truth itself"] == (1.0, 0.0)
    assert scores["and one stray voxel"][0] > 0.99 and scores["and one stray voxel"][1] == 0
    assert scores["and a stray block"][1] > 20
    assert scores["moved by one voxel"][1] == 2


def test_regions_of_a_label_file(tiny_decathlon: Path) -> None:
    file = next((tiny_decathlon / "labelsTr").iterdir())
    masks = region_masks(str(file), get_scheme("msd"), REGIONS)
    ids = np.asarray(nib.load(file).dataobj)
    assert masks.shape == (1, 3, *ids.shape) and int(masks[0, 1].sum()) == int((ids > 0).sum())


@pytest.mark.parametrize("files", [1, 4])
def test_a_new_patient_has_no_label(files: int, tmp_path: Path) -> None:
    scans = [tmp_path / f"scan_{index}.nii.gz" for index in range(files)]
    for scan in scans:
        nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.int16), np.eye(4)), scan)
    folder = only_case({"case": "p", "image": list(map(str, scans))}, tmp_path / "new")
    copied = sorted(path for path in folder.rglob("*") if path.is_file())
    assert [path.name for path in copied] == [scan.name for scan in scans]
    assert int(voxels(copied[0]).sum()) == 8


def test_threshold_of_true_finds_next_to_nothing() -> None:
    probabilities = np.full((4, 4, 4, 3), 0.9)
    probabilities[0, 0, 0] = 1.0
    truth = torch.ones(1, 3, 4, 4, 4)
    rules = {"published": AsDiscrete(threshold=True), "mended": AsDiscrete(threshold=0.5)}
    published, mended = threshold_rows(probabilities, truth, rules, REGIONS)
    assert published[1] == 1 and mended[1] == 64
    assert published[2] < 0.1 and mended[2:] == [1.0, 1.0, 1.0]


def test_mended_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    check_threshold(AsDiscrete(threshold=0.5))
    assert "Right." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (..., "no answer yet"),
        (0.5, "an AsDiscrete object"),
        (AsDiscrete(threshold=True), "What number is True"),
        (AsDiscrete(argmax=True), "a number to compare with"),
        (AsDiscrete(threshold=0.9), "more likely than not"),
        (AsDiscrete(threshold=0.1), "more likely than not"),
    ],
)
def test_threshold_is_answered_by_hints(answer: Any, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_threshold(answer)


def test_one_case_on_rank_0_and_three_of_five_twice() -> None:
    dealt = shards(cases=5, processes=8)
    assert [len(cases) for cases in dealt] == [1] * 8
    scored = [case for cases in dealt for case in cases]
    assert sorted(set(scored)) == [0, 1, 2, 3, 4] and len(scored) - 5 == 3


def unpadded(pairs: list[tuple[int, float]]) -> float:
    return float(np.mean(list(dict(pairs).values())))


def test_mean_that_counts_each_case_once(capsys: pytest.CaptureFixture[str]) -> None:
    check_gathered_mean(unpadded, [0.2, 0.9])
    assert "Right." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (..., "function of one argument"),
        (lambda pairs: ..., "no answer yet"),
        (lambda pairs: pairs, "not a number"),
        (lambda pairs: float(np.mean([dice for _, dice in pairs])), "counts twice"),
        (lambda pairs: 0.5, "counts once"),
        # Two cases may have the same Dice.
        (lambda pairs: float(np.mean(sorted({round(dice, 1) for _, dice in pairs}))), "counts once"),
    ],
)
def test_mean_is_answered_by_hints(answer: Any, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        check_gathered_mean(answer, [0.2, 0.9])
