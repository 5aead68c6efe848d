"""The commands a user types, as processes of their own, in a copy of the bundle that lies somewhere else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from forked import LEAN, run_forked, run_together
from processes import free_ports, launched
from tiny import make_case, save, write_decathlon
from workflow import BUNDLE

TINY = [
    "--patch_size", "[32,32,32]", "--epochs", "1", "--network_def::channels", "[4,8,16]",
    "--network_def::strides", "[2,2]", "--network_def::num_res_units", "1",
]  # fmt: skip
TRAIN = ["run", "--config_file", "configs/train.json"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen labelled and one unlabelled case: two processes get a validation case each."""
    return write_decathlon(tmp_path_factory.mktemp("data") / "Task01_Tiny", cases=14, unlabelled=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of bundle/ alone, as in a Model Zoo checkout."""
    target = tmp_path_factory.mktemp("elsewhere") / "brats"
    shutil.copytree(
        BUNDLE, target, ignore=shutil.ignore_patterns("__pycache__", "models", "runs", "predictions", "cache")
    )
    return target


def monai_bundle(
    *arguments: str, cwd: Path, launcher: tuple[str, ...] = (), env: dict[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m monai.bundle`` and hold its exit code against ``code``.

    Variables that count when Python starts take a true interpreter; a launcher starts such ones itself.
    """
    variables = {"OMP_NUM_THREADS": "1"} | LEAN | (env or {})
    if env:
        done = subprocess.run(
            [sys.executable, "-m", "monai.bundle", *arguments],
            cwd=cwd, capture_output=True, text=True, timeout=300, env=os.environ | variables,
        )  # fmt: skip
    else:
        module, *more = [*launcher, "monai.bundle"]
        done = run_forked(module, [*more, *arguments], cwd, variables)
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def by_two(*arguments: str, cwd: Path, code: int = 0) -> list[subprocess.CompletedProcess[str]]:
    """The same command in two processes with torchrun's variables."""
    (port,) = free_ports(1)
    both = run_together("monai.bundle", arguments, cwd, [launched(rank, 2, port) for rank in range(2)])
    assert [done.returncode for done in both] == [code, code], "".join(done.stderr[-3000:] for done in both)
    return both


@pytest.fixture(scope="module")
def trained(bundle: Path, data: Path) -> Path:
    """The copied bundle after a training in it, started as a user does."""
    command = [sys.executable, "-m", "monai.bundle", *TRAIN, "--dataset_dir", str(data), "--run_name", "first", *TINY]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "epoch 1/1" in done.stdout and "Dice" in done.stdout and "left" in done.stdout
    return bundle


def test_exact_command_is_kept(trained: Path) -> None:
    command = (trained / "runs" / "first" / "command.txt").read_text()
    assert command.startswith("python -m monai.bundle run --config_file configs/train.json --dataset_dir")
    assert "--epochs 1" in command


def test_evaluate_and_infer_from_another_folder(trained: Path, data: Path, tmp_path: Path) -> None:
    configs = trained / "configs"
    overlay = f"['{(configs / 'train.json').as_posix()}','{(configs / 'evaluate.json').as_posix()}']"
    monai_bundle("run", "--config_file", overlay, "--bundle_root", str(trained), cwd=tmp_path)
    assert (trained / "runs" / "first" / "test" / "cases.csv").is_file()
    assert "Test results" in (trained / "runs" / "first" / "report.html").read_text(encoding="utf-8")
    monai_bundle(
        "run", "--config_file", str(configs / "inference.json"), "--bundle_root", str(trained),
        "--dataset_dir", str(data), "--output_dir", "out", cwd=tmp_path,
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["BRATS_015_seg.nii.gz"]


def test_train_from_another_folder(bundle: Path, data: Path, tmp_path: Path) -> None:
    monai_bundle(
        "run", "--config_file", str(bundle / "configs" / "train.json"), "--bundle_root", str(bundle),
        "--dataset_dir", str(data), "--output_dir", "runs", "--ckpt_dir", "models", *TINY, cwd=tmp_path,
    )  # fmt: skip
    assert (tmp_path / "models" / "model.pt").is_file()


def test_two_processes_train_one_model(bundle: Path, data: Path, tmp_path: Path) -> None:
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    overlay = "['configs/train.json','configs/multi_gpu_train.json']"
    done = monai_bundle(
        "run", "--config_file", overlay, "--dataset_dir", str(data), "--output_dir", str(tmp_path / "runs"),
        "--ckpt_dir", str(tmp_path / "models"), "--run_name", "two", "--accumulation_steps", "2",
        "--clip_grad_norm", "12", "--ema_decay", "0.9", *TINY, cwd=bundle, launcher=launcher,
    )  # fmt: skip
    assert (
        "2 processes (gloo), cpu; batch 1 x 2 patches a process, global batch 4 cases = 8 patches (2 acc" in done.stdout
    )
    assert done.stdout.count("epoch 1/1") == 1
    assert len((tmp_path / "runs" / "two" / "metrics.jsonl").read_text().splitlines()) == 1
    command = (tmp_path / "runs" / "two" / "command.txt").read_text()
    assert command.startswith("torchrun --standalone --nproc_per_node=2 -m monai.bundle run")
    # Two processes score half of the test cases each, into one table.
    overlay = "['configs/train.json','configs/multi_gpu_train.json','configs/evaluate.json']"
    by_two("run", "--config_file", overlay, "--ckpt_dir", str(tmp_path / "models"), cwd=bundle)
    held_out = json.loads((tmp_path / "models" / "model.json").read_text())["datalist"]["test"]
    cases = json.loads((tmp_path / "runs" / "two" / "test" / "cases.json").read_text())
    assert [case["case"] for case in cases] == sorted(entry["case"] for entry in held_out)
    # Neither wrapper, of processes or of the average, leaves its name in the weights: one process loads them.
    monai_bundle(
        "run", "--config_file", "configs/inference.json", "--dataset_dir", str(data), "--output_dir",
        str(tmp_path / "out"), "--ckpt_dir", str(tmp_path / "models"), cwd=bundle,
    )  # fmt: skip
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_two_processes_train_from_one_store(bundle: Path, data: Path, tmp_path: Path) -> None:
    overlay = "['configs/train.json','configs/data/store.json','configs/multi_gpu_train.json']"
    first, _ = by_two(
        "run", "--config_file", overlay, "--dataset_dir", str(data), "--output_dir", str(tmp_path / "runs"),
        "--ckpt_dir", str(tmp_path / "models"), "--run_name", "two", "--store_dir", str(tmp_path / "store"), *TINY,
        cwd=bundle,
    )  # fmt: skip
    assert "batch 1 x 2 patches a process, global batch 2 cases = 4 patches" in first.stdout
    held = json.loads((tmp_path / "runs" / "two" / "datalist.json").read_text())
    stored = sorted(folder.name for folder in (tmp_path / "store").glob("BRATS_*"))
    assert stored == sorted(entry["case"] for part in ("training", "validation") for entry in held[part])
    assert not list((tmp_path / "store").glob(".part-*"))


def test_one_epoch_on_monai_1_5_2(bundle: Path, data: Path, tmp_path: Path) -> None:
    overlay = os.environ.get("MONAI_152_PATH")
    if not overlay:
        pytest.skip("MONAI_152_PATH is unset: python run.py test prepares the second environment")
    env = {"PYTHONPATH": overlay}
    version = subprocess.run(
        [sys.executable, "-c", "import monai; print(monai.__version__)"], env=os.environ | env, capture_output=True,
        text=True,
    )  # fmt: skip
    assert version.stdout.strip() == "1.5.2"
    paths = ["--dataset_dir", str(data), "--ckpt_dir", str(tmp_path / "models")]
    monai_bundle(*TRAIN, *paths, "--output_dir", str(tmp_path / "runs"), *TINY, cwd=bundle, env=env)
    overlay_files = "['configs/train.json','configs/evaluate.json']"
    monai_bundle("run", "--config_file", overlay_files, "--ckpt_dir", str(tmp_path / "models"), cwd=bundle, env=env)
    inference = ["run", "--config_file", "configs/inference.json", *paths, "--output_dir", str(tmp_path / "out")]
    monai_bundle(*inference, cwd=bundle, env=env)
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_torchrun_without_its_overlay_is_refused(bundle: Path, data: Path, tmp_path: Path) -> None:
    paths = ["--dataset_dir", str(data), "--output_dir", str(tmp_path / "runs"), "--ckpt_dir", str(tmp_path / "m")]
    for done in by_two(*TRAIN, *paths, *TINY, cwd=bundle, code=1):
        assert "configs/multi_gpu_train.json to --config_file" in done.stderr
    assert not (tmp_path / "runs").exists()


def only_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The error that was shown, which has no traceback."""
    assert "Traceback" not in done.stderr + done.stdout
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    return done.stderr[done.stderr.index(line) :]


def test_misspelt_override_is_one_sentence(bundle: Path, tmp_path: Path) -> None:
    done = monai_bundle(*TRAIN, "--epochz", "3", "--output_dir", str(tmp_path / "runs"), cwd=bundle, code=1)
    assert only_sentence(done).strip() == (
        "error: override 'epochz' is read by nothing in this config; did you mean 'epochs'?"
    )
    assert not (tmp_path / "runs").exists()


def test_misspelt_nested_override_and_two_workflows_are_one_sentence(bundle: Path, tmp_path: Path) -> None:
    output = ["--output_dir", str(tmp_path / "runs")]
    done = monai_bundle(*TRAIN, "--network_def#channelz", "3", *output, cwd=bundle, code=1)
    assert only_sentence(done).strip() == (
        "error: override 'network_def::channelz' is read by nothing: UNet has no such argument; did you mean "
        "'network_def::channels'?"
    )
    both = ["run", "--config_file", "['configs/train.json','configs/inference.json']"]
    done = monai_bundle(*both, *output, *TINY, cwd=bundle, code=1)
    assert only_sentence(done).startswith("error: inference.json and train.json are both in --config_file")
    assert not (tmp_path / "runs").exists()


def break_folder(folder: Path, how: str) -> tuple[Path, list[str]]:
    """A dataset_dir with one thing wrong, and words that its sentence must hold."""
    if how == "missing":
        return folder / "nowhere", ["nowhere", "no such folder"]
    if how == "empty":
        folder.mkdir()
        return folder, [str(folder), "dataset.json"]
    if how == "no layout":
        folder.mkdir()
        (folder / "notes.txt").write_text("nothing here")
        return folder, [str(folder), "dataset.json"]
    write_decathlon(folder, cases=8)
    bad_image, bad_label = folder / "imagesTr" / "BRATS_003.nii.gz", folder / "labelsTr" / "BRATS_003.nii.gz"
    image, label = make_case(2)
    if how == "truncated":
        bad_image.write_bytes(bad_image.read_bytes()[:2000])
        return folder, ["imagesTr/BRATS_003.nii.gz", "cannot be read"]
    if how == "3-D":
        save(image[..., 0], bad_image)
        return folder, ["BRATS_003", "3-D image", "4 modalities"]
    if how == "three modalities":
        save(image[..., :3], bad_image)
        return folder, ["BRATS_003", "3 modalities", "4 are wanted"]
    if how == "shape":
        save(label[:-1], bad_label)
        return folder, ["labelsTr/BRATS_003", "has shape 23x28x20", "24x28x20"]
    if how == "affine":
        save(label, bad_label, np.diag([2.0, 2.0, 3.0, 1.0]))
        return folder, ["labelsTr/BRATS_003", "another affine"]
    if how == "label value":
        label[label == 3] = 7
        save(label, bad_label)
        return folder, ["BRATS_003", "label value 7", "msd"]
    if how == "NaN":
        spoilt = image.astype(np.float32)
        spoilt[3, 4, 5, 1] = np.nan
        save(spoilt, bad_image)
        return folder, ["BRATS_003", "NaN"]
    image[..., 2] = 5
    save(image, bad_image)
    return folder, ["BRATS_003", "volume 3 of 4", "constant"]


@pytest.mark.parametrize(
    "how",
    ["missing", "empty", "no layout", "truncated", "3-D", "three modalities", "shape", "affine", "label value", "NaN",
     "constant"],
)  # fmt: skip
def test_bad_data_is_refused_by_the_finder(how: str, bundle: Path, tmp_path: Path) -> None:
    folder, words = break_folder(tmp_path / "data", how)
    done = run_forked("scripts.cases", ["--dataset_dir", str(folder), "--output", str(tmp_path / "d.json")], bundle, {})
    assert done.returncode != 0
    sentence = only_sentence(done).replace(os.sep, "/")
    assert all(word.replace(os.sep, "/") in sentence for word in words), sentence
    assert not (tmp_path / "d.json").exists()


def test_bad_cases_stop_a_training_before_its_first_epoch(bundle: Path, tmp_path: Path) -> None:
    folder, words = break_folder(tmp_path / "data", "truncated")
    paths = ["--output_dir", str(tmp_path / "runs"), "--ckpt_dir", str(tmp_path / "models")]
    done = monai_bundle(*TRAIN, "--dataset_dir", str(folder), *paths, *TINY, cwd=bundle, code=1)
    sentence = only_sentence(done)
    assert "1 of 8 cases" in sentence and "skip_bad_cases" in sentence and "BRATS_003" in sentence
    assert "epoch 1" not in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.skipif(sys.platform == "win32", reason="the file size limit that stands for a full disk is POSIX")
def test_full_disk_while_caching_is_one_sentence(bundle: Path, data: Path, tmp_path: Path) -> None:
    """A limit of 64 kB a file makes the operating system refuse the write, as a full disk does."""
    starter = tmp_path / "starter.py"
    starter.write_text(
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "sys.path[0], sys.argv = '', sys.argv[1:]\n"
        "runpy.run_module('monai.bundle', run_name='__main__', alter_sys=True)\n"
    )
    paths = ["--cache_dir", str(tmp_path / "cache"), "--output_dir", str(tmp_path / "runs")]
    done = run_forked(
        str(starter),
        ["monai.bundle", "run", "--config_file", "['configs/train.json','configs/data/persistent.json']",
         "--dataset_dir", str(data), "--ckpt_dir", str(tmp_path / "models"), *paths, *TINY],
        bundle, {},
    )  # fmt: skip
    assert done.returncode == 1
    assert "preprocessed cases cannot be written" in only_sentence(done)
    assert not list((tmp_path / "cache").glob("*.pt"))


def test_unwritable_output_of_inference_is_one_sentence(trained: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder is wanted")
    done = monai_bundle(
        "run", "--config_file", "configs/inference.json", "--dataset_dir", str(data), "--output_dir",
        str(tmp_path / "out"), cwd=trained, code=1,
    )  # fmt: skip
    assert "cannot be written" in only_sentence(done)


def test_label_volume_is_readable_by_others(trained: Path, data: Path, tmp_path: Path) -> None:
    monai_bundle(
        "run", "--config_file", "configs/inference.json", "--dataset_dir", str(data), "--output_dir",
        str(tmp_path / "out"), cwd=trained,
    )  # fmt: skip
    source = nib.load(data / "imagesTs" / "BRATS_015.nii.gz")
    labels = nib.load(tmp_path / "out" / "BRATS_015_seg.nii.gz")
    assert labels.shape == source.shape[:3] and np.array_equal(labels.affine, source.affine)
    assert labels.get_data_dtype() == np.uint8 and set(np.unique(np.asarray(labels.dataobj))) <= {0, 1, 2, 3}
    assert json.loads((trained / "models" / "model.json").read_text())["label_scheme"] == "msd"


def test_several_processes_without_a_launcher_are_one_sentence(bundle: Path) -> None:
    overlay = "['configs/train.json','configs/multi_gpu_train.json']"
    done = monai_bundle("run", "--config_file", overlay, cwd=bundle, code=1)
    assert done.stderr.splitlines()[-1].startswith("error: multi_gpu_train.json needs one process per device")
    assert "Traceback" not in done.stderr
