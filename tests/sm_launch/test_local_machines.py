"""The project's bundle on two machines of two processes each, without a network but the job's own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from forked import LEAN
from jobs import BUCKET, BUNDLE, TINY, TINY_DATA, channel, code_channel, log, tiny_store, training

from sm_launch.local import isolation, run_training
from sm_launch.local.archives import unpack
from sm_launch.metrics import DEFAULT_METRICS


@pytest.mark.skipif(isolation.privileges() is None, reason="this machine gives no namespaces")
def test_two_machines_of_two_processes_train_a_servable_bundle(tmp_path: Path) -> None:
    store, folder = tiny_store(tmp_path), tmp_path / "job"
    # Four cases to train and four to validate with: one for each process.
    overrides = {**TINY, "split_ratios": [0.34, 0.33, 0.33]}
    configs = ["configs/train.json", "configs/multi_gpu_train.json"]
    job = {"kind": "train", "configs": configs, "overrides": overrides, "launch": "torchrun", "processes_per_host": 2,
           "keep": ["configs/*", "scripts/*", "LICENSE", "models/*", "!models/*_last.pt"]}  # fmt: skip
    code = code_channel(store, f"{BUCKET}/code", BUNDLE, job)
    metrics = [{"Name": name, "Regex": regex} for name, regex in DEFAULT_METRICS.items()]
    request = training(
        "two-by-two", channel("code", code), channel("train", TINY_DATA), hosts=2, EnableNetworkIsolation=True,
        AlgorithmSpecification={"MetricDefinitions": metrics}, Environment={"OMP_NUM_THREADS": "1", **LEAN},
    )  # fmt: skip
    result = run_training(request, store, folder)
    assert result.status == "Completed", log(result)
    assert "training: 4 processes (gloo)" in log(result)
    assert [metric.name for metric in result.metrics] == ["train_loss", "val_mean_dice"]
    assert 0.1 < result.metrics[0].value < 10 and sorted(result.log_files) == ["algo-1", "algo-2"]
    # The second machine held no rank 0: it wrote nothing.
    assert not list((folder / "algo-2" / "ml" / "checkpoints").iterdir())
    assert not list((folder / "algo-2" / "ml" / "model").iterdir())
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
