"""Lab 10: pictures and their splits, the classifiers it judges, its figures, and the hints of its exercises."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import monai
import pytest
import torch
from labkit import lesion_checks
from labkit.checks import NotYet
from labkit.endpoint import make_artifact
from labkit.lesion_figures import angles, answers_figure, grid_figure, turned_figure
from labkit.lesion_models import (
    Finished,
    best_and_last,
    by_heart,
    equal_epochs,
    finished_run,
    judged,
    lean,
    write_bundle,
)
from labkit.lesions import copied, counts, held_out, images_of, pictures, split_by_file, write_datalist
from labkit.project import SKIN_BUNDLE
from matplotlib import pyplot as plt
from monai.bundle import ConfigParser
from monai.data import load_decathlon_datalist
from monai.transforms import RandRotate
from skin_lesions.classes import CLASSES
from skin_lesions.ham10000 import Image
from tiny_ham10000 import write_tiny_ham10000

SIDE = 32
NETWORK: dict[str, Any] = {
    "_target_": "DenseNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 7, "init_features": 8,
    "growth_rate": 4, "block_config": [1, 1],
}  # fmt: skip
LOSS = {"_target_": "torch.nn.CrossEntropyLoss"}
METRIC = {"_target_": "ROCAUC", "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}
SCALE = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": 0.0, "b_max": 1.0}
TURN = {"_target_": "RandRotated", "keys": "image", "prob": 0.5, "range_x": math.radians(15)}
FLIP = {"_target_": "RandFlipd", "keys": "image", "prob": 0.5, "spatial_axis": 0}
ZOOM = {"_target_": "RandZoomd", "keys": "image", "prob": 0.5, "min_zoom": 0.9, "max_zoom": 1.1}
RESIZE = {"_target_": "Resized", "keys": "image", "spatial_size": ["@image_size", "@image_size"]}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten lesions of each class, two pictures of each lesion."""
    return write_tiny_ham10000(tmp_path_factory.mktemp("data") / "HAM10000", lesions=10)


