"""Bundles in local jobs: trained by two machines, interrupted, searched, preprocessed by two machines."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import (
    BUCKET,
    BUNDLE,
    IMAGE,
    ROLE,
    TINY,
    channel,
    code_channel,
    minimal_bundle,
    processing,
    processing_input,
    training,
)
from tiny import write_decathlon

from sm_launch.local import Event, FolderStore, JobResult, isolation, run_processing, run_training, run_tuning
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


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A foreign bundle that counts instead of learning."""
    return minimal_bundle(tmp_path_factory.mktemp("foreign") / "counting")


def log(result: JobResult) -> str:
    return "\n".join(file.read_text() for file in result.log_files.values())


def train(store: FolderStore, folder: Path, bundle: Path, job: dict[str, Any], **more: Any) -> JobResult:
    """Run a training of a bundle."""
    options = {key: more.pop(key) for key in ("namespaces", "on_event", "interrupt", "stop") if key in more}
    name = folder.name.replace("_", "-")
    code = code_channel(store, f"{BUCKET}/code/{name}", bundle, job, more.pop("requirements", ""))
    request = training(name, channel("code", code), channel("train", DATA), Environment=ONE_THREAD, **more)
    return run_training(request, store, folder / "job", **options)


@pytest.mark.skipif(isolation.privileges() is None, reason="this machine gives no namespaces")
def test_two_machines_of_two_processes_train_a_servable_bundle(store: FolderStore, tmp_path: Path) -> None:
    folder = tmp_path / "two-by-two"
    # Four cases to train and four to validate with: one for each process.
    overrides = {**TINY, "split_ratios": [0.34, 0.33, 0.33]}
    configs = ["configs/train.json", "configs/multi_gpu_train.json"]
    job = {**TRAIN, "configs": configs, "overrides": overrides, "launch": "torchrun", "processes_per_host": 2}
    result = train(
        store, folder, BUNDLE, job, hosts=2, AlgorithmSpecification={"MetricDefinitions": LOSS},
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
        store, tmp_path / "spot", BUNDLE, {**TRAIN, "overrides": overrides}, interrupt=interrupt,
        on_event=after_the_first_epoch, EnableManagedSpotTraining=True, CheckpointConfig={"S3Uri": f"{BUCKET}/kept"},
        StoppingCondition={"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 600},
    )  # fmt: skip
    assert result.status == "Completed", log(result)
    assert [transition.status for transition in result.transitions].count("Interrupted") == 1
    text = log(result)
    assert "stopped by SIGTERM" in text and "continues" in text or "resum" in text
    assert [text.count(f"epoch {epoch}/3 ") for epoch in (1, 2, 3)] == [1, 1, 1]
    kept = {uri.rpartition("/")[2] for uri in store.list(f"{BUCKET}/kept/")}
    assert {"model.pt", "model.json", "model_last.pt"} <= kept


def test_two_trials_through_the_genuine_toolkit(store: FolderStore, tmp_path: Path, counting: Path) -> None:
    pytest.importorskip("sagemaker_pytorch_container", reason="sagemaker-pytorch-training is not installed")
    job = {"kind": "train", "configs": ["configs/train.json"], "hyperparameters": {"w": "weights"}, "launch": "none",
           "overrides": {"message": "a trial", "epochs": 2, "weights": -1.0}}  # fmt: skip
    code = code_channel(store, f"{BUCKET}/code/tune", counting, job)
    ranges = [{"Name": "w", "MinValue": "1.0", "MaxValue": "100.0", "ScalingType": "Logarithmic"}]
    request = {
        "HyperParameterTuningJobName": "search",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"ContinuousParameterRanges": ranges},
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {
                "sagemaker_program": "entry.py", "sagemaker_submit_directory": "/opt/ml/input/data/code",
            },
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE, "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "score", "Regex": "score=([0-9.]+)"}],
            },
            "RoleArn": ROLE,
            "InputDataConfig": [channel("code", code)],
            "OutputDataConfig": {"S3OutputPath": f"{BUCKET}/search"},
            "ResourceConfig": {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 200},
            "Environment": ONE_THREAD,
        },
    }  # fmt: skip
    ended: list[str] = []
    result = run_tuning(
        request, store, tmp_path / "search", on_event=lambda e: ended.append(e.job) if e.kind == "trial" else None
    )
    assert result.status == "Completed", [trial.result.failure_reason for trial in result.trials]
    assert len({trial.hyperparameters["w"] for trial in result.trials}) == 2
    for trial in result.trials:
        text = log(trial.result)
        assert "Invoking user script" in text and "told: a trial" in text
        # The last of two epochs; the trial's own value, not the plan's.
        assert trial.objective == pytest.approx(2 * float(trial.hyperparameters["w"]))
        assert trial.result.model_artifact_uri == f"{BUCKET}/search/{trial.result.name}/output/model.tar.gz"
        assert trial.result.name.startswith("search-00") and len(trial.result.name) <= 63
    assert result.best is max(result.trials, key=lambda trial: trial.objective or 0)
    assert sorted(ended) == sorted(trial.result.name for trial in result.trials)
    assert result.notes == ("The Bayesian strategy is AWS's own; here the trials were drawn at random.",)


