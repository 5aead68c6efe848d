"""Lab 06's view of the SageMaker SDK: the genuine ModelTrainer from a spec, in a process that has the SDK."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from labkit.launching import write_spec
from labkit.sdk_view import HOW_TO_GET, sdk_is_there

ROOT = Path(__file__).resolve().parents[2]
SDK = os.environ.get("SM_SDK_PATH")
PROGRAM = """
import sys
from pathlib import Path
import labkit
from labkit.sdk_view import sdk_is_there, trainer_of, trainer_table
assert sdk_is_there()
spec, folder = map(Path, sys.argv[1:])
print(trainer_table(trainer_of(spec, "lab06-1", ["data.source=s3://my-brats-bucket/data"], folder, False)))
"""


@pytest.mark.skipif(sdk_is_there(), reason="the SDK is installed")
def test_without_the_sdk_it_says_how_to_get_it() -> None:
    assert "pip install 'sagemaker" in HOW_TO_GET


@pytest.mark.skipif(not SDK, reason="$SM_SDK_PATH names no folder with the SageMaker SDK; run.py test makes one")
def test_trainer_is_the_spec_s_training(tmp_path: Path) -> None:
    content = {
        "name": "lab06", "bundle": str(ROOT / "bundle"), "region": "us-east-1", "bucket": {"name": "my-brats-bucket"},
        "role": "arn:aws:iam::123456789012:role/SageMakerExecution", "data": {"source": str(tmp_path)},
        "train": {"instance_type": "ml.c5.4xlarge", "max_hours": 2},
    }  # fmt: skip
    spec = write_spec(tmp_path / "spec.yaml", content)
    path = os.pathsep.join([str(SDK), str(ROOT / "labs")])
    # No credentials are there to be found, and none are needed before the trainer trains.
    environment = {**os.environ, "PYTHONPATH": path, "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(spec), str(tmp_path / "sdk")],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    shown = done.stdout
    assert "1 x ml.c5.4xlarge, spot False" in shown and "7200 s" in shown and "exec python3 entry.py" in shown
    assert (tmp_path / "sdk" / "code" / "bundle" / "configs" / "train.json").is_file()
