"""The project's bundle in local jobs: trained by two machines, interrupted, preprocessed by two machines."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import (
    BUCKET,
    BUNDLE,
    TINY,
    channel,
    code_channel,
    log,
    processing,
    processing_input,
    training,
)
from scripts.store import main as fill_store
from tiny import write_decathlon

from sm_launch.local import Event, FolderStore, JobResult, isolation, run_processing, run_training
from sm_launch.local.archives import unpack

needs_namespaces = pytest.mark.skipif(isolation.privileges() is None, reason="this machine gives no namespaces")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
DATA = f"{BUCKET}/data/Task01_Tiny"
TRAIN = {
    "kind": "train",
    "configs": ["configs/train.json"],
    "launch": "none",
    "keep": ["configs/*", "scripts/*", "LICENSE", "models/model.*"],
}
LOSS = [{"Name": "train:loss", "Regex": "epoch [0-9]+/[0-9]+ .*loss ([0-9.]+)"},
        {"Name": "val:mean_dice", "Regex": "epoch [0-9]+/[0-9]+ .*Dice ([0-9.]+)"}]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """Twelve cases, and code channels of the tests."""
    folder = tmp_path_factory.mktemp("bundles")
    found = FolderStore(folder / "s3")
    found.upload(write_decathlon(folder / "Task01_Tiny", cases=12), DATA)
    return found


def train(store: FolderStore, folder: Path, job: dict[str, Any], **more: Any) -> JobResult:
    """Run a training of the bundle."""
    options = {key: more.pop(key) for key in ("on_event", "interrupt") if key in more}
    name = folder.name
    code = code_channel(store, f"{BUCKET}/code/{name}", BUNDLE, job)
    request = training(name, channel("code", code), channel("train", DATA), Environment=ONE_THREAD, **more)
    return run_training(request, store, folder / "job", **options)


@needs_namespaces
def test_two_machines_of_two_processes_train_a_servable_bundle(store: FolderStore, tmp_path: Path) -> None:
    folder = tmp_path / "two-by-two"
    # Four cases to train and four to validate with: one for each process.
    overrides = {**TINY, "split_ratios": [0.34, 0.33, 0.33]}
    configs = ["configs/train.json", "configs/multi_gpu_train.json"]
    job = {**TRAIN, "configs": configs, "overrides": overrides, "launch": "torchrun", "processes_per_host": 2}
    result = train(
        store, folder, job, hosts=2, AlgorithmSpecification={"MetricDefinitions": LOSS},
        EnableNetworkIsolation=True,
    )  # fmt: skip
    assert result.status == "Completed", log(result)
    assert "training: 4 processes (gloo)" in log(result)
    assert [metric.name for metric in result.metrics] == ["train:loss", "val:mean_dice"]
    assert 0.1 < result.metrics[0].value < 10 and sorted(result.log_files) == ["algo-1", "algo-2"]
    # The second machine held no rank 0: it wrote nothing.
    assert not list((folder / "job" / "algo-2" / "ml" / "checkpoints").iterdir())
    assert not list((folder / "job" / "algo-2" / "ml" / "model").iterdir())
    model = tmp_path / "model"
    unpack(store.path(result.model_artifact_uri or ""), model)
    manifest = json.loads((model / "manifest.json").read_text())
    listed = {name: (entry["sha256"], entry["bytes"]) for name, entry in manifest["files"].items()}
    assert listed == {
        path.relative_to(model).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for path in (model / "bundle").rglob("*")
        if path.is_file()
    }
    models = {name for name in listed if name.startswith("bundle/models/")}
    assert models == {"bundle/models/model.pt", "bundle/models/model.json"}
    assert {"bundle/configs/inference.json", "bundle/scripts/engine.py", "bundle/LICENSE"} <= set(listed)
    assert manifest["overrides"]["network_def::channels"] == [4, 8, 16]
    weights = torch.load(model / "bundle" / "models" / "model.pt", weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    unpack(store.path(result.output_uri or ""), tmp_path / "output")
    records = (tmp_path / "output" / "runs" / "run" / "metrics.jsonl").read_text().splitlines()
    assert round(json.loads(records[-1])["train_loss"], 4) == result.metrics[0].value


def test_a_spot_training_loses_nothing_but_time(store: FolderStore, tmp_path: Path) -> None:
    interrupt = threading.Event()

    def after_the_first_epoch(event: Event) -> None:
        if "epoch 1/3" in event.message:
            interrupt.set()

    overrides = {**TINY, "epochs": 3, "resume": "auto"}
    result = train(
        store, tmp_path / "spot", {**TRAIN, "overrides": overrides}, interrupt=interrupt,
        on_event=after_the_first_epoch, EnableManagedSpotTraining=True, CheckpointConfig={"S3Uri": f"{BUCKET}/kept"},
        StoppingCondition={"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 600},
    )  # fmt: skip
    assert result.status == "Completed", log(result)
    assert [transition.status for transition in result.transitions].count("Interrupted") == 1
    text = log(result)
    assert "stopped by SIGTERM: saved" in text and "continuing after epoch" in text
    assert [text.count(f"epoch {epoch}/3 ") for epoch in (1, 2, 3)] == [1, 1, 1]
    kept = {uri.rpartition("/")[2] for uri in store.list(f"{BUCKET}/kept/")}
    assert {"model.pt", "model.json", "model_last.pt"} <= kept


def test_two_machines_fill_one_store(store: FolderStore, tmp_path: Path) -> None:
    arguments = ["--dataset_dir", "{input:data}", "--store_dir", "{output:store}", "--workers", "1",
                 "--shard", "{host_index}/{host_count}"]  # fmt: skip
    job = {"kind": "module", "module": "scripts.store", "arguments": arguments}
    code = code_channel(store, f"{BUCKET}/code/store", BUNDLE, job)
    inputs = [processing_input("code", code), processing_input("data", DATA)]
    uri = f"{BUCKET}/store_of_2"
    request = processing("store", inputs, {"store": uri}, hosts=2, Environment=ONE_THREAD)
    result = run_processing(request, store, tmp_path / "job")
    assert result.status == "Completed", log(result)
    alone = tmp_path / "alone"
    assert fill_store(["--dataset_dir", str(store.path(DATA)), "--store_dir", str(alone), "--workers", "1"]) == 0
    made = {found.removeprefix(f"{uri}/"): store.path(found).read_bytes() for found in store.list(f"{uri}/")}
    assert made == {p.relative_to(alone).as_posix(): p.read_bytes() for p in alone.rglob("*") if p.is_file()}
    assert len(made) >= 12
    for shard in ("0/2", "1/2"):
        assert f"6 of 6 cases of shard {shard} are in the store" in log(result)
