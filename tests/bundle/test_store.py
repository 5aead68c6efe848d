"""The store: what it holds, that it is taken up and shared out, and that nothing stale or damaged is trained on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose
from patients import patients
from scripts import store, store_build
from scripts.datalists import entries, items
from scripts.errors import InputError
from scripts.layouts import find_dataset
from scripts.naming import MODALITIES
from scripts.store_build import build, verify
from scripts.store_case import read_case, read_manifest
from scripts.store_data import StoreDataset
from scripts.store_recipe import describe
from tiny import write_decathlon
from workflow import BUNDLE

TRAIN = str(BUNDLE / "configs" / "train.json")


def listed(folder: Path) -> list[dict]:
    dataset = find_dataset(folder, MODALITIES)
    return items({"dataset_dir": str(dataset.root), "cases": entries(dataset.cases, dataset.root)}, "cases")


def chain(spacing=(2.0, 2.0, 2.0)) -> list:
    return store.recipe_of([TRAIN], {"spacing": list(spacing)})[0]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decathlon(tmp_path_factory.mktemp("store") / "Task01", cases=5)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "whole"
    assert store.main(["--dataset_dir", str(data), "--store_dir", str(folder)]) == 0
    return folder


def test_a_case_is_what_the_transforms_make(data: Path, whole: Path) -> None:
    item = listed(data)[0]
    made = Compose(chain())({key: item[key] for key in ("image", "label")})
    kept = StoreDataset([item], chain(), str(whole))[0]
    # Within half a step of 15 bits over the largest value.
    largest = made["image"].abs().max().item()
    torch.testing.assert_close(kept["image"].as_tensor(), made["image"].as_tensor(), atol=largest / 65000, rtol=0)
    assert torch.equal(kept["label"].as_tensor(), made["label"].as_tensor())
    assert torch.equal(kept["image"] == 0, made["image"].abs() < largest / 65534)
    np.testing.assert_allclose(kept["image"].affine, made["image"].affine)
    assert kept["case"] == "BRATS_001"


def test_the_manifest_tells_all(data: Path, whole: Path) -> None:
    about = read_manifest(whole / "BRATS_002")
    case = read_case(whole / "BRATS_002")
    assert about["shape"] == list(case.label.shape) and about["spacing_mm"] == [2.0, 2.0, 2.0]
    for value, voxels in case.locations.items():
        assert len(voxels) == about["locations"][str(value)] == (case.label == value).sum()
        assert (case.label.numpy()[tuple(voxels.T)] == value).all()
    assert [source["file"] for source in about["sources"]] == ["BRATS_002.nii.gz", "BRATS_002.nii.gz"]
    start, stop = np.array(about["box_start"]), np.array(about["box_stop"])
    assert (start >= 0).all() and (stop - start > 15).all()
    recipe = json.loads((whole / "store.json").read_text())
    assert any("Spac" in step["class"] for step in recipe["transforms"])


def test_shards_together_equal_one_run(data: Path, whole: Path, tmp_path: Path) -> None:
    for shard in range(3):
        arguments = ["--dataset_dir", str(data), "--store_dir", str(tmp_path / f"{shard}"), "--shard", f"{shard}/3"]
        assert store.main(arguments) == 0
        shutil.copytree(tmp_path / f"{shard}", tmp_path / "union", dirs_exist_ok=True)
    assert tree(tmp_path / "union") == tree(whole)


def test_a_second_run_redoes_nothing(data: Path, whole: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in whole.rglob("*")}
    assert store.main(["--dataset_dir", str(data), "--store_dir", str(whole)]) == 0
    assert {file: file.stat().st_mtime_ns for file in whole.rglob("*")} == before


def test_a_killed_run_is_taken_up(data: Path, whole: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "scripts.store", "--dataset_dir", str(data), "--store_dir", str(tmp_path / "s")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*arguments, "--workers", "1"], cwd=BUNDLE, env=environment)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "s").glob("BRATS_*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert verify(tmp_path / "s")[1] == {}
    assert store.main(["--dataset_dir", str(data), "--store_dir", str(tmp_path / "s")]) == 0
    finished = {name: content for name, content in tree(tmp_path / "s").items() if ".part-" not in name}
    assert finished == tree(whole)


def test_what_a_killed_run_left_is_removed_later(data: Path, tmp_path: Path) -> None:
    left = tmp_path / ".part-dead"
    left.mkdir()
    old = time.time() - 2 * store_build.ABANDONED_S
    os.utime(left, (old, old))
    (tmp_path / ".part-alive").mkdir()
    build(listed(data)[:1], chain(), tmp_path)
    assert not left.exists() and (tmp_path / ".part-alive").exists()


def test_a_bad_case_does_not_stop_the_others(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(data, tmp_path / "data")
    broken = folder / "imagesTr" / "BRATS_003.nii.gz"
    broken.write_bytes(broken.read_bytes()[:2000])
    assert store.main(["--dataset_dir", str(folder), "--store_dir", str(tmp_path / "s")]) == 1
    assert store_build.cases(tmp_path / "s") == ["BRATS_001", "BRATS_002", "BRATS_004", "BRATS_005"]
    said = capsys.readouterr()
    assert "BRATS_003.nii.gz" in said.err and "Traceback" not in said.err and "4 of 5" in said.out


def test_other_transforms_make_it_stale(data: Path, whole: Path) -> None:
    with pytest.raises(InputError, match=r"stale.*2.0.*3.0") as caught:
        build(listed(data), chain((3.0, 3.0, 3.0)), whole)
    assert "--rebuild" in str(caught.value)


def test_another_source_makes_it_stale_and_a_touched_one_does_not(data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(data, tmp_path / "data")
    build(listed(folder), chain(), tmp_path / "s")
    label = folder / "labelsTr" / "BRATS_004.nii.gz"
    os.utime(label, (1, 1))
    assert build(listed(folder), chain(), tmp_path / "s") == {}
    image = nib.load(label)
    voxels = np.asarray(image.dataobj).copy()
    voxels[voxels == 2] = 3
    nib.save(nib.Nifti1Image(voxels, image.affine), label)
    with pytest.raises(InputError, match="BRATS_004: is stale, it was made from another BRATS_004"):
        build(listed(folder), chain(), tmp_path / "s")
    assert build(listed(folder), chain(), tmp_path / "s", rebuild=True) == {}
    assert 2 not in read_case(tmp_path / "s" / "BRATS_004").locations


def test_rebuild_brings_all_to_the_new_recipe(data: Path, tmp_path: Path) -> None:
    build(listed(data), chain(), tmp_path)
    build(listed(data)[:2], chain((3.0, 3.0, 3.0)), tmp_path, rebuild=True)
    assert set(verify(tmp_path)[1]) == {"BRATS_003", "BRATS_004", "BRATS_005"}
    build(listed(data), chain((3.0, 3.0, 3.0)), tmp_path, rebuild=True)
    assert verify(tmp_path) == (5, {})
    assert read_case(tmp_path / "BRATS_001").spacing_mm == (3.0, 3.0, 3.0)


@pytest.mark.parametrize("name", ["image.npy", "label.npy", "locations.npy"])
def test_verify_finds_a_flipped_bit(data: Path, whole: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(whole, tmp_path / "s")
    file = folder / "BRATS_002" / name
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    assert store.main(["--verify", "--store_dir", str(folder)]) == 1
    assert list(verify(folder)[1]) == ["BRATS_002"] and name in verify(folder)[1]["BRATS_002"]


def test_a_short_file_is_one_sentence(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole / "BRATS_001", tmp_path / "BRATS_001")
    (folder / "image.npy").write_bytes((folder / "image.npy").read_bytes()[:-100])
    with pytest.raises(InputError, match=r"image.npy: has \d+ bytes"):
        read_case(folder)


@pytest.mark.parametrize("damage", ["no image.npy", "short image.npy", "{}", "[]", "not json"])
def test_a_damaged_case_is_told_and_made_again(data: Path, whole: Path, tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(whole, tmp_path / "s")
    case = folder / "BRATS_002"
    if damage == "no image.npy":
        (case / "image.npy").unlink()
    elif damage == "short image.npy":
        (case / "image.npy").write_bytes((case / "image.npy").read_bytes()[:-100])
    else:
        (case / "case.json").write_text(damage)
    assert list(verify(folder)[1]) == ["BRATS_002"]
    assert store.main(["--dataset_dir", str(data), "--store_dir", str(folder)]) == 0
    assert tree(folder) == tree(whole)


def test_two_processes_may_finish_the_same_case(data: Path, whole: Path, tmp_path: Path, monkeypatch) -> None:
    """The other one's folder appears between looking and renaming."""
    replace = os.replace

    def late(source, target):
        if Path(source).name == "new" and not Path(target).exists():
            shutil.copytree(whole / "BRATS_001", target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    assert build(listed(data)[:1], chain(), tmp_path) == {}
    assert verify(tmp_path) == (1, {})


def test_functions_made_on_the_spot_are_told_apart() -> None:
    def scaled(factor):
        return lambda image: image * factor

    assert describe(lambda x: x * 2) != describe(lambda x: x * 3)
    assert describe(scaled(2)) != describe(scaled(3)) and describe(scaled(2)) == describe(scaled(2))
    assert describe(partial(max, 2)) != describe(partial(max, 3))
    assert describe(slice(2, -1)) != describe(slice(1, -1))


def test_a_full_disk_stops_the_run(data: Path, tmp_path: Path, monkeypatch) -> None:
    tried = []

    def full(*arguments, **options):
        tried.append(arguments)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match="No space left"):
        build(listed(data), chain(), tmp_path, workers=1)
    assert len(tried) == 1 and not list(tmp_path.glob(".part-*"))


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--spacing", "0", "0", "-3"]])
def test_numbers_out_of_range_are_refused(arguments: list[str], data: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        store.main(["--dataset_dir", str(data), "--store_dir", str(tmp_path), *arguments])


def test_a_config_without_transforms_is_one_sentence(data: Path, tmp_path: Path, capsys) -> None:
    config = str(BUNDLE / "configs" / "multi_gpu_train.json")
    assert store.main(["--dataset_dir", str(data), "--store_dir", str(tmp_path), "--config_file", config]) == 1
    said = capsys.readouterr().err
    assert "name configs/train.json first" in said and "Traceback" not in said


@pytest.mark.parametrize("name, text", [("a.json", "{"), ("a.json", "[1]"), ("a.txt", "{}")])
def test_a_file_that_is_no_config_is_one_sentence(name: str, text: str, data: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / name).write_text(text)
    arguments = ["--dataset_dir", str(data), "--store_dir", str(tmp_path / "s"), "--config_file", str(tmp_path / name)]
    assert store.main(arguments) == 1
    said = capsys.readouterr().err
    assert f"{name}: cannot be read as a config (" in said and said.count("\n") == 1


def test_configs_may_be_listed_as_in_training(data: Path, tmp_path: Path, capsys) -> None:
    names = [str(BUNDLE / "configs" / name) for name in ("train.json", "recipe/zoo.json")]
    (listed_there, _), (one_by_one, _) = store.recipe_of([str(names)], {}), store.recipe_of(names, {})
    assert [type(step) for step in listed_there] == [type(step) for step in one_by_one]
    assert len(listed_there) != len(store.recipe_of(names[:1], {})[0])
    assert store.main(["--dataset_dir", str(data), "--store_dir", str(tmp_path), "--config_file", "['a.json'"]) == 1
    assert "--config_file is ['a.json', which is no list; write" in capsys.readouterr().err


def test_a_folder_of_other_things_is_no_store(data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(InputError, match="is no store"):
        build(listed(data), chain(), tmp_path)
    assert store.main(["--verify", "--store_dir", str(tmp_path)]) == 1


@pytest.mark.parametrize("shard", ["3/3", "1", "a/b", "-1/2", "0/0", "²/3"])
def test_a_shard_that_is_none_is_refused(shard: str) -> None:
    with pytest.raises(InputError, match="I/N"):
        store.share([1, 2, 3], shard)


def test_copies_of_a_case_are_stored_once(data: Path, tmp_path: Path) -> None:
    item = listed(data)[0]
    copies = [{**item, "case": f"{item['case']}_copy{number:03d}"} for number in (1, 2, 3)]
    assert len(StoreDataset(copies, chain(), str(tmp_path))) == 3
    assert store_build.cases(tmp_path) == ["BRATS_001"]


def test_real_patients_take_less_room_than_their_files(tmp_path: Path) -> None:
    folder = patients("BraTS2021")
    arguments = ["--dataset_dir", str(folder), "--store_dir", str(tmp_path), "--spacing", "1.5", "1.5", "2"]
    assert store.main(arguments) == 0
    sources = sum(s["bytes"] for name in store_build.cases(tmp_path) for s in read_manifest(tmp_path / name)["sources"])
    stored = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert stored <= 0.9 * sources
