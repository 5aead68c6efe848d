"""The same jobs by the genuine SageMaker SDK: its requests against ours, and what its jobs leave."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Account, aws
from specs import BUNDLE, KMS_KEY, request_of, spec_of
from tiny import TINY

from sm_launch.code_channel import folder_copy
from sm_launch.errors import LaunchError
from sm_launch.local.isolation import privileges
from sm_launch.sdk_parts import import_sdk, job_plan
from sm_launch.steps import Plan
from sm_launch.sync import copy_folder

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("sdk_program.py")
SDK = os.environ.get("SM_SDK_PATH", "")
BUCKET = "brats-bucket"
PLAIN = "plain"
# Where the session of a caller puts things.
OWN = "mine"
MLFLOW = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/one"
SECURITY = {
    "kms_key": KMS_KEY, "subnets": ["subnet-0123456789abcdef0"], "security_groups": ["sg-0123456789abcdef0"],
    "network_isolation": True, "encrypt_traffic": True,
}  # fmt: skip
FULL = {
    "security": SECURITY,
    "tags": {"project": "glioma"},
    # Data that are not there: the job ends before its container starts, and its request is what counts.
    "data": {"source": f"s3://{BUCKET}/nothing"},
    "train": {
        "instance_type": "ml.m5.2xlarge", "instance_count": 2, "processes_per_host": 2, "backend": "gloo", "spot": True,
        "max_hours": 3, "max_wait_hours": 5, "packages": [], "volume_gb": 77, "input_mode": "FastFile",
        "environment": {"NCCL_DEBUG": "it's $HOME"},
    },
    "preprocess": {
        "instance_type": "ml.c5.xlarge", "instance_count": 2, "sharded": ["imagesTr"], "max_hours": 2, "packages": [],
        "replicated": ["labelsTr", "dataset.json"], "volume_gb": 55, "environment": {"OMP_NUM_THREADS": "1"},
    },
}  # fmt: skip
SMALL = {
    "train": {
        "instance_type": "ml.c5.xlarge", "packages": [], "keep_alive_minutes": 10,
        "overrides": {**TINY, "split_ratios": [0.5, 0.5, 0.0]}, "environment": {"OMP_NUM_THREADS": "1"},
    },
    "preprocess": {"instance_type": "ml.c5.xlarge", "packages": []},
}  # fmt: skip
# What is not the same, and why.
TRAINING_DIFFERENCES = {
    "TrainingJobName": "the SDK adds the time",
    "AlgorithmSpecification.ContainerEntrypoint": "the SDK's shell, which then becomes the entry",
    "AlgorithmSpecification.ContainerArguments": "the SDK's shell",
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries": "ModelTrainer has no place for it",
    "HyperParameters": "the SDK sends an empty one",
    "InputDataConfig[code].DataSource.S3DataSource.S3Uri": "the SDK's own upload of the same files",
    "InputDataConfig[sm_drivers]": "the SDK's shell",
    "ProfilerConfig": "ModelTrainer has no place for it",
}
PROCESSING_DIFFERENCES = {
    "ProcessingJobName": "the SDK adds the time",
    "AppSpecification.ContainerEntrypoint": "the SDK's one file, which then becomes the entry",
    "ProcessingInputs[code].S3Input.S3Uri": "the SDK's one file",
    "ProcessingInputs[job]": "our code channel",
}
# The SDK's own upload of the same folder.
WHEELS_DIFFERENCES = {
    "train": "InputDataConfig[wheels].DataSource.S3DataSource.S3Uri",
    "preprocess": "ProcessingInputs[wheels].S3Input.S3Uri",
}


@dataclass(frozen=True)
class Driven:
    """What the SDK did: the account, and the jobs by run."""

    account: Account
    jobs: Mapping[str, Mapping[str, Any]]

    def plan(self, run: str) -> Plan:
        """Ours of the same run."""
        job = self.jobs[run]
        return job_plan(spec_of(**job["changes"]), run, job["kind"])

    def request(self, run: str, operation: str) -> dict[str, Any]:
        """The request by which the SDK asked for a run's job."""
        key = operation.removeprefix("Create") + "Name"
        (found,) = [
            request for request in self.account.world.called(operation) if request[key] == self.jobs[run]["name"]
        ]
        return dict(found)

    def ended(self, run: str, kind: str) -> str:
        """The status of a job, once it has ended."""
        client = self.account.session().client("sagemaker")
        describe = {"Training": client.describe_training_job, "Processing": client.describe_processing_job}[kind]
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            answer = describe(**{f"{kind}JobName": self.jobs[run]["name"]})
            if answer[f"{kind}JobStatus"] in ("Completed", "Failed", "Stopped"):
                return answer[f"{kind}JobStatus"] + answer.get("FailureReason", "")
            time.sleep(0.1)
        raise AssertionError(f"{run} did not end")

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Objects of the bucket below a prefix."""
        s3 = self.account.session().client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
        return {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory, tiny_decathlon: Path) -> Iterator[Driven]:
    """All jobs, started by one process that has the SDK."""
    if not SDK:
        pytest.skip("$SM_SDK_PATH names no folder with the SageMaker SDK; run.py test makes one")
    if privileges() is None:
        pytest.skip("a container on this machine needs Linux namespaces")
    folder = tmp_path_factory.mktemp("sdk")
    with aws(folder=folder / "aws") as account:
        s3 = account.session().client("s3")
        s3.create_bucket(Bucket=BUCKET)
        copy_folder(folder_copy(str(tiny_decathlon), f"s3://{BUCKET}/Task01", "data.source"), s3)
        wheels = folder / "wheels"
        wheels.mkdir()
        (wheels / "monai-1.6.1-py3-none-any.whl").write_bytes(b"x")
        # Jobs that do not run need what a plan reads, and no more to upload.
        bundle = folder / "bundle"
        configs = ("configs/metadata.json", "configs/train.json", "configs/multi_gpu_train.json")
        for name in (*configs, "scripts/store.py", "LICENSE"):
            (bundle / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(BUNDLE / name, bundle / name)
        full = {**FULL, "bundle": str(bundle), "wheels": str(wheels)}
        jobs = [
            {"run": f"{name}-{kind}", "kind": kind, "prefix": prefix, "changes": {**changes, "role": account.role}}
            for name, prefix, changes in (("small", "", SMALL), ("full", OWN, full))
            for kind in ("train", "preprocess")
        ]
        jobs.append({"run": PLAIN, "kind": PLAIN, "prefix": "", "changes": {"role": account.role}})
        (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
        path = os.pathsep.join(map(str, (SDK, ROOT, ROOT / "tests", PROGRAM.parent)))
        (folder / "temporary").mkdir()
        # moto has no SimulatePrincipalPolicy, by which the SDK judges the role.
        own = {"PYTHONPATH": path, "SAGEMAKER_VALIDATE_ROLE": "false", "AWS_MAX_ATTEMPTS": "1"}
        env = {**os.environ, **account.env, **own, "TMPDIR": str(folder / "temporary")}
        command = [sys.executable, str(PROGRAM), str(folder / "jobs.json"), str(folder / "found.json")]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, cwd=folder)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
        yield Driven(account, {job["run"]: {**job, **told} for job, told in zip(jobs, found, strict=True)})


def differing(ours: Any, theirs: Any, path: str = "") -> set[str]:
    """Paths at which two requests differ; lists of named things are compared by name."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        keys = {*ours, *theirs}
        parts = [
            differing(ours[key], theirs[key], f"{path}.{key}".lstrip("."))
            if key in ours and key in theirs else {f"{path}.{key}".lstrip(".")}
            for key in keys
        ]  # fmt: skip
        return set().union(*parts)
    if isinstance(ours, list) and isinstance(theirs, list) and all(isinstance(one, Mapping) for one in ours + theirs):
        mine, other = named(ours), named(theirs)
        parts = [
            differing(mine[key], other[key], f"{path}[{key}]") if key in mine and key in other else {f"{path}[{key}]"}
            for key in {*mine, *other}
        ]
        return set().union(*parts)
    return set() if ours == theirs else {path}


