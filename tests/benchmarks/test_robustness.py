"""benchmarks/robustness.py and its like: what is done to a case, and runs over the weights that another left."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scripts.errors import InputError
from scripts.files import write_json
from scripts.rule_search import Search, dice_table
from scripts.rules import Rules, load_rules
from scripts.tune_postprocessing import read_case
from tiny import TINY, write_brats_folders

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

choices, clock, ensemble, folds, kept_results, kept_runs, perturbations, robustness = (
    importlib.import_module(name)
    for name in (
        "inference_choices", "accuracy_clock", "ensemble", "accuracy_folds", "kept_results", "kept_runs",
        "perturbations", "robustness",
    )
)  # fmt: skip
runs, scoring, sides, tuned_rules, uncertainty = (
    importlib.import_module(name)
    for name in ("accuracy_run", "accuracy_scores", "accuracy_sides", "tuned_rules", "uncertainty")
)
SMALL = {name: value for name, value in TINY.items() if name not in ("epochs", "val_interval")}
EPOCHS = 20
AFFINE = np.array([[-2.0, 0, 0, 90], [0, -2, 0, 126], [0, 0, 2, -72], [0, 0, 0, 1]])


def head(noise: float = 0.0) -> np.ndarray:
    """A ball of signal in air, four modalities, without edges inside."""
    grid = np.indices((30, 34, 26)) - np.array([15, 17, 13]).reshape(3, 1, 1, 1)
    ball = np.square(grid).sum(axis=0) < 12**2
    levels = np.array([400.0, 500, 600, 700], np.float32)
    drawn = np.random.default_rng(0).normal(0, noise, (*ball.shape, 4)) if noise else 0
    return (ball[..., None] * (levels + drawn)).astype(np.float32)


def test_a_missing_modality_is_blank_and_the_others_stay() -> None:
    image = head()
    changed, affine = perturbations.without(2)(image, AFFINE, 0)
    assert not changed[..., 2].any() and (changed[..., [0, 1, 3]] == image[..., [0, 1, 3]]).all()
    assert (affine == AFFINE).all() and image[..., 2].any()


def test_noise_is_measured_and_trebled() -> None:
    image = head(noise=8)
    brain = perturbations.brain_of(image)
    assert perturbations.noise_level(image[..., 0], brain) == pytest.approx(8, rel=0.1)
    changed, _ = perturbations.noisier(image, AFFINE, 1)
    for channel in range(4):
        assert perturbations.noise_level(changed[..., channel], brain) == pytest.approx(24, rel=0.1)
    assert (perturbations.brain_of(changed) == brain).all()
    again, _ = perturbations.noisier(image, AFFINE, 1)
    assert (changed == again).all() and (changed != perturbations.noisier(image, AFFINE, 2)[0]).any()


def test_a_bias_field_is_smooth_and_leaves_air() -> None:
    image = head()
    changed, _ = perturbations.biased(image, AFFINE, 3)
    brain = perturbations.brain_of(image)
    assert (perturbations.brain_of(changed) == brain).all()
    field = np.log(changed[..., 0][brain] / image[..., 0][brain])
    assert field.std() > 0.05
    steps = np.abs(np.diff(np.log(np.maximum(changed[..., 0], 1)), axis=0))[brain[1:] & brain[:-1]]
    assert steps.max() < 0.3


def test_another_orientation_is_the_same_scan_in_millimetres() -> None:
    image = np.random.default_rng(0).random((5, 6, 7, 4)).astype(np.float32)
    changed, affine = perturbations.reoriented(image, AFFINE, 0)
    assert changed.shape == (7, 5, 6, 4)
    there = nib.as_closest_canonical(nib.Nifti1Image(image, AFFINE))
    here = nib.as_closest_canonical(nib.Nifti1Image(changed, affine))
    assert np.allclose(there.affine, here.affine) and (there.get_fdata() == here.get_fdata()).all()


def test_a_modality_goes_by_the_name_that_the_data_give_it() -> None:
    assert [one.name for one in perturbations.perturbations(("b0", "ADC"))][:3] == ["no b0", "no ADC", "3x noise"]


def test_a_case_of_a_file_a_modality_is_changed_too(tmp_path: Path) -> None:
    fold = folds.make_fold(write_brats_folders(tmp_path / "data"), 0)
    change = perturbations.perturbations(fold.modalities)[1]
    (item, *_), (changed, *_) = fold.test, robustness.changed_cases(fold.test, change, tmp_path / "changed")
    image, before = np.asarray(nib.load(changed["image"]).dataobj), [nib.load(file) for file in item["image"]]
    assert change.name == "no T1w" and not image[..., 1].any()
    for channel in (0, 2, 3):
        assert (image[..., channel] == np.asarray(before[channel].dataobj)).all() and image[..., channel].any()
    assert (nib.load(changed["image"]).affine == before[0].affine).all()


@dataclass(frozen=True)
class Kept:
    """What benchmarks/accuracy.py leaves of a run, and the data that it was trained with."""

    run: Any
    data: Path
    folder: Path

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self.run.result_file(self.folder).read_text("utf-8"))

    def judge(self, script: Any, **options: Any) -> dict[str, Any]:
        """What a script makes of it."""
        find = functools.partial(script.find, **options)
        kept_runs.judge(script.__name__, self.run, self.data, self.folder, self.folder, find)
        return json.loads((self.folder / script.__name__ / f"{self.run.name}.json").read_text("utf-8"))


def keep(run: Any, data: Path, folder: Path, budget_s: float, epochs: int) -> Kept:
    """Train a number of epochs and not of minutes, so that the weights are the same however busy the machine is."""
    fold = folds.make_fold(data, run.fold)
    side = sides.make_side(run.side, fold, folder / run.kind / run.name, run.configs, run.knobs)
    side.prepare()
    watch = clock.TrainingClock(budget_s, lambda _: None)
    watch.epochs_that_fit = lambda done: epochs
    side.train(watch, epochs)
    side.save()
    side.apply(fold.test, folder / "predictions", full=True)
    dice = scoring.scores(fold.test, folder / "predictions", fold.label_scheme)
    write_json(run.result_file(folder), runs.about(run, side, fold) | side.about() | {"dice": dice})
    return Kept(run, data, folder)


@pytest.fixture(scope="module")
def kept(tiny_decathlon: Path, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A small network that finds the tumour."""
    run = runs.Run("ours", 40, 1, variant="small", knobs=SMALL)
    return keep(run, tiny_decathlon, tmp_path_factory.mktemp("kept"), 1e9, EPOCHS)


