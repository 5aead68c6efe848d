"""A bundle that the project has never seen in local jobs: searched, trained, failing, without a network."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from forked import LEAN
from jobs import BUCKET, IMAGE, ROLE, channel, code_channel, log, minimal_bundle, training

from sm_launch.local import FolderStore, JobResult, isolation, run_training, run_tuning
from sm_launch.local.archives import unpack

needs_namespaces = pytest.mark.skipif(isolation.privileges() is None, reason="this machine gives no namespaces")
ENVIRONMENT = {"OMP_NUM_THREADS": "1", **LEAN}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A store with something in the channel ``train``."""
    found = FolderStore(tmp_path / "s3")
    (tmp_path / "case").write_text("voxels")
    found.upload(tmp_path / "case", f"{BUCKET}/data/case")
    return found


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A foreign bundle that counts instead of learning."""
    return minimal_bundle(tmp_path_factory.mktemp("foreign") / "counting")


def train(store: FolderStore, folder: Path, bundle: Path, job: dict[str, Any], **more: Any) -> JobResult:
    """Run a training of a bundle."""
    namespaces = more.pop("namespaces", None)
    code = code_channel(store, f"{BUCKET}/code", bundle, job)
    channels = (channel("code", code), channel("train", f"{BUCKET}/data/"))
    request = training("foreign", *channels, Environment=ENVIRONMENT, **more)
    return run_training(request, store, folder, namespaces=namespaces)


def wheel(folder: Path, name: str, code: str) -> Path:
    """A folder with the smallest wheel there is."""
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


def test_two_trials_through_the_genuine_toolkit(store: FolderStore, tmp_path: Path, counting: Path) -> None:
    """The toolkit itself installs requirements.txt, so under isolation its pip has to be told of the wheels."""
    pytest.importorskip("sagemaker_pytorch_container", reason="sagemaker-pytorch-training is not installed")
    job = {"kind": "train", "configs": ["configs/train.json"], "hyperparameters": {"w": "weights"}, "launch": "none",
           "overrides": {"message": "a trial", "epochs": 2, "weights": -1.0}}  # fmt: skip
    code = code_channel(store, f"{BUCKET}/code", counting, job, requirements="greeting_from_a_wheel==1.0\n")
    store.upload(wheel(tmp_path / "wheels", "greeting_from_a_wheel", "HELLO = 'hello'"), f"{BUCKET}/wheels")
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
            "InputDataConfig": [channel("code", code), channel("wheels", f"{BUCKET}/wheels/")],
            "OutputDataConfig": {"S3OutputPath": f"{BUCKET}/search"},
            "ResourceConfig": {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 200},
            "EnableNetworkIsolation": isolation.privileges() is not None,
            "Environment": {
                **ENVIRONMENT, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/opt/ml/input/data/wheels",
            },
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
        assert "Successfully installed greeting_from_a_wheel-1.0" in text
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
    folder = tmp_path / "job"
    job = {"kind": "train", "configs": ["configs/train.json"], "overrides": overrides}
    result = train(store, folder, counting, job, namespaces=namespaces, HyperParameters={"weights": "4.5"})
    assert result.status == "Completed", log(result)
    unpack(store.path(result.model_artifact_uri or ""), tmp_path / "model")
    found = json.loads((tmp_path / "model" / "bundle" / "models" / "model.pt").read_text())
    base = Path("/opt/ml") if namespaces else folder / "algo-1" / "ml"
    filled = hostile.replace("{bundle}", str(base / "work" / "bundle")) + str(base / "input" / "data" / "train")
    assert found == {"message": filled, "weights": 4.5}


def test_a_failing_bundle_is_the_failure_reason(store: FolderStore, tmp_path: Path, counting: Path) -> None:
    job = {"kind": "train", "configs": ["configs/train.json"], "overrides": {"fail": "this"}}
    result = train(store, tmp_path / "failing", counting, job)
    assert result.status == "Failed" and result.model_artifact_uri is None
    assert "no luck with this" in (result.failure_reason or "").splitlines()[0]
    assert (result.failure_reason or "").startswith("AlgorithmError: ")
    assert (result.failure_reason or "").endswith(", exit code: 1")


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
