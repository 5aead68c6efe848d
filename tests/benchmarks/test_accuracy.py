"""benchmarks/accuracy.py: folds that keep patients apart, a clock that leaves out what it should, runs and tables."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from scripts import bootstrap
from scripts.engine import RegionBatch
from scripts.errors import InputError
from scripts.learning_rate import scheduler
from tiny import TINY, make_case, save, write_brats_folders, write_decathlon

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

accuracy, bundle, changes, clock, device, folds, identity, nnunet, runs, scoring, sides, statistics, table = (
    importlib.import_module(f"accuracy{name}")
    for name in (
        "", "_bundle", "_changes", "_clock", "_device", "_folds", "_identity", "_nnunet", "_run", "_scores", "_sides",
        "_statistics", "_table",
    )
)  # fmt: skip
SMALL = {name: value for name, value in TINY.items() if name not in ("epochs", "val_interval")}
MINUTES = 0.03


class Watch:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_each_patient_is_tested_once_and_never_trained_on_in_that_fold(tmp_path: Path) -> None:
    """Also a patient with two scans."""
    data = write_brats_folders(tmp_path / "data", cases=6, style="2023")
    first, second = "BraTS-GLI-00002-000", "BraTS-GLI-00002-001"
    shutil.copytree(data / first, data / second)
    for file in (data / second).iterdir():
        file.rename(file.with_name(file.name.replace(first, second)))
    made = [folds.make_fold(data, number) for number in range(folds.FOLDS)]
    tested = [item["patient"] for fold in made for item in fold.test]
    assert len(tested) == 7 and len(set(tested)) == 6
    for fold in made:
        patients = [{item["patient"] for item in part} for part in (fold.training, fold.test)]
        assert not patients[0] & patients[1] and len(patients[0] | patients[1]) == 6
        assert len({item["case"] for item in (*fold.training, *fold.test)}) == 7
    assert [item["case"] for item in folds.make_fold(data, 3).test] == [item["case"] for item in made[3].test]


def test_the_clock_counts_steps_and_nothing_else() -> None:
    watch, seen = Watch(), []

    def score(used_s: float) -> None:
        seen.append(used_s)
        watch.seconds += 1000

    running = clock.TrainingClock(16, score, snapshots=(1 / 8, 1 / 4, 1 / 2), now=watch)
    watch.seconds += 50  # preparation
    running.start()
    ends = []
    for _ in range(4):
        watch.seconds += 5
        with running.paused():
            watch.seconds += 300
        ends.append(running.end_step())
    # The first step passes two shares, which is one set of weights; the last ends beyond the budget: a final score.
    assert seen == [5, 10] and ends == [False, False, False, True]
    assert running.used_s == 20 and running.steps == 4


def test_what_children_have_computed_is_counted() -> None:
    """nnU-Net's preprocessing runs in processes of its own; the child here ends by its own clock."""
    before, own = clock.cpu_s(), time.process_time()
    subprocess.run(
        [sys.executable, "-S", "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True, timeout=60
    )
    assert clock.cpu_s() - before - (time.process_time() - own) > 0.25


def test_epochs_are_fitted_to_what_they_really_cost() -> None:
    watch = Watch()
    running = clock.TrainingClock(100, lambda _: None, now=watch)
    running.start()
    watch.seconds += 16
    assert running.epochs_that_fit(2) == 12  # 8 s an epoch, 84 s left: 10.5 more, and 10 is the even neighbour
    watch.seconds += 200
    assert running.epochs_that_fit(3) == 3


def schedule_of(recipe: str) -> torch.optim.lr_scheduler.LRScheduler:
    """The schedule that a recipe's own config makes, of 10 epochs with a peak of 1."""
    parser = bundle.read_config([bundle.TRAIN, sides.config_file(f"configs/recipe/{recipe}.json")], {"epochs": 10})
    parser["optimizer"] = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    return parser.get_parsed_content("lr_scheduler")


def test_the_zoos_cosine_is_that_of_its_new_length_once_stretched() -> None:
    schedule, rates = schedule_of("zoo"), []
    for epoch in range(1, 9):
        schedule.optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
        if epoch == 4:
            bundle.stretch(schedule, 8)
    expected = [0.5 * (1 + math.cos(math.pi * epoch / (10 if epoch <= 4 else 8))) for epoch in range(1, 9)]
    assert rates == pytest.approx(expected) and rates[-1] == 0


def test_a_schedule_that_would_leave_its_curve_is_not_stretched() -> None:
    schedule = schedule_of("original")
    bundle.stretch(schedule, 8)
    assert schedule.get_last_lr() == [1.0]
    for other in (
        torch.optim.lr_scheduler.CosineAnnealingLR(schedule.optimizer, 10),
        torch.optim.lr_scheduler.LambdaLR(schedule.optimizer, lambda _: 1.0),
    ):
        with pytest.raises(InputError, match=f"{type(other).__name__} cannot be fitted to the budget"):
            bundle.stretch(other, 8)


def test_the_recipes_own_schedule_is_stretched_too() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = scheduler(optimizer, "poly", 2, 100)
    bundle.stretch(schedule, 40)
    bundle.stretch(schedule, 8)
    assert [one(8) for one in schedule.lr_lambdas] == [0] and schedule.lr_lambdas[0](7) == pytest.approx((1 / 6) ** 0.9)


def dice(prediction: Path, truth: Path, ids: tuple[int, ...]) -> float:
    """Of one region, by sets of voxels."""
    masks = [np.isin(np.asarray(nib.load(file).dataobj), ids) for file in (prediction, truth)]
    sizes = sum(int(mask.sum()) for mask in masks)
    return 2 * int((masks[0] & masks[1]).sum()) / sizes if sizes else 1.0


@pytest.mark.parametrize("side", [sides.OURS, sides.ZOO, sides.PUBLISHED])
def test_a_run_leaves_scores_weights_and_label_volumes(tiny_decathlon: Path, tmp_path: Path, side: str) -> None:
    knobs = {sides.OURS: SMALL, sides.ZOO: {"network_def::init_filters": 8}, sides.PUBLISHED: SMALL}[side]
    run = runs.Run(side, MINUTES, 1, variant="small", knobs=knobs)
    runs.execute(run, tiny_decathlon, tmp_path / "work", tmp_path / "results")
    name = f"{'' if side == sides.OURS else side + '-'}small-{MINUTES:g}min-fold1"
    result = json.loads((tmp_path / "results/accuracy" / f"{name}.json").read_text("utf-8"))
    fold = folds.make_fold(tiny_decathlon, 1)
    assert result["test"] == [item["case"] for item in fold.test] and result["knobs"].items() >= knobs.items()
    folder = tmp_path / "work/accuracy" / name
    for item in fold.test:
        file = folder / "predictions" / f"{item['case']}_seg.nii.gz"
        expected = {"TC": dice(file, item["label"], (2, 3)), "WT": dice(file, item["label"], (1, 2, 3))}
        expected |= {"ET": dice(file, item["label"], (3,))}
        assert result["dice"][item["case"]] == pytest.approx(expected, abs=1e-6)
    curve = result["curve"]
    assert [point["steps"] for point in curve] == sorted({point["steps"] for point in curve})
    assert len(list((folder / "snapshots").iterdir())) == len(curve) >= 2
    assert curve[-1]["steps"] == result["steps_done"] > 0
    assert curve[-1]["minutes"] == result["minutes_used"] <= MINUTES + 2 * result["step_cpu_s"] / 60 + 0.01
    assert result["weights_sha256"] == hashlib.sha256((folder / "models/model.pt").read_bytes()).hexdigest()
    recipe = json.loads((folder / "models/model.json").read_text("utf-8"))["recipe"]
    assert recipe["train"]["dataset"]["_target_"] == "CacheDataset"
    assert str(tmp_path) not in json.dumps(result)


def test_a_knob_of_no_config_is_refused(tiny_decathlon: Path, tmp_path: Path) -> None:
    fold = folds.make_fold(tiny_decathlon, 0)
    with pytest.raises(InputError, match="did you mean learning_rate"):
        sides.make_side(sides.OURS, fold, tmp_path, (), {"learning_rat": 0.1})
    with pytest.raises(InputError, match="nnU-Net configures itself"):
        sides.make_side(sides.NNUNET, fold, tmp_path, (), {"learning_rate": 0.1})


def test_without_nnunet_nothing_is_started(
    tiny_decathlon: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "nnunetv2", None)
    started = []
    monkeypatch.setattr(accuracy.subprocess, "run", lambda *args, **kwargs: started.append(args))
    places = ["--dataset_dir", str(tiny_decathlon), "--work_dir", str(tmp_path), "--results_dir", str(tmp_path)]
    assert accuracy.main(["run", "--all", "--fold", "0", *places]) == 1
    assert "nnunetv2: is not installed" in capsys.readouterr().err and not started


def test_a_result_of_another_recipe_or_other_cases_is_noticed(
    tiny_decathlon: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fold = folds.make_fold(tiny_decathlon, 0)
    side = sides.make_side(sides.OURS, fold, tmp_path, (), {})
    file = runs.Run(sides.OURS, 10, 0).result_file(tmp_path)
    file.parent.mkdir()
    file.write_text(json.dumps(identity.identity(side, fold) | {"test": [item["case"] for item in fold.test]}))
    line = ["run", "--all", "--side", "ours", "--minutes", "10", "--fold", "0", "--results_dir", str(tmp_path)]
    line += ["--work_dir", str(tmp_path), "--dataset_dir"]
    assert accuracy.main([*line, str(tiny_decathlon)]) == 0
    # The same names on another grid, as a data set and its resampled copy have them.
    other = write_decathlon(tmp_path / "Task01_Tiny", cases=8, shape=(28, 28, 20))
    assert accuracy.main([*line, str(other)]) == 1
    assert "ours-10min-fold0.json: is of other cases" in capsys.readouterr().err
    kept = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(kept | {"recipe_sha256": "0" * 64}))
    assert accuracy.main([*line, str(tiny_decathlon)]) == 1
    assert "is of another recipe (00000000) than this run would be" in capsys.readouterr().err


def test_a_recipe_is_known_by_its_numbers_and_not_by_its_words_or_places(tiny_decathlon: Path, tmp_path: Path) -> None:
    def recipe(number: int, work: str, **knobs: Any) -> str:
        fold = folds.make_fold(tiny_decathlon, number)
        return identity.identity(sides.make_side(sides.OURS, fold, tmp_path / work, (), knobs), fold)["recipe_sha256"]

    assert recipe(0, "a") == recipe(3, "b") == recipe(0, "a", _desc_={"gain": "other words"})
    assert len({recipe(0, "a"), recipe(0, "a", gain=0.2), recipe(0, "a", precision="bf16")}) == 3


def test_results_that_do_not_belong_together_are_no_table(tmp_path: Path) -> None:
    kept(tmp_path, "ours", 0, {"a": 0.6}, [(16, 0.5)])
    kept(tmp_path, "ours", 1, {"b": 0.6}, [(16, 0.5)], recipe_sha256="other")
    with pytest.raises(InputError, match="ours-16min-fold1of5.json: is of another recipe .other. than ours"):
        table.load(tmp_path)
    kept(tmp_path, "ours", 1, {"b": 0.6}, [(16, 0.5)])
    assert len(table.load(tmp_path)) == 1
    kept(tmp_path, "published", 0, {"a": 0.6}, [(16, 0.5)], cases_sha256="other")
    with pytest.raises(InputError, match="is of other cases"):
        table.load(tmp_path)
    kept(tmp_path, "published", 0, {"a": 0.6}, [(16, 0.5)], device="NVIDIA T4")
    with pytest.raises(InputError, match="is of another device .NVIDIA T4. than ours-16min-fold0of5.json .cpu."):
        table.load(tmp_path)


def test_epochs_of_one_step_still_pass_over_every_case(
    tiny_decathlon: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold, seen = folds.make_fold(tiny_decathlon, 0), []
    prepare = RegionBatch.__call__

    def note(self: RegionBatch, batch: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        seen.extend(batch["case"][:1])
        return prepare(self, batch, *args, **kwargs)

    monkeypatch.setattr(RegionBatch, "__call__", note)
    side = bundle.BundleSide(fold, tmp_path, (), SMALL, epoch_steps=1)
    side.prepare()
    endless = clock.TrainingClock(1e9, lambda _: None)
    monkeypatch.setattr(endless, "epochs_that_fit", lambda done: 12)
    assert side.train(endless, 12) == (12, 12)
    cases = {item["case"] for item in fold.training}
    assert set(seen[:6]) == set(seen[6:]) == cases and len(seen) == 12


def test_the_published_sixteen_crops_of_eight_cases_are_two_of_each(tmp_path: Path) -> None:
    data = write_decathlon(tmp_path / "data", cases=10)
    knobs = {**SMALL, "batch_size": 8, "crops_per_case": 2}
    side = sides.make_side(sides.PUBLISHED, folds.make_fold(data, 0), tmp_path, (), knobs)
    side.prepare()
    parser = side._parser()
    parser["train::dataset"] = side.dataset
    (batch,) = parser.get_parsed_content("train::dataloader")
    assert batch["image"].shape == (16, 4, *SMALL["patch_size"])


def test_scores_refuse_a_volume_on_another_grid(tmp_path: Path) -> None:
    label = make_case(0)[1]
    truth = save(label, tmp_path / "truth.nii.gz")
    assert scoring.dice_of_files(truth, truth, "msd") == {"TC": 1, "WT": 1, "ET": 1}
    moved = save(label, tmp_path / "moved.nii.gz", np.diag([2.0, 2.0, 3.0, 1.0]))
    with pytest.raises(InputError, match="grid"):
        scoring.dice_of_files(moved, truth, "msd")
    empty = save(np.zeros_like(label), tmp_path / "empty.nii.gz")
    assert scoring.dice_of_files(empty, truth, "msd") == {"TC": 0, "WT": 0, "ET": 0}


def test_label_ids_go_to_nnunet_and_back() -> None:
    ids = np.array([0, 1, 2, 4], np.uint8).reshape(4, 1, 1)
    there = nnunet.convert(ids, "brats2018", "msd")
    assert there.ravel().tolist() == [0, 2, 1, 3]
    assert (nnunet.convert(there, "msd", "brats2018") == ids).all()


def test_nnunet_plans_trains_and_predicts(tiny_decathlon: Path, tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2", reason="nnU-Net is not installed: pip install -r requirements/bench.txt")
    run = runs.Run(sides.NNUNET, MINUTES, 1)
    result = runs.execute(run, tiny_decathlon, tmp_path / "work", tmp_path / "results")
    assert result["steps_done"] > 0 and set(result["dice"]) == set(result["test"])
    raw = tmp_path / "work/accuracy" / run.name / "nnunet/raw" / nnunet.DATASET
    assert len(list((raw / "labelsTr").iterdir())) == len(result["training"])
    assert json.loads((raw / "dataset.json").read_text("utf-8"))["regions_class_order"] == [1, 2, 3]


def kept(
    folder: Path,
    side: str,
    fold: int,
    final: dict[str, float],
    curve: list[tuple[float, float]],
    minutes: float = 16,
    folds: int = 5,
    **more: Any,
) -> None:
    """A result: the same Dice in all regions of a case, and at each point of the curve the same for all cases."""
    every = dict.fromkeys(("TC", "WT", "ET"))
    result: dict[str, Any] = {
        "side": side,
        "variant": "ours",
        "minutes": minutes,
        "fold": fold,
        "folds": folds,
        "device": "cpu",
        "recipe_sha256": side,
        "cases_sha256": "the same",
        "patients": {case: case for case in final},
        "empty_regions": {case: [] for case in final},
        "minutes_used": minutes,
        "steps_done": 30 + fold,
        "dice": {case: dict.fromkeys(every, value) for case, value in final.items()},
        "curve": [
            {"minutes": at, "dice": {case: dict.fromkeys(every, value) for case in final}} for at, value in curve
        ],
    } | more
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{side}-{minutes:g}min-fold{fold}of{folds}.json").write_text(json.dumps(result), encoding="utf-8")


def test_the_table_tells_means_pairs_and_minutes(tmp_path: Path) -> None:
    """Ours has 0.6 to 0.9; the published side 0.2 less of each in its three cases of the four."""
    flat = [(1, 0.3), (2, 0.4), (4, 0.5), (8, 0.7), (12, 0.75), (16, 0.75)]
    kept(tmp_path, "ours", 0, {"a": 0.6, "b": 0.7}, flat)
    kept(tmp_path, "ours", 1, {"c": 0.8, "d": 0.9}, flat)
    kept(tmp_path, "published", 0, {"a": 0.4, "b": 0.5}, [(3, 0.1), (16, 0.5)])
    kept(tmp_path, "published", 1, {"c": 0.6}, [(3, 0.1), (16, 0.4)])
    ours, published = table.load(tmp_path)
    assert (ours.name, published.name) == ("ours", "published")
    mean, low, high = table.difference(ours, published)["WT"]
    assert mean == pytest.approx(0.2) and math.isnan(low) and math.isnan(high)
    # The first share lies before its first snapshot; 3 minutes is past the second.
    assert published.curve([0, 1]) == pytest.approx([0.1, 0.1, 0.45, 0.45, 0.45, 0.45])
    # 0.45 is first passed by ours at 4 of 16 minutes.
    assert table.minutes_to_reach([ours], published) == 4
    printed = table.text([ours, published]).splitlines()
    assert printed[-1] == "RATIO published/ours minutes to the Dice that published has after 16min 4.00"
    assert "| ours | 4 | 0 1 | 16.00 | 30 | 0.750 | 0.750 | 0.750 | 0.750 | 0.750 |" in printed
    assert "| published | 3 | +0.200 | +0.200 | +0.200 | +0.200 | +0.200 |" in printed
    assert "| published | 0.100 | 0.100 | 0.450 | 0.450 | 0.450 | 0.450 |" in printed
    # Of five folds and of two, models have seen other numbers of patients: never compared.
    kept(tmp_path, "ours", 0, {"a": 0.6}, flat, folds=2)
    assert [group.budget for group in table.load(tmp_path)] == [(16, 2), (16, 5), (16, 5)]
    accuracy.draw([ours, published], tmp_path / "figure" / "curve.png")
    assert (tmp_path / "figure" / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "curve, minutes",
    [
        # First measured at minute 3: nothing is known of the shares before it.
        ([(3, 0.6), (16, 0.8)], 3),
        # A lucky snapshot that falls back does not count, nor does one fold that is early where the other is late.
        ([(1, 0.6), (2, 0.1), (9, 0.6), (16, 0.8)], 9),
        ([(1, 0.1), (16, 0.4)], None),
    ],
)
def test_minutes_to_reach_err_on_the_late_side(
    tmp_path: Path, curve: list[tuple[float, float]], minutes: float | None
) -> None:
    kept(tmp_path, "ours", 0, {"a": 0.6}, curve)
    kept(tmp_path, "published", 0, {"a": 0.5}, [(16, 0.5)])
    ours, published = table.load(tmp_path)
    assert table.minutes_to_reach([ours], published) == minutes


def test_a_variant_of_ours_is_compared_with_other_systems_and_ours_with_all(tmp_path: Path) -> None:
    for side, variant, dice in (("ours", "ours", 0.5), ("ours", "augment", 0.7), ("zoo", "ours", 0.4)):
        more = {"variant": variant, "recipe_sha256": variant + side}
        kept(tmp_path / side / variant, side, 0, {"a": dice}, [(16, dice)], **more)
        (tmp_path / f"{side}-{variant}.json").write_bytes(next((tmp_path / side / variant).iterdir()).read_bytes())
    printed = table.text(table.load(tmp_path)).splitlines()
    assert [line for line in printed if "less" in line and "|" not in line] == [
        "ours less the other, patient by patient:",
        "augment less the other, patient by patient:",
    ]
    columns = "patients | TC | WT | ET | mean | mean of present |"
    first, second = (printed.index(f"| {name} less | {columns}") + 2 for name in ("ours", "augment"))
    assert printed[first].startswith("| augment | 1 | -0.200") and printed[first + 1].startswith("| zoo | 1 | +0.100")
    assert printed[second].startswith("| zoo | 1 | +0.300") and not printed[second + 1]


def test_changes_of_our_recipe_are_one_table(tmp_path: Path) -> None:
    curve = [(1, 0.05), (2, 0.1), (16, 0.5)]
    for fold, patients in enumerate(("abc", "def")):
        empty = {"empty_regions": {case: ["ET"] for case in patients}}
        dice = {case: {"TC": 0.6, "WT": 0.8, "ET": 0.0} for case in patients}
        kept(tmp_path, "ours", fold, dict.fromkeys(patients, 0.5), curve, folds=2, **empty)
        more = {"variant": "ema", "recipe_sha256": "e", "dice": dice} | empty
        kept(tmp_path / "other", "ours", fold, dict.fromkeys(patients, 0.6), curve, folds=2, **more)
        shutil.move(tmp_path / f"other/ours-16min-fold{fold}of2.json", tmp_path / f"ema-{fold}.json")
    printed = changes.changes_text(table.load(tmp_path)).splitlines()
    assert printed[0] == "Dice after 16 CPU minutes of training, 2 folds, and what it is more than that of ours:"
    assert printed[4] == "| ours | 6 | 30 | 0.100 | 0.500 | 0.500 | 0.500 | 0.500 | 0.500 | | |"
    gains = "-0.033 (-0.033 to -0.033) | +0.200 (+0.200 to +0.200)"
    assert printed[5] == f"| ema | 6 | 30 | 0.100 | 0.600 | 0.800 | 0.000 | 0.467 | 0.700 | {gains} |"
    assert printed[-1].endswith("has no voxel: ET in 6 of the cases.")


def test_an_interval_is_the_spread_of_means_of_resampled_patients() -> None:
    """And of four there is none."""
    assert statistics.span(statistics.interval(np.array([0.0, 0.0, 0.5, 1.0])), sign="+") == "+0.375"
    mean, low, high = statistics.interval(np.array([0.0, 0.0, 0.0, 0.0, 1.0]))
    # A sample without the one patient of five has a chance of 0.8 ** 5, one with four of it or more of 0.007.
    assert (mean, low, high) == (0.2, 0.0, 0.6)
    values = np.random.default_rng(1).normal(size=400)
    mean, low, high = statistics.interval(values)
    error = values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.2 * error)


def test_a_region_that_a_patient_does_not_have_is_told_apart(tmp_path: Path) -> None:
    """Ours finds no enhancing tumour where there is none, the published side some: a Dice of 1 against 0."""
    for side, found in (("ours", 1.0), ("published", 0.0)):
        dice = {"a": {"TC": 0.5, "WT": 0.7, "ET": found}, "b": {"TC": 0.4, "WT": 0.8, "ET": 0.6}}
        kept(tmp_path, side, 0, {"a": 0, "b": 0}, [(16, 0.5)], dice=dice, empty_regions={"a": ["ET"], "b": []})
    ours, published = table.load(tmp_path)
    values = table.difference(ours, published)
    assert values["mean"][0] == pytest.approx(1 / 6) and values["mean of present"][0] == 0
    assert published.patients["a"] == pytest.approx([0.5, 0.7, 0, 0.4, 0.6])
    assert "Regions of which the truth of ours (2 patients) has no voxel: ET in 1 of the cases." in table.text(
        [ours, published]
    )
    assert np.isnan(statistics.row({"TC": 1, "WT": 1, "ET": 1}, ("TC", "WT", "ET"))[-1])


def test_regions_without_a_voxel_are_found(tmp_path: Path) -> None:
    affine = np.diag([-1.5, 1, 2, 1])
    ids = np.zeros((4, 4, 4), np.uint8)
    ids[1] = 1
    nib.save(nib.Nifti1Image(ids, affine), tmp_path / "edema.nii.gz")
    nib.save(nib.Nifti1Image(ids * 2, affine), tmp_path / "core.nii.gz")
    cases = [{"case": name, "label": str(tmp_path / f"{name}.nii.gz")} for name in ("edema", "core")]
    assert scoring.empty_regions(cases, "msd") == {"edema": ["TC", "ET"], "core": ["ET"]}


def test_a_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="x.json: is no result of a run, as it has no side; move it out"):
        table.load(tmp_path)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--config", "nofile.json", "--variant", "x"], "--config nofile.json: is neither a file in"),
        (["--folds", "1"], "--folds 1: at least 2 are wanted"),
    ],
)
def test_what_the_command_line_cannot_mean_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accuracy.main(["run", "--all", "--side", "ours", *words]) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(("patients", "coverage"), [(6, 0.86), (10, 0.91)])
def test_intervals_of_few_patients_hold_the_truth_as_often_as_is_said(patients: int, coverage: float) -> None:
    """Of 4000 samples of normal values around 0."""
    low, high = bootstrap.interval(np.random.default_rng(0).normal(size=(patients, 4000)), resamples=2000)
    assert ((low <= 0) & (high >= 0)).mean() == pytest.approx(coverage, abs=0.015)
    assert re.search(f"those of {patients} (hold the true mean )?in {100 * coverage:.0f} %", statistics.INTERVALS)