def test_kept_weights_are_scored_under_every_perturbation(kept: Kept) -> None:
    result = kept.judge(robustness)
    changes = perturbations.perturbations(("FLAIR", "T1w", "T1gd", "T2w"))
    assert list(result["dice"]) == [robustness.PLAIN, *(one.name for one in changes)]
    plain = result["dice"].pop(robustness.PLAIN)
    assert plain == kept.result["dice"] and scoring.mean_dice(plain) > 0.3
    turned = result["dice"].pop("other orientation")
    for case, dice in turned.items():
        # The network gets the very same volume, but for what rounding in another order of axes changes.
        assert dice == pytest.approx(plain[case], abs=0.02)
    # Whatever else is done to a case moves its Dice.
    assert all(dice != plain for dice in result["dice"].values())
    printed = robustness.text(kept.folder / "robustness", 40).splitlines()
    assert printed[2:4] == ["| | small | its loss |", "| --- | --- | --- |"]
    assert [line.split(" | ")[0] for line in printed[4:]] == [
        f"| {name}" for name in (robustness.PLAIN, *(one.name for one in changes))
    ]
    assert f"| as it is | {scoring.mean_dice(plain):.3f} (n 2) | |" in printed


def test_every_choice_of_inference_is_compared_with_the_default(kept: Kept) -> None:
    result = kept.judge(choices)["ways"]
    assert list(result) == [choices.DEFAULT, *list(choices.WAYS)[1:], *choices.RULES]
    assert result[choices.DEFAULT]["dice"] == kept.result["dice"]
    assert result["flips"]["dice"] != kept.result["dice"]
    files = [
        knobs["postprocessing_rules"] for name, knobs in choices.ways(kept.folder).items() if name in choices.RULES
    ]
    rules = [load_rules(file, []) for file in files]
    assert [one.min_enhancing_mm3 for one in rules] == [200, 0] and rules[1].min_component_mm3["WT"] == 100
    printed = choices.text(kept.folder / choices.CHOICES, 40).splitlines()
    assert printed[4].startswith("| default | ") and "| 0 of 2 | " in printed[4] and printed[4].endswith("| | | | | |")
    assert [line.split(" | ")[0] for line in printed[4:]] == [f"| {name}" for name in result]
    assert all(line.count("| +") + line.count("| -") == 5 for line in printed[5:])


