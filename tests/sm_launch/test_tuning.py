"""What becomes of a spec's training where its trials are tuned, and which search files are taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from specs import plan_of, request_of

from sm_launch.checks import problems
from sm_launch.errors import LaunchError
from sm_launch.search_file import read_search

TUNE = {"search": "configs/search/lr_batch_loss.json", "trials": 4}
TRAIN = {"instance_type": "ml.g5.2xlarge"}


def overrides(**train: Any) -> dict[str, Any]:
    """Of the trials' job.json."""
    plan = plan_of(train=TRAIN | train, tune=TUNE)
    (found,) = [upload for upload in plan.uploads if upload.uri.endswith("/code-tune/job.json")]
    return json.loads(found.data)["overrides"]


def test_the_run_folder_of_a_trial_goes_where_it_is_kept() -> None:
    request = request_of(plan_of(tune=TUNE), "CreateHyperParameterTuningJob")
    # A definition of trials has no such member, so nothing would take TensorBoard's folder to S3.
    assert "TensorBoardOutputConfig" not in request["TrainingJobDefinition"]
    assert overrides()["output_dir"] == "{output_data}"
    assert overrides(resume=True)["output_dir"] == "{checkpoints}/runs"


def test_trials_have_no_place_for_mlflow() -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/brats"
    with pytest.raises(LaunchError) as error:
        plan_of(train=TRAIN | {"mlflow_arn": arn}, tune=TUNE)
    assert str(error.value) == (
        f"train.mlflow_arn is {arn}, and trials of a tuning have no place for it (HyperParameterTrainingJobDefinition)"
        "; leave it out of a spec with tune."
    )


def test_trials_keep_no_warm_pool() -> None:
    (problem,) = problems(plan_of(train=TRAIN | {"keep_alive_minutes": 30}, tune=TUNE))
    assert "KeepAlivePeriodInSeconds is 1800, and each trial would leave machines that are billed" in problem
    assert problem.endswith("set train.keep_alive_minutes to 0 for a tuning.")


def searching(tmp_path: Path, one: dict[str, Any]) -> Path:
    """A search file of one knob."""
    file = tmp_path / "search.json"
    file.write_text(json.dumps({"space": {"learning_rate": one}}))
    return file


@pytest.mark.parametrize(
    "one", [{"loguniform": [1e-5, 1]}, {"uniform": [-0.5, 0]}, {"randint": [0, 3]}, {"uniform": [0, 1]}]
)
def test_a_range_is_taken_as_it_is_written(tmp_path: Path, one: dict[str, Any]) -> None:
    (ranges,) = read_search(searching(tmp_path, one)).ranges().values()
    (low, high) = next(iter(one.values()))
    assert (ranges[0]["MinValue"], ranges[0]["MaxValue"]) == (str(low), str(high))


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        ({"uniform": ["a", 1]}, 'uniform ["a", 1]; write two numbers without quotes, the lower one first.'),
        ({"uniform": ["0.1", "0.2"]}, 'uniform ["0.1", "0.2"]; write two numbers'),
        ({"uniform": [False, True]}, "uniform [false, true]; write two numbers"),
        ({"uniform": [0, float("inf")]}, "uniform [0, Infinity]; write two numbers"),
        ({"loguniform": [float("nan"), 1]}, "loguniform [NaN, 1]; write two numbers"),
        ({"randint": [1, 2.5]}, "randint [1, 2.5]; write two whole numbers"),
        ({"randint": [5, 1]}, "randint [5, 1], which holds no range; write the lower number first and a higher"),
        ({"uniform": [1, 1.0]}, "uniform [1, 1.0], which holds no range"),
        ({"loguniform": [0, 1]}, "loguniform [0, 1], and 0 has no logarithm; begin above 0, or write uniform."),
        ({"loguniform": [-1, 1]}, "loguniform [-1, 1], and -1 has no logarithm"),
    ],
)
def test_what_is_no_range_is_refused(tmp_path: Path, one: dict[str, Any], sentence: str) -> None:
    file = searching(tmp_path, one)
    with pytest.raises(LaunchError) as error:
        read_search(file)
    assert str(error.value).startswith(f"{file}: learning_rate has {sentence}")
