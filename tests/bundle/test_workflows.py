"""Training, evaluation and inference through the configs, in one process, on tiny real NIfTI files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from patients import patients
from scripts.cases import main as cases_command
from scripts.checkpoints import sha256
from scripts.labels import SCHEMES
from tiny import TINY, write_brats_folders, write_decathlon
from workflow import refused, run, workflow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve labelled and two unlabelled cases."""
    return write_decathlon(tmp_path_factory.mktemp("data") / "Task01_Tiny", cases=12, unlabelled=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A folder with ``runs/run`` and ``models`` of two short epochs."""
    folder = tmp_path_factory.mktemp("trained")
    run(folder, "train.json", dataset_dir=str(data), **(TINY | {"epochs": 2, "val_interval": 2}))
    return folder


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_run_folder_tells_the_whole_story(trained: Path, data: Path) -> None:
    folder = trained / "runs" / "run"
    assert {path.name for path in folder.iterdir()} >= {
        "config.json", "command.txt", "versions.json", "datalist.json", "log.txt", "metrics.jsonl", "tensorboard",
        "curves.png", "report.html",
    }  # fmt: skip
    config = read(folder / "config.json")
    assert config["epochs"] == 2 and config["dataset_dir"] == str(data)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert "val_mean_dice" not in lines[0]
    regions = [lines[1][f"val_dice_{region}"] for region in ("TC", "WT", "ET")]
    assert lines[1]["val_mean_dice"] == pytest.approx(sum(regions) / 3, abs=1e-6)
    assert "epoch 2/2" in (folder / "log.txt").read_text()


def test_model_carries_recipe_and_split(trained: Path) -> None:
    about = read(trained / "models" / "model.json")
    assert about["epoch"] == 2
    assert about["recipe"]["patch_size"] == [32, 32, 32]
    assert about["label_scheme"] == "msd"
    parts = [{item["patient"] for item in about["datalist"][part]} for part in ("training", "validation", "test")]
    assert [len(part) for part in parts] == [8, 2, 2]
    assert len(set.union(*parts)) == 12
    last = torch.load(trained / "models" / "model_last.pt", weights_only=True)
    assert {"model", "optimizer", "lr_scheduler", "scaler", "epoch", "best_metric", "config", "split"} < set(last)


def test_evaluation_scores_the_held_out_cases_on_their_own_grid(trained: Path) -> None:
    run(trained, "train.json", "evaluate.json")
    test = trained / "runs" / "run" / "test"
    rows = list(csv.DictReader((test / "cases.csv").open()))
    held_out = [item["case"] for item in read(trained / "models" / "model.json")["datalist"]["test"]]
    assert [row["case"] for row in rows] == sorted(held_out)
    for case in read(test / "cases.json"):
        truth, prediction = nib.load(case["truth"]), nib.load(case["prediction"])
        assert prediction.shape == truth.shape
        assert np.array_equal(prediction.affine, truth.affine)
        # The table agrees with what is in the files.
        for region, ids in SCHEMES["msd"].regions.items():
            a, b = (np.isin(np.asarray(image.dataobj), ids) for image in (truth, prediction))
            dice = 1.0 if not (a | b).any() else 2 * (a & b).sum() / (a.sum() + b.sum())
            assert case["dice"][region] == pytest.approx(dice, abs=1e-6)
    assert read(test / "summary.json")["n_cases"] == len(held_out)


@pytest.mark.parametrize("style", ["2021", "2023"])
def test_inference_writes_one_label_volume_a_case(trained: Path, tmp_path: Path, style: str) -> None:
    folder = write_brats_folders(tmp_path / "new", cases=2, style=style, labelled=False)
    run(
        trained, "inference.json", kind="infer", dataset_dir=str(folder), output_dir=str(tmp_path / "out"),
        label_scheme="brats2018", save_probabilities=True,
    )  # fmt: skip
    for case in sorted(path.name for path in folder.iterdir()):
        image = nib.load(sorted((folder / case).glob("*.nii.gz"))[0])
        labels = nib.load(tmp_path / "out" / f"{case}_seg.nii.gz")
        assert labels.shape == image.shape and np.array_equal(labels.affine, image.affine)
        assert set(np.unique(np.asarray(labels.dataobj))) <= {0, 1, 2, 4}
        probabilities = np.asarray(nib.load(tmp_path / "out" / f"{case}_prob.nii.gz").dataobj)
        assert probabilities.shape == (*image.shape, 3)
        assert probabilities.min() >= 0 and probabilities.max() <= 1
        assert np.array_equal((probabilities > 0.5).any(-1), np.asarray(labels.dataobj) > 0)


def test_inference_of_a_decathlon_folder_takes_its_unlabelled_cases(trained: Path, data: Path, tmp_path: Path) -> None:
    run(trained, "inference.json", kind="infer", dataset_dir=str(data), output_dir=str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "BRATS_013_seg.nii.gz", "BRATS_014_seg.nii.gz",
    ]  # fmt: skip


def test_evaluation_on_another_set_scores_all_of_it(trained: Path, tmp_path: Path) -> None:
    folder = write_brats_folders(tmp_path / "other", cases=3)
    run(trained, "train.json", "evaluate.json", dataset_dir=str(folder), evaluate_on="all", run_name="away")
    scores = trained / "runs" / "away" / "all_other"
    summary = read(scores / "summary.json")
    assert summary["n_cases"] == 3 and summary["label_scheme"] == "brats2018"
    assert "Run away, all_other" in (scores / "report.html").read_text(encoding="utf-8")
    assert [path.name for path in (trained / "runs" / "away").iterdir()] == ["all_other"]


def test_another_set_takes_nothing_from_the_held_out_scores(trained: Path, tmp_path: Path) -> None:
    run(trained, "train.json", "evaluate.json")
    folder = trained / "runs" / "run"
    kept = {path: path.read_bytes() for path in [*folder.rglob("test/**/*"), folder / "report.html"] if path.is_file()}
    other = write_brats_folders(tmp_path / "other", cases=2)
    run(trained, "train.json", "evaluate.json", dataset_dir=str(other), evaluate_on="all")
    assert len(kept) > 8 and all(path.read_bytes() == content for path, content in kept.items())
    assert sorted(path.name for path in (folder / "all_other" / "labels").iterdir()) == [
        "BraTS2021_00000_seg.nii.gz", "BraTS2021_00001_seg.nii.gz",
    ]  # fmt: skip


def test_an_evaluation_leaves_nothing_of_the_one_before(trained: Path, tmp_path: Path) -> None:
    scores = trained / "runs" / "twice" / "all_other"
    options = {"evaluate_on": "all", "run_name": "twice", "save_probabilities": True}
    first = write_brats_folders(tmp_path / "first" / "other", cases=3)
    run(trained, "train.json", "evaluate.json", dataset_dir=str(first), save_uncertainty=True, **options)
    assert len(list((scores / "labels").iterdir())) == 11 and (scores / "median_case.png").is_file()
    (scores / "labels" / "mine.txt").write_text("notes")
    second = write_brats_folders(tmp_path / "second" / "other", cases=1, style="2023")
    run(trained, "train.json", "evaluate.json", dataset_dir=str(second), **options)
    name, kept = "BraTS-GLI-00000-000", {"probabilities.json", "mine.txt"}
    kept |= {f"{name}_{kind}.nii.gz" for kind in ("prob", "seg")}
    assert {path.name for path in (scores / "labels").iterdir()} == kept
    assert not (scores / "median_case.png").exists() and read(scores / "summary.json")["n_cases"] == 1


def test_a_broken_evaluation_leaves_no_older_results(trained: Path, tmp_path: Path) -> None:
    folder = trained / "runs" / "broken" / "test"
    run(trained, "train.json", "evaluate.json", run_name="broken")
    assert (folder / "summary.json").is_file()
    weights = trained / "models" / "model.pt"
    about = trained / "models" / "model.json"
    kept = weights.read_bytes(), about.read_text()
    state = torch.load(weights, weights_only=True)
    torch.save({name: torch.full_like(value, torch.nan) for name, value in state.items()}, weights)
    about.write_text(json.dumps(read(about) | {"sha256": sha256(weights)}))
    try:
        sentence = refused(trained, "train.json", "evaluate.json", run_name="broken")
    finally:
        weights.write_bytes(kept[0])
        about.write_text(kept[1])
    assert "the network's output is no number (NaN) in" in sentence and sentence.startswith("BRATS_0")
    assert not (folder / "summary.json").exists() and not list((folder / "labels").iterdir())


def test_the_summary_tells_what_was_scored_by_what(trained: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"rules": {"thresholds": {"WT": 0.4}}}))
    run(trained, "train.json", "evaluate.json", run_name="told", postprocessing_rules=str(rules))
    summary = read(trained / "runs" / "told" / "test" / "summary.json")
    assert summary["evaluate_on"] == "test" and summary["sha256"] == [sha256(trained / "models" / "model.pt")]
    assert summary["rules"] == {
        "thresholds": {"WT": 0.4}, "min_component_mm3": {}, "min_enhancing_mm3": 0.0, "sure_enhancing": None,
    }  # fmt: skip


def test_same_seed_same_run(trained: Path, data: Path, tmp_path: Path) -> None:
    run(tmp_path, "train.json", dataset_dir=str(data), **(TINY | {"epochs": 2, "val_interval": 2}))
    first, again = (
        [
            {
                key: value
                for key, value in json.loads(line).items()
                if not key.startswith(("seconds", "data_wait", "samples_per_s"))
            }
            for line in (folder / "runs" / "run" / "metrics.jsonl").read_text().splitlines()
        ]
        for folder in (trained, tmp_path)
    )
    assert first == again
    weights = [torch.load(folder / "models" / "model.pt", weights_only=True) for folder in (trained, tmp_path)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize("override", ["dataset", "persistent", "cache", "smart_cache", "store"])
def test_every_way_of_reading_trains(override: str, data: Path, tmp_path: Path) -> None:
    kept_in = {"persistent": "cache_dir", "store": "store_dir"}
    extra = {kept_in[override]: str(tmp_path / "kept")} if override in kept_in else {}
    run(tmp_path, "train.json", f"data/{override}.json", dataset_dir=str(data), **TINY, **extra)
    assert (tmp_path / "models" / "model.pt").is_file()


def test_changed_spacing_does_not_meet_an_old_disk_cache(data: Path, tmp_path: Path) -> None:
    for spacing in ([2.0, 2.0, 2.0], [4.0, 4.0, 4.0], [4.0, 4.0, 4.0]):
        job = workflow(
            tmp_path, "train.json", "data/persistent.json", dataset_dir=str(data), spacing=spacing,
            cache_dir=str(tmp_path / "cache"), **TINY,
        )  # fmt: skip
        job.initialize()
        shape = job.parser.get_parsed_content("validate::dataset")[0]["image"].shape
        assert shape[1] == pytest.approx(44 / spacing[0], abs=2)
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("recipe", ["original", "binary", "distmis"])
def test_every_recipe_trains_and_evaluates(recipe: str, data: Path, tmp_path: Path) -> None:
    extra = {"reshape": [32, 32, 32]} if recipe == "distmis" else {}
    run(tmp_path, "train.json", f"recipe/{recipe}.json", dataset_dir=str(data), **(TINY | extra | {"batch_size": 2}))
    run(tmp_path, "train.json", f"recipe/{recipe}.json", "evaluate.json", **extra)
    regions = {"TC", "WT", "ET"} if recipe == "original" else {"WT"}
    assert set(read(tmp_path / "runs" / "run" / "test" / "summary.json")["dice"]) == regions | {"mean"}


def test_ct_recipe_reads_subject_folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("valid", 2)):
        for index in range(count):
            label = np.zeros((20, 20, 16), np.uint8)
            label[5:12, 6:14, 4:10] = 1
            image = (rng.normal(40, 20, label.shape) + 200 * label).astype(np.int16)
            folder = tmp_path / "data" / part / f"subject_{index:03d}"
            folder.mkdir(parents=True)
            for name, volume in (("img", image), ("label", label)):
                nib.save(nib.Nifti1Image(volume, np.diag([-1.0, -1, 2, 1])), folder / f"{name}.nii.gz")
    overrides = TINY | {"dataset_dir": str(tmp_path / "data"), "reshape": [32, 32, 32], "num_workers": 0}
    run(tmp_path, "train.json", "recipe/ct.json", **overrides)
    assert len(read(tmp_path / "models" / "model.json")["datalist"]["validation"]) == 2
    run(tmp_path, "train.json", "evaluate.json")
    (case,) = read(tmp_path / "runs" / "run" / "test" / "cases.json")
    assert nib.load(case["prediction"]).shape == (20, 20, 16)


def test_full_recipe_changes_numbers_alone() -> None:
    configs = Path(__file__).resolve().parents[2] / "bundle" / "configs"
    train, full = read(configs / "train.json"), read(configs / "full.json")
    for key, value in full.items():
        if key != "+_desc_":
            assert key in train["_desc_"] and not isinstance(value, dict), key


def test_full_recipe_has_the_augmentation_that_the_laptops_can_add() -> None:
    configs = Path(__file__).resolve().parents[2] / "bundle" / "configs"
    augment = read(configs / "recipe/augment.json")
    assert augment.items() <= read(configs / "full.json").items()


def test_every_knob_is_described_and_stands_first() -> None:
    configs = Path(__file__).resolve().parents[2] / "bundle" / "configs"
    for name in ("train.json", "inference.json"):
        config = read(configs / name)
        knobs = list(config)[1 : list(config).index("imports")]
        assert knobs == list(config["_desc_"]), name


def test_inference_before_training_is_refused(data: Path, tmp_path: Path) -> None:
    sentence = refused(tmp_path, "inference.json", kind="infer", dataset_dir=str(data), output_dir=str(tmp_path / "o"))
    assert "there is no trained model; run configs/train.json first" in sentence
    assert not (tmp_path / "o").exists()


def test_checkpoint_of_another_network_is_refused(trained: Path, data: Path, tmp_path: Path) -> None:
    sentence = refused(
        trained, "inference.json", "network/segresnet.json", kind="infer", dataset_dir=str(data),
        output_dir=str(tmp_path / "o"),
    )  # fmt: skip
    assert "model.pt: holds the weights of another network" in sentence
    assert not (tmp_path / "o").exists()


def test_unwritable_output_is_refused_before_the_first_epoch(data: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder is wanted")
    sentence = refused(tmp_path, "train.json", dataset_dir=str(data), **TINY)
    assert "cannot be written" in sentence
    assert not (tmp_path / "models").exists()


def test_unwritable_checkpoints_are_refused_before_the_run_folder(data: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where a folder is wanted")
    sentence = refused(tmp_path, "train.json", dataset_dir=str(data), **TINY)
    assert sentence.startswith(f"{tmp_path / 'models'}: cannot be written (") and "is no folder" in sentence
    (tmp_path / "models").unlink()
    (tmp_path / "models" / "model_last.pt").mkdir(parents=True)
    sentence = refused(tmp_path, "train.json", dataset_dir=str(data), resume="auto", **TINY)
    assert "model_last.pt: cannot be written (it is a folder)" in sentence
    assert not (tmp_path / "runs").exists()


def test_too_few_cases_for_the_split(tmp_path: Path) -> None:
    folder = write_decathlon(tmp_path / "data", cases=2)
    assert "2" in refused(tmp_path, "train.json", dataset_dir=str(folder), **TINY)


def test_one_bad_case_stops_training_unless_skipped(tmp_path: Path) -> None:
    folder = write_decathlon(tmp_path / "data", cases=9)
    for name in ("imagesTr/BRATS_002.nii.gz", "labelsTr/BRATS_005.nii.gz"):
        file = folder / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    sentence = refused(tmp_path, "train.json", dataset_dir=str(folder), **TINY)
    assert "BRATS_002" in sentence and "BRATS_005" in sentence and "skip_bad_cases" in sentence
    assert not (tmp_path / "models").exists()
    run(tmp_path, "train.json", dataset_dir=str(folder), skip_bad_cases=True, **TINY)
    skipped = read(tmp_path / "models" / "model.json")["datalist"]["skipped"]
    assert [item["case"] for item in skipped] == ["BRATS_002", "BRATS_005"]


def test_misspelt_override_is_refused(data: Path, tmp_path: Path) -> None:
    sentence = refused(tmp_path, "train.json", dataset_dir=str(data), epochz=3)
    assert "override 'epochz' is read by nothing" in sentence and "'epochs'" in sentence


def test_a_run_is_never_written_into_another(trained: Path, data: Path) -> None:
    before = (trained / "runs" / "run" / "metrics.jsonl").read_text()
    assert "already holds a training; choose another run_name" in refused(
        trained, "train.json", dataset_dir=str(data), **TINY
    )
    assert (trained / "runs" / "run" / "metrics.jsonl").read_text() == before


def test_a_written_split_is_used_and_its_cases_are_checked(tmp_path: Path) -> None:
    folder, split = write_decathlon(tmp_path / "data", cases=9), tmp_path / "split.json"
    assert cases_command(["--dataset_dir", str(folder), "--output", str(split), "--seed", "7", "--replicate", "2"]) == 0
    overrides = TINY | {"dataset_dir": str(folder), "datalist_file": str(split)}
    run(tmp_path, "train.json", **overrides)
    used = read(tmp_path / "models" / "model.json")["datalist"]
    assert used["training"] == read(split)["training"] and len(used["training"]) == 14
    spoilt = folder / used["training"][0]["image"]
    spoilt.write_bytes(spoilt.read_bytes()[:500])
    sentence = refused(tmp_path / "again", "train.json", **overrides)
    assert used["training"][0]["case"] in sentence and "cannot be read" in sentence


def test_one_id_is_written_where_the_scheme_has_only_one(trained: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(trained, "inference.json", kind="infer", dataset_dir=str(data), output_dir=str(out), label_scheme="binary")
    assert set(np.unique(np.asarray(nib.load(out / "BRATS_013_seg.nii.gz").dataobj))) <= {0, 1}


def test_channels_are_stacked_as_the_model_was_trained(tmp_path: Path) -> None:
    """A model of another channel order is scored and run in that order, not in the default one."""
    order = ["T1gd", "FLAIR", "T1w", "T2w"]
    folder = write_brats_folders(tmp_path / "data", cases=8)
    run(tmp_path, "train.json", dataset_dir=str(folder), modalities=order, **TINY)
    other = write_brats_folders(tmp_path / "other", cases=2, style="2023")
    run(tmp_path, "train.json", "evaluate.json", dataset_dir=str(other), evaluate_on="all", run_name="other")
    for case in read(tmp_path / "runs" / "other" / "all_other" / "cases.json"):
        assert [path.split("-")[-1].split(".")[0] for path in case["image"]] == ["t1c", "t2f", "t1n", "t2w"]


def test_split_of_other_modalities_or_labels_is_refused(data: Path, tmp_path: Path) -> None:
    folder, split = write_brats_folders(tmp_path / "data", cases=8), str(tmp_path / "split.json")
    order = ["T1gd", "FLAIR", "T1w", "T2w"]
    assert cases_command(["--dataset_dir", str(folder), "--output", split, "--modalities", *order]) == 0
    given = TINY | {"dataset_dir": str(folder), "datalist_file": split}
    assert "was made for modalities" in refused(tmp_path, "train.json", **given)
    given["modalities"] = order
    assert "its label scheme is brats2018" in refused(tmp_path, "train.json", label_scheme="msd", **given)


def test_patients_of_the_training_are_not_scored(trained: Path, data: Path, tmp_path: Path) -> None:
    run(trained, "train.json", "evaluate.json", evaluate_on="all", run_name="all")
    assert read(trained / "runs" / "all" / "all_Task01_Tiny" / "summary.json")["n_cases"] == 2


def test_split_without_a_test_part_is_refused(data: Path, tmp_path: Path) -> None:
    run(tmp_path, "train.json", dataset_dir=str(data), split_ratios=[0.8, 0.2, 0.0], **TINY)
    assert "has no test part" in refused(tmp_path, "train.json", "evaluate.json")


def test_corrected_labels_do_not_meet_an_old_disk_cache(tmp_path: Path) -> None:
    folder, voxels = write_decathlon(tmp_path / "data", cases=8), []
    for values in ((1, 2, 3), (2, 3)):
        for label in (folder / "labelsTr").iterdir():
            image = nib.load(label)
            volume = np.asarray(image.dataobj)
            nib.save(nib.Nifti1Image(volume * np.isin(volume, values), image.affine), label)
        job = workflow(
            tmp_path, "train.json", "data/persistent.json", dataset_dir=str(folder), cache_dir=str(tmp_path / "cache"),
            **TINY,
        )  # fmt: skip
        job.initialize()
        voxels.append(int((job.parser.get_parsed_content("validate::dataset")[0]["label"] == 1).sum()))
    assert voxels[0] > 0 and voxels[1] == 0


def test_model_trained_on_real_patients_segments_another(tmp_path: Path) -> None:
    """Task01 at 2 mm trains a small network; a patient as published, 1 mm and a file a modality, is segmented by it."""
    run(tmp_path, "train.json", dataset_dir=str(patients("Task01_BrainTumour_2mm")), **TINY)
    folder = patients("BraTS2021")
    run(tmp_path, "inference.json", kind="infer", dataset_dir=str(folder), output_dir=str(tmp_path / "out"))
    for case in ("BraTS2021_00006", "BraTS2021_01477"):
        labels = nib.load(tmp_path / "out" / f"{case}_seg.nii.gz")
        source = nib.load(folder / case / f"{case}_flair.nii.gz")
        assert labels.shape == source.shape and np.array_equal(labels.affine, source.affine)