def test_the_command_line_names_runs(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", "--side", "ours", "--minutes", "10", "--fold", "2", "--variant", "average", "--set"]
    options = accuracy.parser().parse_args([*line, "ema_decay=0.9", "--set", "precision=fp32"])
    (run,) = accuracy.chosen(options)
    assert run.knobs == {"ema_decay": 0.9, "precision": "fp32"}
    assert run.result_file().relative_to(BENCHMARKS) == Path("results/accuracy/average-10min-fold2.json")
    options = accuracy.parser().parse_args(["run", "--all", "--variant", "average", "--set", "ema_decay=0.9"])
    with pytest.raises(InputError, match="variant 'average' is of no side"):
        accuracy.chosen(options)
    assert {runs.Run(side, 10, 0, "average").name for side in ("ours", "zoo")} == {
        "average-10min-fold0",
        "zoo-average-10min-fold0",
    }
    everything = accuracy.chosen(accuracy.parser().parse_args(["run", "--all"]))
    assert len({run.name for run in everything}) == len(everything) == 2 * 5 * len(sides.SIDES)
    line = ["run", "--all", "--side", "ours", "--minutes", "6", "--folds", "2"]
    files = [run.result_file().relative_to(BENCHMARKS) for run in accuracy.chosen(accuracy.parser().parse_args(line))]
    assert files == [Path(f"results/ablation/ours-6min-fold{fold}of2.json") for fold in (0, 1)]
    with pytest.raises(InputError, match="--fold 2: there are 2 folds, from 0 to 1"):
        accuracy.chosen(accuracy.parser().parse_args([*line, "--fold", "2"]))
    assert accuracy.main(["run", "--side", "ours", "--minutes", "10"]) == 1
    assert "one run needs --side" in capsys.readouterr().err


def test_a_gpu_counts_wall_seconds_and_lets_each_side_load_as_it_wants(tiny_decathlon: Path, tmp_path: Path) -> None:
    """The part of it that needs none; that a GPU trains so has not been tried."""
    fold = folds.make_fold(tiny_decathlon, 0)
    on_cpu, on_gpu = (
        bundle.BundleSide(fold, tmp_path, [], {"num_workers": 3}, one) for one in (device.CPU, device.GPU)
    )
    assert (on_cpu.config["num_workers"], on_gpu.config["num_workers"]) == (0, 3)
    assert on_gpu.config["device"] == "$torch.device('cuda')" and on_cpu.config["device"] == "$torch.device('cpu')"
    assert runs.Run("ours", 10, 0, device=device.GPU).result_file(tmp_path).parent == tmp_path / "accuracy_gpu"
    assert runs.Run("ours", 10, 0).result_file(tmp_path).parent == tmp_path / "accuracy"
    before = device.CPU.now()
    time.sleep(0.3)
    assert device.CPU.now() - before < 0.2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_asked_for(tiny_decathlon: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--side", "ours", "--minutes", "1", "--fold", "0", "--dataset_dir", str(tiny_decathlon)]
    assert accuracy.main([*words, "--device", "cuda"]) == 1
    assert "--device cuda: PyTorch finds no GPU on this machine; give --device cpu." in capsys.readouterr().err
