"""Requests and code channels for jobs that run on this machine, and the smallest bundle there is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tiny import write_decathlon

from sm_launch.local import FolderStore, JobResult

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundle"
CONTAINER = ROOT / "sm_launch" / "container"
BUCKET = "s3://lab"
TINY_DATA = f"{BUCKET}/data/Task01_Tiny"
IMAGE = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"
ENTRY = ["python3", "/opt/ml/input/data/code/entry.py"]
PROCESSING_ENTRY = ["python3", "/opt/ml/processing/input/code/entry.py"]
ROLE = "arn:aws:iam::111122223333:role/launch"
# The smallest training of this project's bundle that goes through everything.
TINY = {
    "patch_size": [32, 32, 32],
    "epochs": 1,
    "val_interval": 1,
    "image_interval": 0,
    "network_def::channels": [4, 8, 16],
    "network_def::strides": [2, 2],
    "network_def::num_res_units": 1,
    "dataset_dir": "{channel:train}",
    "ckpt_dir": "{checkpoints}",
    "output_dir": "{output_data}/runs",
    "run_name": "run",
}
# A foreign bundle: MONAI's layout, no knob of ours, weights beside the configs.
MINIMAL_SCRIPT = '''"""What the minimal bundle does."""
import json, time
from pathlib import Path


def train(weights, message, epochs, pause, fail, out):
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state.json"
    done = json.loads(state.read_text())["epoch"] if state.is_file() else 0
    for epoch in range(done + 1, epochs + 1):
        print(f"epoch {epoch}/{epochs}: score={epoch * weights}", flush=True)
        state.write_text(json.dumps({"epoch": epoch}))
        if fail:
            raise ValueError(f"no luck with {fail}")
        time.sleep(pause)
    print("told:", message)
    (folder / "model.pt").write_text(json.dumps({"message": message, "weights": weights}))
'''
MINIMAL_CONFIG = {
    "weights": 2.0,
    "message": "",
    "epochs": 1,
    "pause": 0,
    "fail": "",
    "bundle_root": ".",
    "ckpt_dir": "$@bundle_root + '/models'",
    "work": {
        "_target_": "scripts.work.train", "weights": "@weights", "message": "@message", "epochs": "@epochs",
        "pause": "@pause", "fail": "@fail", "out": "@ckpt_dir",
    },
    "run": ["$@work"],
}  # fmt: skip


def minimal_bundle(folder: Path) -> Path:
    """A bundle that counts instead of learning, so that tests of the machinery take no time."""
    (folder / "configs").mkdir(parents=True)
    (folder / "scripts").mkdir()
    (folder / "configs" / "train.json").write_text(json.dumps(MINIMAL_CONFIG))
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "0.0.1"}))
    (folder / "scripts" / "__init__.py").write_text("")
    (folder / "scripts" / "work.py").write_text(MINIMAL_SCRIPT)
    return folder


def tiny_store(folder: Path) -> FolderStore:
    """A store with twelve tiny cases at ``TINY_DATA``."""
    store = FolderStore(folder / "s3")
    store.upload(write_decathlon(folder / "Task01_Tiny", cases=12), TINY_DATA)
    return store


def code_channel(store: FolderStore, uri: str, bundle: Path, job: dict[str, Any], requirements: str = "") -> str:
    """Put a code channel into the store, as the plan uploads it; returns its URI."""
    folder = store.path(uri)
    folder.mkdir(parents=True)
    for file in CONTAINER.glob("*.py"):
        shutil.copy(file, folder / file.name)
    left_out = shutil.ignore_patterns("__pycache__", "models", "runs", "store", "predictions", "cache")
    shutil.copytree(bundle, folder / "bundle", ignore=left_out)
    (folder / "job.json").write_text(json.dumps(job))
    if requirements:
        (folder / "requirements.txt").write_text(requirements)
    return uri


def channel(name: str, uri: str, distribution: str = "FullyReplicated", kind: str = "S3Prefix") -> dict[str, Any]:
    """An entry of InputDataConfig."""
    source = {"S3DataType": kind, "S3Uri": uri, "S3DataDistributionType": distribution}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def training(name: str, *channels: dict[str, Any], hosts: int = 1, **more: Any) -> dict[str, Any]:
    """A CreateTrainingJob request."""
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": ENTRY,
            **more.pop("AlgorithmSpecification", {}),
        },
        "InputDataConfig": list(channels),
        "OutputDataConfig": {"S3OutputPath": f"{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.g5.2xlarge", "InstanceCount": hosts, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
        **more,
    }  # fmt: skip


def processing_input(name: str, uri: str, distribution: str = "FullyReplicated") -> dict[str, Any]:
    """An entry of ProcessingInputs."""
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"/opt/ml/processing/input/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": distribution,
        },
    }


def processing(
    name: str, inputs: list[dict[str, Any]], outputs: dict[str, str], hosts: int = 1, **more: Any
) -> dict[str, Any]:
    """A CreateProcessingJob request; ``outputs`` are URIs by name."""
    app = {"ImageUri": IMAGE, "ContainerEntrypoint": PROCESSING_ENTRY, **more.pop("AppSpecification", {})}
    cluster = {"InstanceCount": hosts, "InstanceType": "ml.c5.xlarge", "VolumeSizeInGB": 30}
    listed = [
        {
            "OutputName": output,
            "S3Output": {
                "S3Uri": uri, "LocalPath": f"/opt/ml/processing/output/{output}", "S3UploadMode": "EndOfJob",
            },
        }
        for output, uri in outputs.items()
    ]  # fmt: skip
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": app,
        "ProcessingResources": {"ClusterConfig": cluster},
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": {"Outputs": listed},
        **more,
    }


def log(result: JobResult) -> str:
    """All nodes' logs."""
    return "\n".join(file.read_text() for file in result.log_files.values())