def test_a_case_as_published_is_scored_in_its_own_ids(kept: Kept, tmp_path: Path) -> None:
    """Here the published files hold the same voxels, so the Dice is the same."""
    case = kept.result["test"][0]
    patients = write_brats_folders(tmp_path / "fine", cases=8)
    # BRATS_001 is the first.
    result = kept.judge(robustness, fine={case: patients / f"BraTS2021_{int(case[-3:]) - 1:05d}"})
    assert list(result["dice"][robustness.FINE]) == [case]
    assert result["dice"][robustness.FINE][case] == pytest.approx(kept.result["dice"][case], abs=1e-6)


def test_probabilities_are_judged_with_and_without_flips(kept: Kept) -> None:
    result = kept.judge(uncertainty)
    assert result["plain"]["dice"] == kept.result["dice"] != result["flips"]["dice"]
    for way in ("plain", "flips"):
        voxels, probability, positive = result[way]["reliability"][kept.result["test"][0]]["WT"]
        assert sum(voxels) > sum(positive) > 0 and sum(voxels) >= sum(probability) > 0
    printed = uncertainty.text(kept.folder / "uncertainty", 40)
    ranked = next(line for line in printed.splitlines() if line.startswith("| flips | 2 | "))
    assert ranked.endswith("(1.00) |")  # of two cases, both orders are as likely
    cases = [result["plain"]["reliability"][case]["WT"] for case in kept.result["test"]]
    voxels, probability, positive = np.sum(cases, axis=0)
    errors = [np.abs(probability - positive).sum() / voxels.sum(), positive.sum() / voxels.sum()]
    whole = next(line for line in printed.splitlines() if line.startswith("| plain | WT | ")).split(" | ")
    assert [whole[2], whole[5].rstrip(" |")] == [f"{error:.3f}" for error in errors]


def test_a_judgement_of_former_weights_makes_no_table(kept: Kept, tmp_path: Path) -> None:
    kept.judge(robustness)
    copy = Path(shutil.copytree(kept.folder, tmp_path / "copy"))
    (copy / "accuracy").mkdir(exist_ok=True)
    now = kept.result | {"weights_sha256": "0" * 64}
    (copy / "accuracy" / f"{kept.run.name}.json").write_text(json.dumps(now), encoding="utf-8")
    with pytest.raises(InputError, match="is of other weights than .* has now; run benchmarks/robustness.py run again"):
        robustness.text(copy / "robustness", 40)


