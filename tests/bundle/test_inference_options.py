"""Postprocessing, ensembles and uncertainty through the configs, on two folds of tiny cases."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scripts.cases import main as cases_command
from scripts.checkpoints import sha256
from scripts.labels import REGIONS, SCHEMES
from scripts.postprocessing import region_masks
from scripts.rule_search import dice_table
from scripts.rules import Rules, read_rules
from scripts.tune_postprocessing import main as tune_command
from scripts.tune_postprocessing import validation_cases
from tiny import TINY, write_decathlon
from workflow import refused, run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labelled cases and one to segment."""
    return write_decathlon(tmp_path_factory.mktemp("data") / "Task01_Tiny", cases=8, unlabelled=1)


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A folder with ``models/fold0`` and ``models/fold1`` of one short epoch each, and their runs."""
    folder = tmp_path_factory.mktemp("folds")
    for fold in range(2):
        split = folder / f"fold{fold}.json"
        assert (
            cases_command(["--dataset_dir", str(data), "--output", str(split), "--folds", "3", "--fold", str(fold)])
            == 0
        )
        run(
            folder, "train.json", dataset_dir=str(data), datalist_file=str(split), run_name=f"fold{fold}",
            ckpt_dir=model(folder, fold), seed=fold, **TINY,
        )  # fmt: skip
    return folder


def model(folder: Path, fold: int) -> str:
    return str(folder / "models" / f"fold{fold}")


def split(folder: Path, fold: int, part: str) -> list[str]:
    about = json.loads((Path(model(folder, fold)) / "model.json").read_text())
    return sorted(entry["case"] for entry in about["datalist"][part])


def voxels(file: Path) -> np.ndarray:
    return np.asarray(nib.load(file).dataobj)


def infer(folder: Path, data: Path, out: Path, **overrides: object) -> Path:
    """Run inference.json; where the case's files are, without their endings."""
    run(folder, "inference.json", kind="infer", dataset_dir=str(data), output_dir=str(out), **overrides)
    return out / "BRATS_009"


def of(stem: Path, ending: str) -> np.ndarray:
    return voxels(stem.with_name(stem.name + ending))


def test_an_ensemble_averages_the_probabilities_of_its_members(folds: Path, data: Path, tmp_path: Path) -> None:
    ckpt_dirs = [model(folds, fold) for fold in range(2)]
    options = {"save_probabilities": True, "tta_axes": [0]}
    single = [
        of(infer(folds, data, tmp_path / str(fold), ckpt_dir=path, **options), "_prob.nii.gz")
        for fold, path in enumerate(ckpt_dirs)
    ]
    assert np.abs(single[0] - single[1]).max() > 0.01
    both = infer(folds, data, tmp_path / "both", ckpt_dir=ckpt_dirs, **options)
    mean = of(both, "_prob.nii.gz")
    np.testing.assert_allclose(mean, (single[0] + single[1]) / 2, atol=1e-5)
    assert np.array_equal((mean > 0.5).any(-1), of(both, "_seg.nii.gz") > 0)


