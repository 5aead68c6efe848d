"""Under profile phi no log line and no reason of a failure leaves a job with what looks like an identity."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from emulator import Account, aws
from jobs import CONTAINER, IMAGE
from specs import KMS_KEY, plan_of

from sm_launch.apply import wait_for
from sm_launch.errors import LaunchError
from sm_launch.manifest import Entry
from sm_launch.resources import TRAINING
from sm_launch.views import instructions

NAME = "Doe^Jane"
SAYS = f"""
print("reads {NAME}, val_mean_dice=0.8123")
raise ValueError("cannot read {NAME}.nii.gz of MRN1234567")
"""


@dataclass(frozen=True)
class Ended:
    """A job that failed: what it printed, and the reason that it left."""

    log: str
    reason: str


def fails(folder: Path, module: str = "scripts.says", **job: bool) -> Ended:
    """Run a module of a bundle by the entry, as a processing container does."""
    code = folder / "code"
    (code / "bundle" / "scripts").mkdir(parents=True)
    for file in CONTAINER.glob("*.py"):
        shutil.copy(file, code / file.name)
    (code / "bundle" / "scripts" / "says.py").write_text(SAYS)
    content = {"kind": "module", "module": module, "arguments": [f"--case={NAME}"], "launch": "none", **job}
    (code / "job.json").write_text(json.dumps(content))
    done = subprocess.run(
        [sys.executable, str(code / "entry.py")], env={**os.environ, "SAGEMAKER_BASE_DIR": str(folder / "ml")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    return Ended(done.stdout + done.stderr, (folder / "ml" / "output" / "message").read_text())


def test_log_and_reason_are_masked_and_metrics_stay(tmp_path: Path) -> None:
    ended = fails(tmp_path, redact=True)
    for text in (ended.log, ended.reason):
        assert NAME not in text and "1234567" not in text
        assert "ValueError: cannot read [a patient's name]" in text
    assert "reads [a patient's name], val_mean_dice=0.8123\n" in ended.log
    # The entry's own lines too: the command line holds the case.
    assert "--case=[a patient's name]" in ended.log


def test_without_the_order_lines_stay_as_they_are(tmp_path: Path) -> None:
    ended = fails(tmp_path)
    assert f"reads {NAME}, val_mean_dice=0.8123\n" in ended.log and NAME in ended.reason


@pytest.mark.parametrize(("profile", "ordered"), [("phi", True), ("standard", None)])
def test_plans_order_it_of_every_job_under_phi(profile: str, ordered: bool | None) -> None:
    security = {
        "kms_key": KMS_KEY,
        "subnets": ["subnet-0123456789abcdef0"],
        "security_groups": ["sg-0123456789abcdef0"],
    }
    spec = {
        "profile": profile, "security": security, "preprocess": {"instance_type": "ml.c5.xlarge"},
        "tune": {"search": "configs/search/lr_batch_loss.json"},
    }  # fmt: skip
    plan = plan_of(**spec)
    requests = [step.request.get("TrainingJobDefinition", step.request) for step in plan.steps]
    jobs = [job for request in requests if (job := instructions(plan, request))]
    assert len(jobs) == 2
    assert [job.get("redact") for job in jobs] == [ordered, ordered]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with aws(folder=tmp_path / "aws") as found:
        yield found


def test_reason_that_apply_shows_is_masked(account: Account) -> None:
    account.faults.fail_job("job-1", f"AlgorithmError: cannot read {NAME}")
    request = {
        "TrainingJobName": "job-1", "RoleArn": account.role, "OutputDataConfig": {"S3OutputPath": "s3://lab/output"},
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "ResourceConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }  # fmt: skip
    session = account.session()
    session.client("s3").create_bucket(Bucket="lab")
    session.client("sagemaker").create_training_job(**request)
    for profile, shown in (("phi", "[a patient's name]"), ("standard", NAME)):
        with pytest.raises(LaunchError) as caught:
            wait_for(Entry(TRAINING, "job-1"), session, 0.1, profile)
        assert f"cannot read {shown};" in str(caught.value)