def test_weights_of_a_training_that_has_not_ended_are_refused(kept: Kept, tmp_path: Path) -> None:
    """Snapshots are saved to the same file from the first on."""
    copy = Kept(kept.run, kept.data, Path(shutil.copytree(kept.folder, tmp_path / "copy")))
    weights = copy.folder / kept.run.kind / kept.run.name / "models/model.pt"
    weights.write_bytes(weights.read_bytes() + b"0")
    for script in (robustness, uncertainty):
        with pytest.raises(InputError, match="holds other weights than"):
            copy.judge(script)
    kept.run.result_file(copy.folder).unlink()
    with pytest.raises(InputError, match="this run has not ended"):
        copy.judge(robustness)
    other = Kept(dataclasses.replace(kept.run, knobs={**SMALL, "tta_axes": [0]}), kept.data, kept.folder)
    with pytest.raises(InputError, match="is of another recipe"):
        other.judge(robustness)


def test_a_variant_is_judged_by_the_overrides_that_its_result_notes(kept: Kept, tmp_path: Path) -> None:
    named = runs.Run("ours", 40, 1, "small")
    assert kept_results.restored(named, kept.folder) == kept.run != named
    copy = Path(shutil.copytree(kept.folder, tmp_path / "copy"))
    for name, place in (("augment.json", "recipe/augment.json"), ("full.json", "full.json")):
        write_json(kept.run.result_file(copy), kept.result | {"configs": [name]})
        assert kept_results.restored(named, copy).configs == (BENCHMARKS.parent / "bundle/configs" / place,)
    write_json(kept.run.result_file(copy), kept.result | {"configs": ["gone.json"]})
    with pytest.raises(InputError, match=r"small-40min-fold1.json: was trained with gone.json, of which .* has 0"):
        kept_results.restored(named, copy)


def test_rules_for_a_fold_are_tuned_on_the_others(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(kept.folder, tmp_path / "kept"))
    asked = ["run", "--minutes", "40", "--side", "ours", "--variant", "small", "--results_dir", str(folder)]
    asked += ["--work_dir", str(folder), "--dataset_dir", str(kept.data)]
    assert tuned_rules.main(asked) == 1
    assert "holds no two folds of ours of 40 minutes, variant small" in capsys.readouterr().err
    other = keep(dataclasses.replace(kept.run, fold=0), kept.data, folder, 1e9, EPOCHS)
    assert tuned_rules.main([*asked, "--fold", "0"]) == 1
    assert tuned_rules.main(asked) == 0
    made = [json.loads((folder / f"tuned_rules/small-40min-fold{fold}.json").read_text("utf-8")) for fold in (0, 1)]
    for result, own, others in ((made[0], other, kept), (made[1], kept, other)):
        assert result["tuned_on"] == others.result["test"] != own.result["test"]
        assert result["ways"]["default"]["dice"] == own.result["dice"]
    regions, scheme = ("TC", "WT", "ET"), folds.make_fold(kept.data, 1).label_scheme
    parts = [folds.make_fold(kept.data, fold).test for fold in (0, 1)]
    labels = [folder / f"tuned_rules/small-40min-fold{fold}/probabilities" for fold in (0, 1)]
    cases = [[read_case(item, labels[fold], scheme, regions) for item in part] for fold, part in enumerate(parts)]
    for way, errors in tuned_rules.WAYS.items():
        rules, _ = Search(cases[0], regions).best(errors=errors)
        assert Rules(**made[1]["rules"][way]) == rules
        by_rules = dict(zip(kept.result["test"], dice_table(cases[1], regions, rules).tolist(), strict=True))
        for case, dice in made[1]["ways"][way]["dice"].items():
            assert [dice[region] for region in regions] == pytest.approx(by_rules[case], abs=1e-6)
    printed = tuned_rules.text(folder / "tuned_rules", 40).splitlines()
    assert printed[0].startswith("Dice of small after 40 CPU minutes of training, 5 folds") and printed[5].startswith(
        "| rules tuned on the"
    )
    assert printed[-1] == f"- small, fold 1: {tuned_rules.in_words(made[1]['rules'][tuned_rules.TUNED])}"


