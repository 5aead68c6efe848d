"""The search finds what was planted, takes nothing that does not help, and looks at no test case."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scripts.labels import REGIONS, get_scheme, labels_to_regions
from scripts.metrics import region_dice
from scripts.postprocessing import region_masks
from scripts.rule_search import Search, TunedCase, dice_table
from scripts.rules import Rules, read_rules
from scripts.tune_postprocessing import main, table, tuned
from tiny import AFFINE, make_case, save

TC, WT, ET = range(3)


def soft(truth: torch.Tensor) -> torch.Tensor:
    return 0.1 + 0.8 * truth.float()


def cases(change: object, count: int = 3, voxel_mm3: float = 2.0) -> list[TunedCase]:
    """Cases whose probabilities are the truth, changed by ``change``."""
    made = []
    for seed in range(count):
        label = torch.from_numpy(make_case(seed)[1])[None]
        truth = labels_to_regions(label, get_scheme("msd"), dtype=torch.uint8)
        probabilities = soft(truth)
        change(seed, probabilities, truth)
        made.append(TunedCase(f"case_{seed}", probabilities, truth, voxel_mm3, f"patient_{seed}"))
    return made


def nothing(seed: int, probabilities: torch.Tensor, truth: torch.Tensor) -> None:
    """A perfect prediction."""


def timid(seed: int, probabilities: torch.Tensor, truth: torch.Tensor) -> None:
    """ET is found at 0.42 only."""
    probabilities[ET][truth[ET] > 0] = 0.42


def speck(seed: int, probabilities: torch.Tensor, truth: torch.Tensor) -> None:
    """In all cases but the third ET is a speck of 40 mm3 that is not there."""
    if seed != 2:
        truth[ET] = 0
        probabilities[ET] = 0.1
        probabilities[:, 0:5, 0:4, 0] = torch.tensor([0.1, 0.1, 0.8]).reshape(3, 1, 1)
        truth[:2, 0:5, 0:4, 0] = 1


def island(seed: int, probabilities: torch.Tensor, truth: torch.Tensor) -> None:
    """WT has an island of 200 mm3 that is not there."""
    probabilities[WT, 0:5, 0:5, 0:4] = 0.9


def test_nothing_is_taken_of_what_does_not_help() -> None:
    rules, trials = Search(cases(nothing), REGIONS).best()
    assert rules == Rules() and {trial.taken for trial in trials} == {None}
    assert len(trials) == 7 and all(max(trial.mean_dice) <= 1 for trial in trials)


def test_planted_threshold_is_found() -> None:
    rules, _ = Search(cases(timid), REGIONS).best()
    assert rules == Rules(thresholds={"ET": 0.4})
    assert dice_table(cases(timid), REGIONS, rules).min() == 1


def test_planted_speck_becomes_core() -> None:
    planted = cases(speck)
    rules, _ = Search(planted, REGIONS).best()
    # The least of the candidates above 40 mm3, with the exemption that is the milder rule.
    assert rules == Rules(min_enhancing_mm3=73.0, sure_enhancing=0.9)
    assert dice_table(planted, REGIONS, Rules())[0, ET] == 0 and dice_table(planted, REGIONS, rules)[0, ET] == 1


def test_planted_island_is_removed() -> None:
    rules, trials = Search(cases(island), REGIONS).best()
    assert rules == Rules(min_component_mm3={"WT": 250.0})
    assert [trial.taken for trial in trials if trial.rule == "min_component_mm3.WT"] == [250.0]


def test_one_region() -> None:
    planted = [
        replace(case, probabilities=case.probabilities[WT:ET], truth=case.truth[WT:ET]) for case in cases(island)
    ]
    rules, trials = Search(planted, ("WT",)).best()
    assert rules == Rules(min_component_mm3={"WT": 250.0})
    assert [trial.rule for trial in trials] == ["thresholds.WT", "min_component_mm3.WT"]


def test_what_one_case_alone_gains_is_not_taken() -> None:
    """Its gain is its standard error, whatever its size."""
    planted = [*cases(speck, count=1), *cases(nothing, count=3)[1:]]
    rules, trials = Search(planted, REGIONS).best()
    assert rules == Rules()
    (trial,) = (trial for trial in trials if trial.rule.startswith("min_enhancing_mm3"))
    assert trial.gain == pytest.approx(1 / 9) == trial.standard_error and trial.taken is None
    assert f"{'[73.0, 0.9]':>12}  +0.1111     0.1111  no" in table(tuned(planted, REGIONS, [])["tuned_on"])


def test_a_gain_of_two_cases_is_not_cross_validated() -> None:
    planted = cases(speck)
    search = Search(planted, REGIONS)
    # Without one of the two, the other is alone in gaining.
    assert search.best()[0] != Rules() and search.best(without="patient_0")[0] == Rules()
    assert np.array_equal(search.left_out(), dice_table(planted, REGIONS, Rules()))
    content = tuned(planted, REGIONS, [])["tuned_on"]["mean_dice"]
    assert content["gain"] > 0.1 and content["cross_validated_gain"] == 0


def unlike(seed: int, probabilities: torch.Tensor, truth: torch.Tensor) -> None:
    """Half of ET is found at 0.42 only; in the third case as much of the rest of the tumour is, instead."""
    inside = torch.nonzero(truth[ET]) if seed != 2 else torch.nonzero(truth[WT] - truth[ET])
    part = inside[: int(truth[ET].sum()) // 2]
    probabilities[ET][part.unbind(1)] = 0.42


def test_a_gain_that_cases_do_not_share_is_not_taken() -> None:
    rules, trials = Search(cases(unlike), REGIONS).best()
    (trial,) = (trial for trial in trials if trial.rule == "thresholds.ET")
    assert trial.values[np.argmax(trial.mean_dice)] == 0.4 and 0 < trial.gain < trial.standard_error
    assert rules == Rules() and trial.taken is None
    assert Search(cases(unlike), REGIONS).best(errors=0)[0].thresholds == {"ET": 0.4}


def test_a_gain_that_all_cases_share_is_cross_validated() -> None:
    about = tuned(cases(timid), REGIONS, [])["tuned_on"]
    assert about["mean_dice"]["cross_validated_gain"] == pytest.approx(about["mean_dice"]["gain"])
    assert f"of the others, {about['mean_dice']['gain']:+.4f}" in table(about)


def test_of_one_or_two_patients_nothing_is_cross_validated() -> None:
    alone = tuned(cases(timid, count=1), REGIONS, [])
    assert Rules(**alone["rules"]) == Rules() and "unknown  no" in table(alone["tuned_on"])
    assert Search(cases(timid, count=1), REGIONS).best(errors=0)[0] == Rules(thresholds={"ET": 0.4})
    two = tuned(cases(timid, count=2), REGIONS, [])
    assert Rules(**two["rules"]) == Rules(thresholds={"ET": 0.4})
    for content in (alone, two):
        assert content["tuned_on"]["mean_dice"]["cross_validated_gain"] is None
        assert "not known of fewer than three" in table(content["tuned_on"])


def test_the_cases_of_a_patient_are_one_vote() -> None:
    """Three scans of a patient with the speck, and three patients without: what one patient alone gains."""
    of_one = [replace(case, patient="patient_0") for case in cases(speck, count=2)]
    planted = [*of_one, *cases(nothing, count=5)[2:]]
    assert Search(planted, REGIONS).best()[0] == Rules()
    apart = [replace(case, patient=case.name) for case in planted]
    assert Search(apart, REGIONS).best()[0].min_enhancing_mm3 == 73
    search = Search([*of_one, *cases(speck, count=1), *cases(nothing, count=5)[2:]], REGIONS)
    assert search.patients == ["patient_0", "patient_2", "patient_3", "patient_4"]
    assert search.means(Rules(), without="patient_0").tolist() == [1, 1, 1]


def test_a_steady_value_is_taken_before_a_better_one_that_a_single_case_makes() -> None:
    """At 0.42 a few voxels of every case are found; at 0.37 half of one's ET, and in the others what is none."""

    def mixed(seed: int, probabilities: torch.Tensor, truth: torch.Tensor) -> None:
        voxels = torch.nonzero(truth[ET])
        probabilities[ET][voxels[:3].unbind(1)] = 0.42
        part = voxels[3 : len(voxels) // 2] if seed == 0 else torch.nonzero(truth[WT] - truth[ET])[:4]
        probabilities[ET][part.unbind(1)] = 0.37

    planted = cases(mixed, count=6)
    rules, trials = Search(planted, REGIONS).best()
    (trial,) = (trial for trial in trials if trial.rule == "thresholds.ET")
    assert trial.values[np.argmax(trial.mean_dice)] == 0.35
    assert rules == Rules(thresholds={"ET": 0.4}) and trial.taken == 0.4
    (line,) = (line for line in table(tuned(planted, REGIONS, [])["tuned_on"]).splitlines() if "thresholds.ET" in line)
    assert line.split() == ["thresholds.ET", "0.4", f"{trial.gain:+.4f}", f"{trial.standard_error:.4f}", "yes"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's folder with a split of 2, 2 and 1 cases, whose timid predictions of the validation part are written."""
    entries = []
    for index in range(5):
        name = f"BRATS_{index:03d}"
        save(make_case(index)[1], tmp_path / "data" / f"{name}.nii.gz")
        entries.append({"case": name, "patient": name, "image": f"{name}.nii.gz", "label": f"{name}.nii.gz"})
    split = {"dataset_dir": str(tmp_path / "data"), "label_scheme": "msd"}
    split |= {"training": entries[:2], "validation": entries[2:4], "test": entries[4:]}
    recipe = {"regions": list(REGIONS)}
    about = {"datalist": split, "recipe": recipe, "sha256": "abc", "run_dir": str(tmp_path / "run")}
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(about))
    for index in (2, 3):
        write(tmp_path, index)
    return folder


def write(tmp_path: Path, index: int, run: str = "run") -> None:
    probabilities, truth = prediction(index)
    file = tmp_path / run / "validation" / "labels" / f"BRATS_{index:03d}_prob.nii.gz"
    save(probabilities.movedim(0, -1).numpy().astype(np.float32), file)
    note(file.parent)


def note(folder: Path, **changes: object) -> None:
    """What an evaluation writes beside its probabilities."""
    cases = sorted(file.name.removesuffix("_prob.nii.gz") for file in folder.glob("*_prob.nii.gz"))
    origin = {"sha256": ["abc"], "cases": cases, "settings": {"tta_axes": []}}
    (folder / "probabilities.json").write_text(json.dumps(origin | changes))


def prediction(index: int) -> tuple[torch.Tensor, torch.Tensor]:
    truth = labels_to_regions(torch.from_numpy(make_case(index)[1])[None], get_scheme("msd"), dtype=torch.uint8)
    probabilities = soft(truth)
    timid(0, probabilities, truth)
    return probabilities, truth


def test_command_writes_the_rules_beside_the_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--ckpt_dir", str(model)]) == 0
    content = json.loads((model / "postprocessing.json").read_text())
    assert read_rules(model / "postprocessing.json", REGIONS, "abc") == Rules({"ET": 0.4})
    about = content["tuned_on"]
    assert about["cases"] == ["BRATS_002", "BRATS_003"] and about["part"] == "validation"
    assert (about["better_cases"], about["worse_cases"]) == (2, 0)
    # The cases are cut to a box for the search; the scores are those of the whole volumes.
    whole = []
    for index in (2, 3):
        probabilities, truth = prediction(index)
        masks = [region_masks(probabilities, REGIONS, rules, 12.0) for rules in (Rules(), Rules({"ET": 0.4}))]
        whole.append([float(region_dice(each[None], truth[None]).mean()) for each in masks])
    before, after = np.mean(whole, axis=0)
    assert about["mean_dice"]["before"] == pytest.approx(before) and about["mean_dice"]["after"] == pytest.approx(after)
    assert "2 cases better, 0 worse" in capsys.readouterr().out


@pytest.mark.parametrize("index", [0, 4])
def test_training_and_test_cases_are_refused(
    model: Path, tmp_path: Path, index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, index)
    assert main(["--ckpt_dir", str(model)]) == 1
    assert f"holds predictions of BRATS_{index:03d}, which" in capsys.readouterr().err
    assert not (model / "postprocessing.json").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": ["older"]}, "were made by other weights than the model's; run evaluate.json"),
        ({"sha256": ["abc", "other"]}, "were made by other weights than the model's"),
        ({"cases": ["BRATS_002"]}, "does not tell of BRATS_003, whose probabilities are older"),
        ({"settings": None}, "is no note with sha256, cases, settings"),
    ],
)
def test_probabilities_of_other_weights_are_refused(
    model: Path, tmp_path: Path, changes: dict[str, object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    note(tmp_path / "run" / "validation" / "labels", **changes)
    assert main(["--ckpt_dir", str(model)]) == 1
    assert words in capsys.readouterr().err
    assert not (model / "postprocessing.json").exists()


def test_probabilities_of_unknown_origin_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "validation" / "labels" / "probabilities.json").unlink()
    assert main(["--ckpt_dir", str(model)]) == 1
    assert "what made the probabilities beside it is not known" in capsys.readouterr().err


def test_members_that_were_predicted_otherwise_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    flipped = shutil.copytree(tmp_path / "run" / "validation" / "labels", tmp_path / "flipped")
    plain = str(tmp_path / "run" / "validation" / "labels")
    note(flipped, settings={"tta_axes": [0]})
    assert main(["--ckpt_dir", str(model), str(other), "--prediction_dir", plain, str(flipped)]) == 1
    assert f"{flipped}: was predicted with {{'tta_axes': [0]}}, but {plain} with" in capsys.readouterr().err
    assert main(["--ckpt_dir", str(model), "--prediction_dir", str(flipped)]) == 0
    content = json.loads((model / "postprocessing.json").read_text())
    assert content["tuned_on"]["settings"] == {"tta_axes": [0]}


@pytest.mark.parametrize("which", ["prediction", "truth"])
def test_damaged_files_are_one_sentence(
    model: Path, tmp_path: Path, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prediction_file = tmp_path / "run" / "validation" / "labels" / "BRATS_003_prob.nii.gz"
    file = prediction_file if which == "prediction" else tmp_path / "data" / "BRATS_003.nii.gz"
    file.write_bytes(file.read_bytes()[:-200])
    assert main(["--ckpt_dir", str(model)]) == 1
    assert f"{file}: cannot be read" in capsys.readouterr().err


def test_a_truth_with_a_fourth_axis_of_one(model: Path, tmp_path: Path) -> None:
    save(make_case(3)[1][..., None], tmp_path / "data" / "BRATS_003.nii.gz")
    assert main(["--ckpt_dir", str(model)]) == 0
    assert read_rules(model / "postprocessing.json", REGIONS, "abc") == Rules({"ET": 0.4})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda values: 10 * values - 5, "its values are from -4 to 4"),
        (lambda values: np.where(values > 0.5, np.nan, values), "1020 of its 40320 values are NaN"),
        (lambda values: np.where(values > 0.5, np.inf, values), "its values are from 0.1 to inf"),
        (lambda values: values * 100, "its values are from 10 to 90"),
    ],
)
def test_what_are_no_probabilities_are_refused(
    model: Path,
    tmp_path: Path,
    change: Callable[[np.ndarray], np.ndarray],
    found: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "run" / "validation" / "labels" / "BRATS_003_prob.nii.gz"
    save(change(np.asarray(nib.load(file).dataobj)).astype(np.float32), file)
    assert main(["--ckpt_dir", str(model)]) == 1
    error = capsys.readouterr().err
    assert f"{file}: " in error and f"{found}, but probabilities are from 0 to 1; predict the case anew" in error
    assert error.count("\n") == 1
    assert not (model / "postprocessing.json").exists()


def test_rounding_beyond_1_is_a_probability(model: Path, tmp_path: Path) -> None:
    """As interpolation leaves it."""
    file = tmp_path / "run" / "validation" / "labels" / "BRATS_003_prob.nii.gz"
    values = np.asarray(nib.load(file).dataobj)
    save(np.where(values > 0.5, np.nextafter(np.float32(1), np.float32(2)), values), file)
    assert main(["--ckpt_dir", str(model)]) == 0


def test_truths_that_are_no_label_maps_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(make_case(3)[1] * np.float32(0.75), tmp_path / "data" / "BRATS_003.nii.gz")
    assert main(["--ckpt_dir", str(model)]) == 1
    assert "a label map holds whole numbers, but here is" in capsys.readouterr().err


def test_probabilities_are_looked_for_where_an_evaluation_writes_them_on_another_machine(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "run").rename(tmp_path / "here" / "run")
    assert main(["--ckpt_dir", str(model)]) == 1
    assert "or name the folder with --prediction_dir" in capsys.readouterr().err
    assert main(["--ckpt_dir", str(model), "--output_dir", str(tmp_path / "here")]) == 0
    assert (model / "postprocessing.json").is_file()


def test_cases_that_another_member_is_tested_on_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folds as test parts: what the one is validated on is the other's test part."""
    about = json.loads((model / "model.json").read_text())
    split = about["datalist"]
    crossed = split | {"validation": split["test"], "test": split["validation"][:1]}
    other = tmp_path / "other"
    other.mkdir()
    changed = about | {"datalist": crossed, "run_dir": str(tmp_path / "run2")}
    (other / "model.json").write_text(json.dumps(changed))
    (tmp_path / "run2").mkdir()
    write(tmp_path, 4, "run2")
    assert main(["--ckpt_dir", str(model), str(other)]) == 1
    assert f"{model}: BRATS_004 are in its test part, but another model was validated" in capsys.readouterr().err
    assert not (model / "postprocessing.json").exists() and not (other / "postprocessing.json").exists()
    assert main(["--ckpt_dir", str(other)]) == 0


def test_absent_and_misfitting_predictions_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run" / "validation" / "labels"
    save(np.zeros((24, 28, 20, 3), np.float32), folder / "BRATS_003_prob.nii.gz", np.abs(AFFINE))
    assert main(["--ckpt_dir", str(model)]) == 1
    assert "another grid or number of regions" in capsys.readouterr().err
    (folder / "BRATS_003_prob.nii.gz").unlink()
    assert main(["--ckpt_dir", str(model)]) == 1
    assert "has no probabilities of validation case BRATS_003; run evaluate.json" in capsys.readouterr().err
    assert main(["--ckpt_dir", str(model), "--prediction_dir", "a", "b"]) == 1
    assert "2 prediction_dir were given for 1 ckpt_dir" in capsys.readouterr().err
