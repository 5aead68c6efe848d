"""The phantom: the same by seed, whole or absent, a real Decathlon folder, and no prize for a threshold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scripts import phantom
from scripts.errors import InputError
from scripts.labels import SCHEMES, detect_scheme
from scripts.phantom.__main__ import main
from scripts.phantom.anatomy import Grid

BUNDLE = Path(phantom.__file__).resolve().parents[2]
COARSE = {"shape": (40, 48, 40), "spacing_mm": 4.0, "progress": False}
COARSE_FLAGS = ("--shape", "40", "48", "40", "--spacing_mm", "4")
CASES, UNLABELLED = 8, 2


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labelled and two unlabelled cases at 3 mm."""
    target = tmp_path_factory.mktemp("phantom") / "set"
    return phantom.generate(target, CASES, UNLABELLED, shape=(54, 64, 54), spacing_mm=3.0, progress=False)


@pytest.fixture(scope="module")
def volumes(small_set: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Image (H, W, D, 4) and label (H, W, D) of every labelled case."""
    listed = json.loads((small_set / "dataset.json").read_text(encoding="utf-8"))["training"]
    return [
        tuple(np.asanyarray(nib.load(small_set / case[key]).dataobj) for key in ("image", "label")) for case in listed
    ]


def load(path: Path) -> np.ndarray:
    """The voxels of a NIfTI file."""
    return np.asanyarray(nib.load(path).dataobj)


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start Python on ``code`` with the bundle as working directory."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=BUNDLE, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def best_threshold_dice(volumes: list[tuple[np.ndarray, np.ndarray]], modality: int, ids: tuple[int, ...]) -> float:
    """Mean Dice over cases of the best single threshold of one modality, in either direction, for the region ``ids``.

    Intensities are z-scored inside the brain, as for training. A case without the region counts 1 if nothing is found.
    """
    scored, truths = [], []
    for image, label in volumes:
        brain = (image != 0).any(axis=-1)
        values = image[brain][:, modality].astype(np.float32)
        scored.append((values - values.mean()) / values.std())
        truths.append(np.isin(label[brain], ids))
    best = 0.0
    for sign in (1, -1):
        for threshold in np.arange(-3, 6, 0.1):
            dice = []
            for values, truth in zip(scored, truths, strict=True):
                found = sign * values > threshold
                total = found.sum() + truth.sum()
                dice.append(2 * (found & truth).sum() / total if total else 1.0)
            best = max(best, float(np.mean(dice)))
    return best


def test_same_seed_same_voxels_whatever_the_number_of_cases(tmp_path: Path) -> None:
    first = phantom.generate(tmp_path / "a", 2, 0, seed=5, **COARSE)
    again = phantom.generate(tmp_path / "b", 1, 1, seed=5, **COARSE)
    other = phantom.generate(tmp_path / "c", 1, 0, seed=6, **COARSE)
    for folder in ("imagesTr", "labelsTr"):
        voxels = [load(root / folder / "PHANTOM_001.nii.gz") for root in (first, again, other)]
        assert np.array_equal(voxels[0], voxels[1])
        assert not np.array_equal(voxels[0], voxels[2])
    name = "PHANTOM_002.nii.gz"
    assert np.array_equal(load(first / "imagesTr" / name), load(again / "imagesTs" / name))


def test_patient_is_the_same_at_another_spacing() -> None:
    fine = phantom.make_case(1, 0, Grid((80, 96, 80), 2.0))[1]
    coarse = phantom.make_case(1, 0, Grid((40, 48, 40), 4.0))[1]
    # 4 mm voxels cover 2 x 2 x 2 voxels of 2 mm: both grids have the same middle.
    shares = (fine > 0).reshape(40, 2, 48, 2, 40, 2).mean(axis=(1, 3, 5)) >= 0.5
    assert 2 * (shares & (coarse > 0)).sum() / (shares.sum() + (coarse > 0).sum()) > 0.85


def test_decathlon_description_names_every_file(small_set: Path) -> None:
    described = json.loads((small_set / "dataset.json").read_text(encoding="utf-8"))
    assert "SYNTHETIC" in described["name"] and "SYNTHETIC" in described["description"]
    assert list(described["modality"].values()) == ["FLAIR", "T1w", "T1gd", "T2w"]
    assert (described["numTraining"], described["numTest"]) == (CASES, UNLABELLED)
    named = [case[key] for case in described["training"] for key in ("image", "label")] + described["test"]
    assert len(named) == len(set(named)) == 2 * CASES + UNLABELLED
    on_disk = {path.relative_to(small_set).as_posix() for path in small_set.rglob("*.nii.gz")}
    assert {name.removeprefix("./") for name in named} == on_disk
    declared = {int(key): value for key, value in described["labels"].items()}
    assert detect_scheme([0, 1, 2, 3], declared) == "msd"


def test_geometry_is_that_of_brats(small_set: Path) -> None:
    image = nib.load(small_set / "imagesTr" / "PHANTOM_001.nii.gz")
    label = nib.load(small_set / "labelsTr" / "PHANTOM_001.nii.gz")
    assert image.shape == (54, 64, 54, 4) and label.shape == (54, 64, 54)
    assert image.get_data_dtype() == np.int16 and label.get_data_dtype() == np.uint8
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.header.get_zooms()[:3] == (3.0, 3.0, 3.0)
    assert np.array_equal(image.affine, label.affine)
    assert np.allclose(image.get_qform(), image.get_sform())
    # The brain's middle is near the grid's, and that is near the middle of MNI152, not at voxel 0.
    brain = np.argwhere(np.asanyarray(image.dataobj)[..., 0] != 0).mean(axis=0)
    assert np.linalg.norm(image.affine[:3, :3] @ brain + image.affine[:3, 3] - [0, -17, 5]) < 15


def test_brain_is_skull_stripped_and_inside_the_grid(volumes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for image, label in volumes:
        brain = (image != 0).any(axis=-1)
        assert image[brain].all()
        assert 1100 < brain.sum() * 0.027 < 1900
        assert not any(brain.take(edge, axis=axis).any() for axis in range(3) for edge in (0, -1))
        assert brain[label > 0].all()


def test_lesions_are_nested_and_of_wanted_size(volumes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for image, label in volumes:
        core = np.isin(label, SCHEMES["msd"].regions["TC"])
        assert 20 < (label > 0).sum() * 0.027 < 120
        assert 0.15 < core.sum() / (label > 0).sum() < 0.6
        around = ndimage.binary_dilation(core) & ~core & (image[..., 0] != 0)
        # Nearly all that touches the core is edema; the rest is fluid, which does not swell.
        assert (label[around] == 1).mean() > 0.7


def test_one_case_in_four_does_not_enhance(volumes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    present = [{int(value) for value in np.unique(label)} for _, label in volumes]
    assert all({0, 1, 2} <= values for values in present)
    assert sum(3 not in values for values in present) == CASES // 4


def test_tissues_look_as_they_do_in_mri(volumes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    flair, t1gd, t2 = 0, 2, 3
    for image, label in volumes:
        healthy = (image[..., 0] != 0) & (label == 0)
        where = {value: label == value for value in (1, 2, 3) if (label == value).any()} | {0: healthy}
        mean = {value: image[mask].mean(axis=0) for value, mask in where.items()}
        assert mean[1][flair] > 1.2 * mean[0][flair]
        assert mean[2][t2] > mean[1][t2] > mean[0][t2]
        assert mean[2][t1gd] < mean[1][t1gd]
        if 3 in mean:
            assert mean[3][t1gd] > 1.3 * mean[0][t1gd]


def test_rim_is_thicker_than_a_shell_of_voxels() -> None:
    label = phantom.make_case(1, 0, Grid(phantom.SHAPE, phantom.SPACING_MM))[1]
    core = np.isin(label, (2, 3))
    second_layer = ndimage.binary_erosion(core) & ~ndimage.binary_erosion(core, iterations=2)
    assert (label[second_layer] == 3).mean() > 0.7


def test_no_threshold_on_one_modality_finds_the_tumour_core(volumes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    core = SCHEMES["msd"].regions["TC"]
    assert max(best_threshold_dice(volumes, modality, core) for modality in range(4)) < 0.6


def test_threshold_measure_finds_what_a_threshold_can_find() -> None:
    image, label = np.ones((4, 4, 4, 4), np.int16), np.zeros((4, 4, 4), np.uint8)
    label[1:3], image[1:3] = 2, 9
    assert best_threshold_dice([(image, label)], 0, (2,)) == 1.0


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on file size is POSIX")
def test_full_disk_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    # Every file system refuses files over this size: folders are made and small headers fit, the first image does not.
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "from scripts.phantom.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    process = run_python(code, "--output", str(tmp_path / "set"), "--cases", "2", *COARSE_FLAGS)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "cannot be written" in stderr and "Traceback" not in stderr
    assert not list(tmp_path.iterdir())


def test_parent_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        phantom.generate(tmp_path / "file" / "set", 1, 0, **COARSE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (20, 48, 40)}, "too small for a head"),
        ({"spacing_mm": 0.0}, "between 0.5 and 8 mm"),
        ({"cases": 0}, "at least 1"),
        ({"seed": -1}, "at least 1, 0 and 0"),
    ],
)
def test_bad_argument_is_refused_before_anything_is_written(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        phantom.generate(tmp_path / "set", **{**COARSE, **change})
    assert not list(tmp_path.iterdir())


def test_folder_with_files_is_refused_and_an_empty_one_filled(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    target = tmp_path / "set"
    target.mkdir()
    command = ["--output", str(target), "--cases", "1", "--unlabelled", "0", *COARSE_FLAGS]
    assert main(command) == 0
    assert "SYNTHETIC" in capsys.readouterr().out
    assert main(command) == 1
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_word_phantom_means_the_set_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRATS_CACHE_DIR", str(tmp_path))
    assert phantom.resolve("some/folder") == Path("some/folder")
    assert phantom.resolve(tmp_path) == tmp_path
    # A small set in the default one's place, so that the test is quick.
    made = phantom.generate(phantom.default_dir(), 1, 0, **COARSE)
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert phantom.resolve("phantom") == made
    assert tmp_path in made.parents
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_two_processes_at_once_both_get_the_whole_set(tmp_path: Path) -> None:
    target = tmp_path / "set"
    code = (
        "import sys; from functools import partial; from pathlib import Path; from scripts import phantom\n"
        "make = partial(phantom.generate, cases=1, unlabelled=0, shape=(40, 48, 40), spacing_mm=4.0)\n"
        "assert (phantom.make_once(Path(sys.argv[1]), make) / 'labelsTr' / 'PHANTOM_001.nii.gz').is_file()"
    )
    processes = [run_python(code, str(target)) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]
    assert sorted(os.listdir(target)) == ["dataset.json", "imagesTr", "imagesTs", "labelsTr"]