def test_rules_of_other_folds_than_there_are_make_no_table(tmp_path: Path) -> None:
    judged(tmp_path, 0, ways={"default": {"dice": {"a": {}}}}, tuned_on=["b", "c"])
    judged(tmp_path, 1, ways={"default": {"dice": {"b": {}}}}, tuned_on=["a"])
    with pytest.raises(InputError, match="the rules of ours, fold 0, were tuned on 2 cases, but the other folds there"):
        tuned_rules.text(tmp_path, 40)


def judged(folder: Path, fold: int, folds_in_all: int = 5, variant: str = "ours", **more: Any) -> None:
    """What a judge keeps of a run, as far as tables need it."""
    about = {"side": "ours", "variant": variant, "minutes": 40, "fold": fold, "folds": folds_in_all, "device": "cpu"}
    digests = {"recipe_sha256": variant, "cases_sha256": "c", "weights_sha256": "w", "empty_regions": {}}
    write_json(folder / f"{variant}-{fold}of{folds_in_all}.json", about | digests | more)


def alike(value: float) -> dict[str, float]:
    return dict.fromkeys(("TC", "WT", "ET"), value)


def test_changes_are_paired_with_the_same_change_of_the_other_recipe(tmp_path: Path) -> None:
    for variant, plain, changed in (("ours", 0.8, 0.7), ("ema", 0.6, 0.3)):
        dice = {"as it is": {"a": alike(plain)}, "no T1w": {"a": alike(changed)}}
        judged(tmp_path, 0, variant=variant, dice=dice, empty_regions={"a": []})
    judged(tmp_path, 0, 2, dice={"as it is": {"z": alike(0)}}, empty_regions={"z": []})
    printed = robustness.text(tmp_path, 40).splitlines()
    assert printed[2] == "| | ours | its loss | ema | its loss | ours less ema |"
    assert printed[4] == "| as it is | 0.800 (n 1) | | 0.600 (n 1) | | +0.200 (n 1) |"
    assert printed[5] == "| no T1w | 0.700 (n 1) | 0.100 | 0.300 (n 1) | 0.300 | +0.400 (n 1) |"
    assert "| as it is | 0.000 (n 1) | |" in robustness.text(tmp_path, 40, 2)
    with pytest.raises(InputError, match="holds no result of 40 minutes in 3 folds"):
        robustness.text(tmp_path, 40, 3)