def test_rules_and_uncertainty_agree_with_the_probabilities_written(folds: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    plain = infer(folds, data, tmp_path / "plain", ckpt_dir=model(folds, 0), save_probabilities=True)
    probabilities = torch.from_numpy(of(plain, "_prob.nii.gz")).movedim(-1, 0)
    # Half of what the first fold finds of WT lies above this.
    level = float(probabilities[1][probabilities[1] > 0.5].median())
    content = {"thresholds": {"WT": level, "TC": level, "ET": level}, "min_component_mm3": {"WT": 100.0}}
    file.write_text(json.dumps({"rules": content}))
    ruled = infer(
        folds, data, tmp_path / "ruled", ckpt_dir=model(folds, 0), postprocessing_rules=str(file), save_uncertainty=True
    )
    wanted = region_masks(probabilities, REGIONS, Rules(**content), 12.0)
    labels = of(ruled, "_seg.nii.gz")
    for mask, region in zip(wanted.numpy(), REGIONS, strict=True):
        assert np.array_equal(np.isin(labels, SCHEMES["msd"].regions[region]), mask > 0)
    assert 0 < np.count_nonzero(labels) < np.count_nonzero(of(plain, "_seg.nii.gz"))
    entropy = of(ruled, "_unc.nii.gz")
    assert entropy.dtype == np.float32 and entropy.shape == (*labels.shape, 3)
    p = probabilities.double().numpy().clip(1e-12, 1 - 1e-7)
    np.testing.assert_allclose(np.moveaxis(entropy, -1, 0), -p * np.log2(p) - (1 - p) * np.log2(1 - p), atol=1e-4)
    (row,) = csv.DictReader((tmp_path / "ruled" / "uncertainty.csv").open())
    assert row["case"] == "BRATS_009" and list(row)[1:] == [f"expected_dice_{name}" for name in (*REGIONS, "mean")]
    assert all(0 <= float(row[name]) <= 1 for name in list(row)[1:])
    assert not list((tmp_path / "ruled").glob("*_prob.nii.gz"))


def test_rules_are_tuned_on_the_validation_part_of_each_fold_and_used(
    folds: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt_dirs = [model(folds, fold) for fold in range(2)]
    for fold, path in enumerate(ckpt_dirs):
        run(folds, "train.json", "evaluate.json", ckpt_dir=path, run_name=f"fold{fold}", evaluate_on="validation",
            save_probabilities=True)  # fmt: skip
        labels = folds / "runs" / f"fold{fold}" / "validation" / "labels"
        assert sorted(file.name[:9] for file in labels.glob("*_prob.nii.gz")) == split(folds, fold, "validation")
        assert not (folds / "runs" / f"fold{fold}" / "test").exists()
        origin = json.loads((labels / "probabilities.json").read_text())
        assert origin["sha256"] == [sha256(Path(path) / "model.pt")]
        assert origin["cases"] == split(folds, fold, "validation")
        assert set(origin["settings"]) == {"inference_mode", "one_pass_ratio", "window_overlap", "tta_axes"}
    assert tune_command(["--ckpt_dir", *ckpt_dirs]) == 0
    written = [json.loads((Path(path) / "postprocessing.json").read_text()) for path in ckpt_dirs]
    assert written[0] == written[1]
    about = written[0]["tuned_on"]
    assert sorted(about["cases"]) == sorted(split(folds, 0, "validation") + split(folds, 1, "validation"))
    assert about["mean_dice"]["gain"] >= 0 and "validation cases" in capsys.readouterr().out
    scores = []
    for rules in ("none", "tuned"):
        run(folds, "train.json", "evaluate.json", ckpt_dir=ckpt_dirs[0], run_name="fold0", postprocessing_rules=rules,
            evaluate_on="validation")  # fmt: skip
        folder = folds / "runs" / "fold0" / "validation"
        rows = json.loads((folder / "cases.json").read_text())
        scores.append(np.mean([list(row["dice"].values()) for row in rows]))
    # The search cuts cases to boxes, the evaluation decides on its way to the grid: the scores are the same.
    cases = validation_cases(ckpt_dirs[0], folds / "runs" / "fold0" / "validation" / "labels", None)
    tuned = read_rules(Path(ckpt_dirs[0]) / "postprocessing.json")
    assert scores == pytest.approx([dice_table(cases, REGIONS, rules).mean() for rules in (Rules(), tuned)], abs=1e-4)
    assert scores[0] < scores[1]
    # Probabilities that are made otherwise have other rules.
    for configs, options in (
        (("train.json", "evaluate.json"), {"run_name": "fold0"}),
        (("inference.json",), {"kind": "infer", "dataset_dir": str(data), "output_dir": str(folds / "out")}),
    ):
        sentence = refused(
            folds, *configs, ckpt_dir=ckpt_dirs[0], postprocessing_rules="tuned", window_overlap=0.5, **options
        )
        assert "was tuned on probabilities made with window_overlap 0.25, but here it is window_overlap 0.5" in sentence
    # Weights that were trained since have no rules.
    about_file = Path(ckpt_dirs[1]) / "model.json"
    kept = about_file.read_text()
    about_file.write_text(json.dumps(json.loads(kept) | {"sha256": "another"}))
    assert "was tuned for other weights" in refused(
        folds, "inference.json", kind="infer", dataset_dir=str(data), output_dir="out", ckpt_dir=ckpt_dirs,
        postprocessing_rules="tuned",
    )  # fmt: skip
    about_file.write_text(kept)


def test_no_evaluation_takes_rules_that_were_tuned_on_what_it_scores(folds: Path, tmp_path: Path) -> None:
    scored = split(folds, 0, "test")[0]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"rules": {"thresholds": {"WT": 0.4}}, "tuned_on": {"cases": [scored]}}))
    sentence = refused(
        folds, "train.json", "evaluate.json", ckpt_dir=model(folds, 0), run_name="leak", postprocessing_rules=str(file)
    )
    assert f"{file}: was tuned on {scored}, which this evaluation scores" in sentence


def test_a_validation_away_from_the_training_ends_well(folds: Path) -> None:
    """Its folder has neither a training nor a test to report of."""
    run(folds, "train.json", "evaluate.json", ckpt_dir=model(folds, 0), run_name="away", evaluate_on="validation")
    assert (folds / "runs" / "away" / "validation" / "cases.json").is_file()
    assert not (folds / "runs" / "away" / "report.html").exists()


def test_no_member_has_seen_what_an_ensemble_is_scored_on(folds: Path) -> None:
    ckpt_dirs = [model(folds, fold) for fold in range(2)]
    evaluation = {"ckpt_dir": ckpt_dirs, "run_name": "together"}
    run(folds, "train.json", "evaluate.json", save_uncertainty=True, **evaluation)
    folder = folds / "runs" / "together" / "test"
    rows = json.loads((folder / "cases.json").read_text())
    assert [row["case"] for row in rows] == split(folds, 0, "test") == split(folds, 1, "test")
    assert (folder / "labels" / "uncertainty.csv").is_file()
    sentence = refused(folds, "train.json", "evaluate.json", evaluate_on="validation", **evaluation)
    assert "a member of the ensemble was trained or chosen on every patient here" in sentence
    assert "cannot be scored together on the data of their training: score each alone" in sentence
    assert "--evaluate_on test" not in sentence
    assert "give it a run_name" in refused(folds, "train.json", "evaluate.json", **evaluation | {"run_name": None})


def test_members_that_do_not_fit_are_refused(folds: Path, data: Path, tmp_path: Path) -> None:
    run(tmp_path, "train.json", dataset_dir=str(data), **(TINY | {"spacing": [3.0, 3.0, 3.0]}))
    paths = [model(folds, 0), str(tmp_path / "models")]
    sentence = refused(
        folds, "inference.json", kind="infer", dataset_dir=str(data), output_dir=str(tmp_path / "out"), ckpt_dir=paths
    )
    assert f"{paths[1]}: has another spacing than {paths[0]} ([3.0, 3.0, 3.0], not [2.0, 2.0, 2.0])" in sentence
    assert not (tmp_path / "out").exists()
