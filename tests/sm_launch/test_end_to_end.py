"""The whole way by the command line, as a user types it, on an AWS account of this machine whose jobs really run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from emulator import aws
from forked import LEAN, run_forked
from served import assert_same_volume, local_inference
from tiny import TINY
from user import IMAGE, REGION, ROOT, SEND, SERVER, User

from sm_launch.local.isolation import privileges

BUCKET = "brats-end-to-end"
RUN, SEARCH_RUN, REALTIME_RUN, BATCH_RUN = "brats-1", "brats-2", "brats-3", "brats-4"

pytestmark = pytest.mark.skipif(privileges() is None, reason="two machines on one need Linux namespaces")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, tiny_decathlon: Path) -> Iterator[User]:
    """A user with a spec: preprocess on two machines, train on two, on spot, and deploy."""
    folder = tmp_path_factory.mktemp("user")
    environment = {"OMP_NUM_THREADS": "1", **LEAN}
    spec = {
        "name": "brats",
        "bundle": str(ROOT / "bundle"),
        "region": REGION,
        "role": "",
        "bucket": {"name": BUCKET, "create": True},
        "data": {"source": str(tiny_decathlon)},
        "preprocess": {
            "instance_type": "ml.c5.xlarge", "instance_count": 2, "sharded": ["imagesTr"],
            "replicated": ["labelsTr", "dataset.json"], "packages": [], "environment": environment,
        },
        "train": {
            "instance_type": "ml.c5.xlarge", "instance_count": 2, "processes_per_host": 1, "spot": True, "packages": [],
            "environment": environment,
            "configs": ["configs/train.json", "configs/data/store.json"],
            "channels": {"train": "data", "store": "preprocess"}, "channel_knobs": {"store_dir": "store"},
            "overrides": {**TINY, "epochs": 2, "split_ratios": [0.5, 0.5, 0.0]},
            "keep": ["configs/*", "scripts/*", "models/model.pt", "models/model.json"],
        },
        "deploy": {
            "image": IMAGE, "instance_type": "ml.c5.xlarge",
            "environment": {"BIND_HOST": "127.0.0.1", "OMP_NUM_THREADS": "1"},
        },
    }  # fmt: skip
    with aws(serve_command=SERVER, folder=folder / "aws", region=REGION) as account:
        spec["role"] = account.role
        (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
        yield User(account, folder, BUCKET)


@pytest.fixture(scope="module")
def applied(user: User) -> str:
    """What ``apply`` printed; the spot machines were taken away once, after the first epoch."""
    user.account.faults.interrupt_spot(f"{RUN}-train", r"epoch 1/2")
    return user.types("apply", str(user.folder / "spec.yaml"), "--run", RUN, "--yes", "--poll", "0.5")


def test_shards_make_one_store(user: User, applied: str, tiny_decathlon: Path, tmp_path: Path) -> None:
    arguments = ["--dataset_dir", str(tiny_decathlon), "--store_dir", str(tmp_path)]
    assert run_forked("scripts.store", arguments, ROOT / "bundle", {}).returncode == 0
    alone = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    shards = user.objects(f"sm-launch/runs/{RUN}/store/")
    assert set(shards) == set(alone)
    arrays = [name for name in alone if name.endswith(".npy")]
    assert len(arrays) >= 8 * 3
    assert all(shards[name] == alone[name].read_bytes() for name in arrays)


def test_training_went_on_after_its_machines_were_taken(user: User, applied: str) -> None:
    job = user.account.session().client("sagemaker").describe_training_job(TrainingJobName=f"{RUN}-train")
    statuses = [one["Status"] for one in job["SecondaryStatusTransitions"]]
    assert "Interrupted" in statuses and statuses[-1] == "Completed"
    (metrics,) = [
        text for name, text in user.objects(f"sm-launch/runs/{RUN}/checkpoints/train/runs/").items()
        if name.endswith("metrics.jsonl")
    ]  # fmt: skip
    # One curve without a gap or a double, written by two attempts.
    assert [json.loads(line)["epoch"] for line in metrics.splitlines()] == [1, 2]
    assert {one["MetricName"] for one in job["FinalMetricDataList"]} == {"train_loss", "val_mean_dice"}
    assert "2 processes (gloo)" in applied and "algo-2" in applied


def test_predictions_are_those_of_local_inference(
    user: User, applied: str, tiny_decathlon: Path, tmp_path: Path
) -> None:
    cases, answers = tiny_decathlon / "imagesTs", tmp_path / "answers"
    assert "2 answered" in user.types("predict", RUN, str(cases), str(answers), *SEND)
    artifact = user.objects(f"sm-launch/runs/{RUN}/output/")[f"{RUN}-train/output/model.tar.gz"]
    (tmp_path / "model.tar.gz").write_bytes(artifact)
    shutil.unpack_archive(tmp_path / "model.tar.gz", tmp_path / "model")
    local_inference(tmp_path / "model" / "bundle", tmp_path / "local", "--dataset_dir", str(cases))
    names = sorted(path.name for path in (tmp_path / "local").glob("*_seg.nii.gz"))
    assert len(names) == 2
    for name in names:
        assert_same_volume((answers / name).read_bytes(), tmp_path / "local" / name)
    # What was answered is not sent again.
    assert "0 answered, 2 answered before" in user.types("predict", RUN, str(cases), str(answers), *SEND)
    # Cases do not stay in S3.
    assert not user.objects(f"sm-launch/runs/{RUN}/waiting/")


def test_a_volume_of_full_size_goes_through(user: User, applied: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 64, (240, 240, 155, 4), dtype=np.int16)
    (tmp_path / "cases").mkdir()
    nib.save(nib.Nifti1Image(noise, np.diag([-1.0, -1, 1, 1])), tmp_path / "cases" / "full.nii.gz")
    assert (tmp_path / "cases" / "full.nii.gz").stat().st_size > 10e6
    user.types("predict", RUN, str(tmp_path / "cases"), str(tmp_path / "answers"), *SEND)
    assert nib.load(tmp_path / "answers" / "full_seg.nii.gz").shape == (240, 240, 155)


def test_real_time_and_batch_answer_as_the_queue_does(
    user: User, applied: str, tiny_decathlon: Path, tmp_path: Path
) -> None:
    cases, answers = tiny_decathlon / "imagesTs", tmp_path / "answers"
    user.types("predict", RUN, str(cases), str(answers), *SEND)
    model = f"s3://{BUCKET}/sm-launch/runs/{RUN}/output/{RUN}-train/output/model.tar.gz"
    words = ["apply", str(user.folder / "spec.yaml"), "--jobs", "deploy", "--yes", "--poll", "0.5", "--set"]
    words += [f"deploy.model={model}", "--set"]
    user.types(*words, "deploy.mode=realtime", "--run", REALTIME_RUN)
    user.types("predict", REALTIME_RUN, str(cases), str(tmp_path / "realtime"), *SEND)
    folder = f"s3://{BUCKET}/sm-launch/data/{tiny_decathlon.name}/imagesTs"
    user.types(*words, "deploy.mode=batch", "--set", f"deploy.input={folder}", "--run", BATCH_RUN)
    batch = user.objects(f"sm-launch/runs/{BATCH_RUN}/answers/")
    user.types("predict", BATCH_RUN, str(cases), str(tmp_path / "batch"), *SEND)
    for case in sorted(cases.glob("*.nii.gz")):
        name = case.name.replace(".nii.gz", "_seg.nii.gz")
        for way in ("realtime", "batch"):
            assert_same_volume((tmp_path / way / name).read_bytes(), answers / name)
        (answer,) = [content for key, content in batch.items() if key.endswith(f"{case.name}.out")]
        assert_same_volume(answer, answers / name)


def test_runs_are_listed_with_what_they_cost(user: User, applied: str) -> None:
    listed = user.types("ls")
    assert RUN in listed and "USD so far" in listed
    assert f"{RUN}-endpoint  InService" in listed and "costs its instances, used or not" in listed


def test_a_search_names_its_best_trial(user: User, applied: str) -> None:
    changes = {
        "deploy": None, "preprocess": None, "train.spot": False, "train.instance_count": 1,
        "train.processes_per_host": 2, "train.channels": {"train": "data"}, "train.channel_knobs": {},
        "train.configs": ["configs/train.json"],
    }  # fmt: skip
    bundle = user.folder / "bundle"
    shutil.copytree(ROOT / "bundle", bundle, ignore=shutil.ignore_patterns("__pycache__", "models", "runs", "cache"))
    search = {"space": {"optimizer::lr": {"choice": [0.001, 0.01]}}, "epochs": 1, "algorithm": "grid"}
    (bundle / "configs" / "search" / "two.json").write_text(json.dumps(search))
    changes |= {"bundle": str(bundle), "tune": {"search": "configs/search/two.json", "parallel": 1}}
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    user.types("apply", str(user.folder / "spec.yaml"), "--run", SEARCH_RUN, "--yes", "--poll", "0.5", *words)
    best = user.folder / "best.json"
    table = user.types("results", SEARCH_RUN, "--best", str(best)).splitlines()
    assert table[0].split()[:2] == ["val_mean_dice", "optimizer::lr"]
    rows = [line.split() for line in table[1:3]]
    assert {row[1] for row in rows} == {"0.001", "0.01"} and float(rows[0][0]) >= float(rows[1][0])
    assert json.loads(best.read_text()) == {"optimizer::lr": float(rows[0][1])}
    # Each trial started its own two processes.
    logs = user.types("follow", SEARCH_RUN, "--poll", "0.5")
    assert "2 processes (gloo)" in logs


def test_down_leaves_nothing(user: User, applied: str) -> None:
    for run in (RUN, SEARCH_RUN, REALTIME_RUN, BATCH_RUN):
        if (user.folder / "home" / f"{run}.json").exists():
            printed = user.types("down", run, "--yes", "--files", "--poll", "0.2")
            assert "nothing is left that runs" in printed
            assert not user.objects(f"sm-launch/runs/{run}/")
    left = [one for one in user.account.everything_left() if one.billed]
    # The data set and the bucket are the user's own.
    assert [one.kind for one in left if one.kind != "object"] == ["bucket"]
    assert all(one.name.startswith(f"{BUCKET}/sm-launch/data/") for one in left if one.kind == "object"), left