def test_an_ensemble_of_members_that_were_trained_anew_makes_no_table(tmp_path: Path) -> None:
    folder, weights = tmp_path / "ensemble", {"seed43": "old", "seed44": "w"}
    scored = {"alone": {name: {"a": alike(0.5)} for name in weights}, "together": {"a": alike(0.6)}}
    judged(folder, 0, 2, "seed43+seed44", weights_sha256=weights, empty_regions={"a": []}, **scored)
    for name in weights:
        run = runs.Run("ours", 40, 0, name, folds=2).result_file(tmp_path)
        write_json(run, {"weights_sha256": weights[name]})
    assert "| together less the mean | +0.100 |" in ensemble.text(folder, 40, 2)
    write_json(runs.Run("ours", 40, 0, "seed43", folds=2).result_file(tmp_path), {"weights_sha256": "new"})
    with pytest.raises(InputError, match=r"is of other weights than .*seed43-40min-fold0of2.json has now"):
        ensemble.text(folder, 40, 2)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--fold", "9"], "--fold 9: there are 5 folds, from 0 to 4."),
        (["--folds", "1"], "--folds 1: at least 2 are wanted"),
        (
            ["--variant", "nosuch", "--fold", "3"],
            "no trained run of nosuch, nnunet-nosuch, published-nosuch, 40 minutes, fold 3 of 5",
        ),
    ],
)
def test_what_was_not_run_is_named(
    asked: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert robustness.main(["run", "--minutes", "40", "--results_dir", str(tmp_path), *asked]) == 1
    assert words in capsys.readouterr().err


def test_rules_are_told_without_those_that_do_nothing() -> None:
    assert tuned_rules.in_words(asdict(Rules())) == "none"
    rules = Rules({"WT": 0.4}, {"TC": 16.0}, min_enhancing_mm3=73.0, sure_enhancing=0.9)
    assert tuned_rules.in_words(asdict(rules)) == (
        "WT above 0.4, less than 73 mm3 of ET are core unless its mean probability is 0.9 or more, "
        "TC components of 16 mm3 or more"
    )


def test_an_ensemble_is_the_mean_of_its_members_probabilities(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(kept.folder, tmp_path / "kept"))
    keep(dataclasses.replace(kept.run, variant="seed7", knobs=SMALL | {"seed": 7}), kept.data, folder, 1e9, EPOCHS)
    asked = ["run", "--minutes", "40", "--fold", "1", "--results_dir", str(folder), "--work_dir", str(folder)]
    asked += ["--dataset_dir", str(kept.data), "--members", "small"]
    assert ensemble.main(asked) == 1 and "two or more are wanted" in capsys.readouterr().err
    assert ensemble.main([*asked, "seed7"]) == 0
    result = json.loads((folder / "ensemble/small+seed7-40min-fold1.json").read_text("utf-8"))
    assert result["alone"]["small"] == kept.result["dice"] != result["alone"]["seed7"]
    fold = folds.make_fold(kept.data, 1)
    members = [kept_results.restored(runs.Run("ours", 40, 1, name), folder) for name in ("small", "seed7")]
    for run in members:
        knobs = {**run.knobs, "save_probabilities": True}
        sides.make_side("ours", fold, folder / run.kind / run.name, (), knobs).apply(
            fold.test, tmp_path / run.variant, full=True
        )
    for item in fold.test:
        case, truth = item["case"], np.asarray(nib.load(item["label"]).dataobj)
        files = [nib.load(tmp_path / run.variant / f"{case}_prob.nii.gz") for run in members]
        whole = np.mean([np.asarray(file.dataobj) for file in files], axis=0)[..., 1] > 0.5
        dice = 2 * (whole & (truth > 0)).sum() / (whole.sum() + (truth > 0).sum())
        # A voxel of a smaller region belongs to WT too, whatever its probability of WT.
        assert result["together"][case]["WT"] == pytest.approx(dice, abs=0.02)
    printed = ensemble.text(folder / "ensemble", 40).splitlines()
    assert [line.split(" | ")[0].lstrip("| ") for line in printed[4:]] == [
        "small", "seed7", "mean of the members", "all 2 together", "together less the mean",
    ]  # fmt: skip


def test_every_run_that_has_ended_is_judged_once(
    tiny_decathlon: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By the command lines; the network is the recipe's own, of a single step."""
    kept = keep(runs.Run("ours", 40, 1), tiny_decathlon, tmp_path, 0, 1)
    places = ["--minutes", "40", "--results_dir", str(tmp_path)]
    work = ["--dataset_dir", str(tiny_decathlon), "--work_dir", str(tmp_path)]
    for script in (robustness, uncertainty):
        for _ in range(2):
            assert script.main(["run", *places, *work]) == 0
            (file,) = (tmp_path / script.__name__).glob("*.json")
            made = json.loads(file.read_text("utf-8"))
            assert made["weights_sha256"] == kept.result["weights_sha256"]
            # What is there is not made anew.
            file.write_text(json.dumps(made | {"machine": "marked"}), encoding="utf-8")
        assert made["machine"] == "marked"
        assert script.main(["table", *places]) == 0
        assert script.main(["run", "--minutes", "50", *places[2:], *work]) == 1
        assert "50 minutes, fold 0 1 2 3 4 of 5; run benchmarks/accuracy.py" in capfd.readouterr().err