@pytest.mark.parametrize("namespaces", [pytest.param(True, marks=needs_namespaces), False], ids=["there", "not there"])
def test_a_foreign_bundle_gets_every_value_intact(
    namespaces: bool, store: FolderStore, tmp_path: Path, counting: Path
) -> None:
    hostile = "it's \"$HOME\" `id` $(id) {bundle} {nothing} \\n ; rm -rf 'x' é\n"
    overrides = {"message": hostile + "{channel:train}", "weights": 3}
    folder = tmp_path / f"foreign-{namespaces}".lower()
    job = {"kind": "train", "configs": ["configs/train.json"], "overrides": overrides}
    result = train(store, folder, counting, job, namespaces=namespaces, HyperParameters={"weights": "4.5"})
    assert result.status == "Completed", log(result)
    unpack(store.path(result.model_artifact_uri or ""), tmp_path / "model")
    found = json.loads((tmp_path / "model" / "bundle" / "models" / "model.pt").read_text())
    base = "/opt/ml" if namespaces else str(folder / "job" / "algo-1" / "ml")
    filled = hostile.replace("{bundle}", f"{base}/work/bundle") + f"{base}/input/data/train"
    assert found == {"message": filled, "weights": 4.5}


def test_a_failing_bundle_is_the_failure_reason(store: FolderStore, tmp_path: Path, counting: Path) -> None:
    job = {"kind": "train", "configs": ["configs/train.json"], "overrides": {"fail": "this"}, "launch": "torchrun",
           "processes_per_host": 1}  # fmt: skip
    result = train(store, tmp_path / "failing", counting, job)
    assert result.status == "Failed" and result.model_artifact_uri is None
    assert "no luck with this" in (result.failure_reason or "").splitlines()[0]
    assert (result.failure_reason or "").startswith("AlgorithmError: ")
    assert "exit code: 1" in (result.failure_reason or "") and "ChildFailedError" not in (result.failure_reason or "")


def wheel(folder: Path, name: str, code: str) -> Path:
    """The smallest wheel there is."""
    folder.mkdir(parents=True)
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    return folder


@needs_namespaces
def test_an_isolated_job_installs_from_its_wheels(store: FolderStore, tmp_path: Path) -> None:
    bundle = minimal_bundle(tmp_path / "importing")
    (bundle / "scripts" / "look.py").write_text("import greeting_from_a_wheel as g; print('said', g.HELLO, g.__file__)")
    wheels = wheel(tmp_path / "wheels", "greeting_from_a_wheel", "HELLO = 'hello'")
    store.upload(wheels, f"{BUCKET}/wheels")
    job = {"kind": "module", "module": "scripts.look", "arguments": []}
    code = code_channel(store, f"{BUCKET}/code/isolated", bundle, job, requirements="greeting_from_a_wheel==1.0\n")
    channels = [channel("code", code), channel("wheels", f"{BUCKET}/wheels/")]
    request = training("isolated", *channels, EnableNetworkIsolation=True)
    result = run_training(request, store, tmp_path / "job")
    assert result.status == "Completed" and f"said hello {tmp_path}" in log(result), log(result)
    # In the job's own environment, not in the user's.
    with pytest.raises(ModuleNotFoundError):
        import greeting_from_a_wheel  # noqa: F401
    # Without the channel there is nowhere to install from.
    request = training("alone", channels[0], EnableNetworkIsolation=True)
    request["Environment"] = {"PIP_RETRIES": "0", "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"}
    failed = run_training(request, store, tmp_path / "failed")
    assert "error: pip could not install requirements.txt" in (failed.failure_reason or ""), log(failed)


def test_two_machines_fill_one_store(store: FolderStore, tmp_path: Path) -> None:
    arguments = ["--dataset_dir", "{input:data}", "--store_dir", "{output:store}", "--workers", "1",
                 "--shard", "{host_index}/{host_count}"]  # fmt: skip
    job = {"kind": "module", "module": "scripts.store", "arguments": arguments}
    code = code_channel(store, f"{BUCKET}/code/store", BUNDLE, job)
    inputs = [processing_input("code", code), processing_input("data", DATA)]
    made: dict[int, dict[str, str]] = {}
    for hosts in (1, 2):
        uri = f"{BUCKET}/store_of_{hosts}"
        request = processing(f"store-{hosts}", inputs, {"store": uri}, hosts=hosts, Environment=ONE_THREAD)
        result = run_processing(request, store, tmp_path / str(hosts))
        assert result.status == "Completed", log(result)
        digests = {found.removeprefix(uri): store.path(found).read_bytes() for found in store.list(f"{uri}/")}
        made[hosts] = {name: hashlib.sha256(content).hexdigest() for name, content in digests.items()}
    assert made[1] == made[2] and len(made[1]) >= 12
    # Each machine did its half.
    shares = [
        len(list((tmp_path / "2" / node / "ml/processing/output/store").iterdir())) for node in ("algo-1", "algo-2")
    ]
    assert min(shares) > 0 and "6 of 6 cases of shard 1/2" in log(result)