def named(items: list[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Things by what names them in the API."""
    keys = ("ChannelName", "InputName", "OutputName", "Name", "Key")
    found = {next(item[key] for key in keys if key in item): item for item in items}
    assert len(found) == len(items)
    return found


@pytest.mark.parametrize("name", ["small", "full"])
def test_model_trainer_asks_for_the_same_training(driven: Driven, name: str) -> None:
    run = f"{name}-train"
    ours, theirs = request_of(driven.plan(run), "CreateTrainingJob"), driven.request(run, "CreateTrainingJob")
    assert theirs["HyperParameters"] == {}
    assert differing(ours, theirs) - {WHEELS_DIFFERENCES["train"]} == set(TRAINING_DIFFERENCES)


@pytest.mark.parametrize("name", ["small", "full"])
def test_script_processor_asks_for_the_same_preprocessing(driven: Driven, name: str) -> None:
    run = f"{name}-preprocess"
    ours, theirs = request_of(driven.plan(run), "CreateProcessingJob"), driven.request(run, "CreateProcessingJob")
    # The SDK writes the API's default out.
    assert all(one["S3Input"].pop("S3CompressionType") == "None" for one in theirs["ProcessingInputs"])
    wanted = (
        {*PROCESSING_DIFFERENCES, WHEELS_DIFFERENCES["preprocess"]} if name == "full" else {*PROCESSING_DIFFERENCES}
    )
    assert differing(ours, theirs) == wanted


@pytest.mark.parametrize("kind", ["train", "preprocess"])
def test_the_sdk_uploads_our_code_channel(driven: Driven, kind: str) -> None:
    run, channel = f"small-{kind}", "code" if kind == "train" else "job"
    plan = driven.plan(run)
    prefix = f"s3://{BUCKET}/{plan.folder}/code-{kind}/"
    wanted = {u.uri.removeprefix(prefix): u.path.read_bytes() if u.path else u.data for u in plan.uploads}
    # In the run's folder, where ``down --files`` looks.
    keys = {key: data for key, data in driven.objects(plan.folder).items() if f"/input/{channel}/" in key}
    assert {key.split(f"/input/{channel}/", 1)[1]: data for key, data in keys.items()} == wanted


def test_the_trainers_job_trains(driven: Driven) -> None:
    assert driven.ended("small-train", "Training") == "Completed"
    (archive,) = [
        data for key, data in driven.objects("sm-launch/runs/small-train/output/").items() if "model.tar.gz" in key
    ]
    with tarfile.open(fileobj=io.BytesIO(archive)) as model:
        names = {name.removeprefix("./") for name in model.getnames()}
    assert {"bundle/models/model.pt", "bundle/configs/inference.json", "manifest.json"} <= names


def test_the_processors_job_makes_the_store(driven: Driven) -> None:
    assert driven.ended("small-preprocess", "Processing") == "Completed"
    store = driven.objects("sm-launch/runs/small-preprocess/store/")
    assert sum(key.endswith(".npy") for key in store) >= 8


def test_a_callers_session_keeps_its_bucket(driven: Driven) -> None:
    channels = driven.request("full-train", "CreateTrainingJob")["InputDataConfig"]
    uris = {one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in channels}
    assert uris["code"].startswith(f"s3://{BUCKET}/{OWN}/") and uris["wheels"].startswith(f"s3://{BUCKET}/{OWN}/")
    assert uris["train"] == f"s3://{BUCKET}/nothing/"


def test_what_the_sdk_uploads_is_encrypted_by_the_specs_key(driven: Driven) -> None:
    s3 = driven.account.session().client("s3")
    heads = {key: s3.head_object(Bucket=BUCKET, Key=key) for key in driven.objects(f"{OWN}/")}
    assert {part for key in heads for part in ("code", "job", "sm_drivers", "wheels") if f"/input/{part}/" in key} == {
        "code", "job", "sm_drivers", "wheels",
    }  # fmt: skip
    assert {head.get("SSEKMSKeyId") for head in heads.values()} == {KMS_KEY}


def test_temporary_folders_go_with_the_sdks_objects(driven: Driven) -> None:
    assert [job["left"] for job in driven.jobs.values()] == [[]] * len(driven.jobs)


def test_telemetry_is_off(driven: Driven) -> None:
    quiet = {run: job["attempts"] for run, job in driven.jobs.items() if run != PLAIN}
    assert quiet == dict.fromkeys(quiet, [])
    # What is not heard above can be heard: the SDK by itself.
    assert any("sm-pysdk" in host for host in driven.jobs[PLAIN]["attempts"])


def test_missing_sdk_is_a_sentence() -> None:
    assert "sagemaker.train" not in sys.modules
    with pytest.raises(LaunchError, match=r"pip install 'sagemaker>=3\.27,<4'"):
        import_sdk()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file_system": {"size_gib": 1200}, "security": SECURITY}, "FSx for Lustre"),
        ({"data": {"source": str(ROOT / "docs")}}, "data.source is the folder"),
        ({"train": {"instance_type": "ml.g5.2xlarge", "mlflow_arn": MLFLOW}}, "mlflow_arn"),
    ],
)
def test_what_the_sdk_does_not_do_is_a_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LaunchError, match=words):
        job_plan(spec_of(**changes), None, "train")
