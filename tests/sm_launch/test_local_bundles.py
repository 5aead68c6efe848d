"""The project's bundle in local jobs: interrupted and resumed, preprocessed by two machines."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from forked import LEAN
from jobs import (
    BUCKET,
    BUNDLE,
    TINY,
    TINY_DATA,
    channel,
    code_channel,
    log,
    processing,
    processing_input,
    tiny_store,
    training,
)
from scripts.store import main as fill_store

from sm_launch.local import Event, FolderStore, run_processing, run_training

ENVIRONMENT = {"OMP_NUM_THREADS": "1", **LEAN}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """Twelve cases."""
    return tiny_store(tmp_path_factory.mktemp("bundles"))


def test_a_spot_training_loses_nothing_but_time(store: FolderStore, tmp_path: Path) -> None:
    interrupt = threading.Event()

    def after_the_first_epoch(event: Event) -> None:
        if "epoch 1/3" in event.message:
            interrupt.set()

    overrides = {**TINY, "epochs": 3, "resume": "auto"}
    job = {"kind": "train", "configs": ["configs/train.json"], "overrides": overrides}
    code = code_channel(store, f"{BUCKET}/code/spot", BUNDLE, job)
    request = training(
        "spot", channel("code", code), channel("train", TINY_DATA), Environment=ENVIRONMENT,
        EnableManagedSpotTraining=True, CheckpointConfig={"S3Uri": f"{BUCKET}/kept"},
        StoppingCondition={"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 600},
    )  # fmt: skip
    result = run_training(request, store, tmp_path / "job", interrupt=interrupt, on_event=after_the_first_epoch)
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
    inputs = [processing_input("code", code), processing_input("data", TINY_DATA)]
    uri = f"{BUCKET}/store_of_2"
    request = processing("store", inputs, {"store": uri}, hosts=2, Environment=ENVIRONMENT)
    result = run_processing(request, store, tmp_path / "job")
    assert result.status == "Completed", log(result)
    alone = tmp_path / "alone"
    assert fill_store(["--dataset_dir", str(store.path(TINY_DATA)), "--store_dir", str(alone), "--workers", "1"]) == 0
    made = {found.removeprefix(f"{uri}/"): store.path(found).read_bytes() for found in store.list(f"{uri}/")}
    assert made == {p.relative_to(alone).as_posix(): p.read_bytes() for p in alone.rglob("*") if p.is_file()}
    assert len(made) >= 12
    for shard in ("0/2", "1/2"):
        assert f"6 of 6 cases of shard {shard} are in the store" in log(result)