@pytest.fixture(scope="module")
def images(tiny: Path) -> list[Image]:
    return images_of(tiny, most=1000)


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two epochs of the finished bundle."""
    small = {"network_def": NETWORK, "epochs": 2, "image_size": SIDE}
    return finished_run("weighted_sampler", tiny, tmp_path_factory.mktemp("finished"), small)


def test_fewer_images_keep_the_shares_of_classes_and_whole_lesions(tiny: Path, images: list[Image]) -> None:
    assert set(counts(images).values()) == {20}
    fewer = images_of(write_tiny_ham10000(tiny.parent / "larger", lesions=24, images=1), most=84)
    assert counts(fewer) == dict.fromkeys(CLASSES, 12)
    # Ten lesions are too few to leave out every second.
    assert images_of(tiny, most=70) == images


def test_a_folder_or_the_word(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pictures(str(tiny)) == tiny.resolve()
    made = tmp_path / "synthetic-1-seed0"
    made.mkdir()
    (made / "HAM10000_metadata.csv").touch()
    monkeypatch.setenv("SKIN_LESIONS_CACHE_DIR", str(tmp_path))
    assert pictures("synthetic") == made


def test_what_is_held_out_shares_no_lesion(images: list[Image]) -> None:
    seen, away = held_out(images)
    assert len(seen) + len(away) == len(images) and len(away) > len(seen)
    assert not {image.lesion for image in seen} & {image.lesion for image in away}


def test_copies_before_a_split_by_file_lie_on_both_sides(images: list[Image]) -> None:
    rare = [image for image in images if image.label == 5] + [image for image in images if image.label == 3][:2]
    more = copied(rare, up_to=0.75)
    assert counts(more)["nv"] == 20 and counts(more)["df"] == 15
    assert len({image.name for image in more}) == 22
    parts = split_by_file(more)
    assert [len(part) for part in parts.values()] == [28, 4, 3] and split_by_file(more) == parts
    sides = [{image.name for image in parts[part]} for part in ("training", "validation")]
    assert sides[0] & sides[1]


def test_monai_reads_the_datalist(tiny: Path, images: list[Image], tmp_path: Path) -> None:
    entries = write_datalist(split_by_file(images), tmp_path / "datalist.json")
    read = load_decathlon_datalist(tmp_path / "datalist.json", False, "validation", tiny)
    assert [Path(one["image"]) for one in read] == [tiny / one["image"] for one in entries["validation"]]
    assert [one["label"] for one in read] == [one["label"] for one in entries["validation"]]


def test_memory_is_perfect_on_what_it_knows(tiny: Path, images: list[Image], tmp_path: Path) -> None:
    entries = write_datalist(split_by_file(images), tmp_path / "datalist.json")
    known = by_heart(tiny, entries["training"], entries["training"])
    assert known["balanced_accuracy"] == 1 and known["macro_auc"] == pytest.approx(1)


def test_a_bundle_is_judged_by_the_weights_that_it_kept(tiny: Path, images: list[Image], tmp_path: Path) -> None:
    transforms = [{"_target_": "LoadImaged", "keys": "image", "reader": "PILReader"}]
    transforms += [{"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": -1}, SCALE, RESIZE]
    dataset = {"_target_": "CacheDataset", "transform": {"_target_": "Compose", "transforms": transforms}}
    recipe = {"image_size": SIDE, "network": NETWORK, "validate": {"val_data_loader": {"dataset": dataset}}}
    bundle = write_bundle(recipe, tmp_path / "bundle")
    network = ConfigParser({"network": NETWORK}).get_parsed_content("network")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    torch.save(network.state_dict(), bundle / "model.pt")
    entries = write_datalist({"test": images[:40]}, tmp_path / "datalist.json")["test"]
    # A network of zeros says the same of all pictures.
    found = judged(bundle, tiny, entries)
    assert found["macro_auc"] == 0.5 and found["accuracy"] == 0.5


def test_small_trainings_leave_settings_as_they_were() -> None:
    before = (monai.data.get_track_meta(), torch.get_num_threads())
    with pytest.raises(ValueError, match="inside"), lean():
        assert not monai.data.get_track_meta() and torch.get_num_threads() == 1
        raise ValueError("inside")
    assert (monai.data.get_track_meta(), torch.get_num_threads()) == before


def test_a_run_of_the_finished_bundle(run: Finished) -> None:
    assert (run.run_dir / "test" / "cases.csv").is_file() and (run.ckpt_dir / "model_last.pt").is_file()
    epochs, best_epoch, best, last, falls = best_and_last(run)
    assert epochs == 2 and best_epoch == run.about()["epoch"] and best >= last
    assert falls == (best_epoch == 1 and last < best)


def test_the_artifact_has_the_bundles_own_package(run: Finished, tmp_path: Path) -> None:
    artifact = make_artifact(run.ckpt_dir, tmp_path / "artifact", SKIN_BUNDLE, "skin_lesions")
    held = {path.relative_to(artifact / "bundle").as_posix() for path in (artifact / "bundle").rglob("*")}
    assert {"skin_lesions/reading.py", "configs/inference.json", "models/model.pt", "models/model.json"} <= held
    assert not {"models/model_last.pt", "scripts"} & held


def test_copies_cost_epochs() -> None:
    items = [{"label": 0}] * 8 + [{"label": 1}] * 2
    assert equal_epochs(8, items) == 5 and equal_epochs(1, [{"label": 0}] * 9 + [{"label": 1}]) == 1


def test_pictures_stand_under_their_classes(tiny: Path, images: list[Image]) -> None:
    figure = grid_figure(tiny, images)
    titles = [axis.get_title() for axis in figure.axes[: len(CLASSES)]]
    assert titles[0] == "akiec: 20\nactinic keratosis or\nintraepithelial carcinoma"
    assert titles[4] == "mel: 20\nmelanoma" and all(axis.images for axis in figure.axes)
    plt.close(figure)


def test_turns_are_told_in_degrees(tiny: Path, images: list[Image]) -> None:
    wrong, mended = (RandRotate(range_x=x, prob=1.0, keep_size=True) for x in (15, math.radians(15)))
    assert 360 < max(map(abs, angles(wrong))) <= 15 * 180 / math.pi and max(map(abs, angles(mended))) <= 15
    figure = turned_figure(tiny / images[0].file, {"a": wrong, "b": mended}, columns=3)
    assert all(abs(int(axis.get_title()[:-1])) <= 15 for axis in figure.axes[3:])
    assert figure.axes[3].get_ylabel() == "b"
    plt.close(figure)


def test_answers_say_whether_they_are_right(tiny: Path, images: list[Image]) -> None:
    files = [tiny / image.file for image in images[:2]]
    answer = {"class": "mel", "probability": 0.9, "confidence": 0.8}
    figure = answers_figure(files, ["mel", "nv"], [answer, answer])
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["mel\np 0.90, confidence 0.80\nright", "mel\np 0.90, confidence 0.80\nwrong, it is nv"]
    plt.close(figure)


@pytest.mark.parametrize(
    ("turn", "hint"),
    [(..., "no answer"), ("15", "number"), (15, "radians again"), (859.4366926962348, "other way"), (0.5, "28.6°")],
)
def test_turn_hints(turn: object, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        lesion_checks.check_turn(turn)


@pytest.mark.parametrize(
    ("published", "hint"),
    [
        (..., "no answer"),
        ([SCALE, TURN, FLIP, ZOOM], "five entries"),
        ([SCALE, FLIP, TURN, ZOOM, RESIZE], "RandFlipd stands where the published order has 'turn'"),
        ([SCALE, TURN, {}, ZOOM, RESIZE], "no dict with a _target_"),
        ([SCALE, TURN, FLIP, ZOOM, {**RESIZE, "keys": "label"}], "which entry"),
        ([{**SCALE, "a_max": 100}, TURN, FLIP, ZOOM, RESIZE], "after scaling, values lie between 0 and 2.55"),
        ([SCALE, {**TURN, "range_x": 15}, FLIP, ZOOM, RESIZE], "take range_x"),
        ([SCALE, TURN, FLIP, {**ZOOM, "max_zoom": 2.0}, RESIZE], "it zooms between"),
        ([SCALE, TURN, FLIP, ZOOM, {**RESIZE, "spatial_size": [16, 16]}], r"leaves as \(3, 16, 16\)"),
        ([SCALE, TURN, {**FLIP, "axis": 0}, ZOOM, RESIZE], "published cannot be made"),
    ],
)
def test_transform_hints(published: object, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        lesion_checks.check_transforms(published, SIDE)


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"network": ...}, "network has no answer"),
        ({"loss": "CrossEntropyLoss"}, "loss is no dict"),
        ({"network": {**NETWORK, "in_channels": 1}}, "does not take pictures"),
        ({"network": {**NETWORK, "out_channels": 2}}, r"gives \(2, 2\)"),
        ({"network": {**NETWORK, "layers": 3}}, "network cannot be made"),
        ({"loss": {"_target_": "torch.nn.CrossEntropyLoss", "reduction": "none"}}, "this loss says"),
        ({"metric": {"_target_": "ConfusionMatrix"}}, "area under the ROC curve"),
        ({"metric": {"_target_": "ROCAUC"}}, "cannot read what an evaluator gives"),
    ],
)
def test_part_hints(changes: dict[str, Any], hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        lesion_checks.check_parts(**({"network": NETWORK, "loss": LOSS, "metric": METRIC} | changes), side=SIDE)


def shared(key: str) -> Any:
    """A check that compares an entry of items."""
    return lambda training, validation: {one[key] for one in training} & {one[key] for one in validation}


@pytest.mark.parametrize(
    ("check", "hint"),
    [
        (..., "no answer"),
        (lambda training, validation: ..., "returns nothing yet"),
        (lambda training, validation: False, "return the lesions"),
        (lambda training, validation: ["A"], "share nothing"),
        (lambda training, validation: [], "finds nothing"),
        (shared("image"), "what have they in common"),
        (shared("label"), "share nothing"),
    ],
)
def test_both_sides_hints(check: Any, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        lesion_checks.check_both_sides(check)


def test_right_answers_are_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    lesion_checks.check_turn(math.radians(15))
    lesion_checks.check_transforms([SCALE, TURN, FLIP, ZOOM, RESIZE], SIDE)
    lesion_checks.check_parts(NETWORK, LOSS, METRIC, SIDE)
    lesion_checks.check_both_sides(shared("lesion"))
    assert capsys.readouterr().out.count("Right.") == 4
