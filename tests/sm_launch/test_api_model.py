"""Requests against AWS's API model: what botocore's own validator passes and the service refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import launch_plans as lp
import pytest

from sm_launch.api_model import compiled_pattern, service_model, validate, validate_plan
from sm_launch.errors import LaunchError

ROOT = Path(__file__).resolve().parents[2]


def problems(path: str, value: Any, step: Any = None) -> list[str]:
    step = lp.changed(step or lp.training(), lp.put(path, value))
    return validate(step.service, step.operation, step.request)


def test_every_request_of_the_whole_plan_passes() -> None:
    assert validate_plan(lp.everything()) == []


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "ResourceConfig.InstanceType",
            "ml.g5.2xlrage",
            "ResourceConfig.InstanceType is 'ml.g5.2xlrage', and the API knows no such value; did you mean "
            "ml.g5.2xlarge?",
        ),
        (
            "AlgorithmSpecification.TrainingInputMode",
            "Fastfile",
            "AlgorithmSpecification.TrainingInputMode is 'Fastfile', and the API knows no such value; did you mean "
            "FastFile?",
        ),
        (
            "TrainingJobName",
            "my_job",
            "TrainingJobName is 'my_job', and the API takes a text that matches [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}.",
        ),
        ("ResourceConfig.InstanceCount", -1, "ResourceConfig.InstanceCount is -1, and the API takes at least 0."),
        ("ResourceConfig.InstanceCount", "2", "ResourceConfig.InstanceCount is '2', and the API takes a whole number."),
        (
            "ResourceConfig.InstanceCount",
            True,
            "ResourceConfig.InstanceCount is True, and the API takes a whole number.",
        ),
        ("EnableNetworkIsolation", "yes", "EnableNetworkIsolation is 'yes', and the API takes true or false."),
        ("RoleArn", None, "RoleArn is missing, and the API requires it; add it."),
        (
            "OutputDataConfig.KmsKey",
            "x",
            "OutputDataConfig.KmsKey is unknown to the API; did you mean KmsKeyId?",
        ),
        (
            "HyperParameters",
            {"net": "x" * 2501},
            "HyperParameters['net'] has 2501 characters, and the API takes 0 to 2500.",
        ),
        (
            "HyperParameters",
            {str(number): "" for number in range(101)},
            "HyperParameters has 101 keys, and the API takes 0 to 100.",
        ),
        ("HyperParameters", {"epochs": 3}, "HyperParameters['epochs'] is 3, and the API takes a text."),
        ("Environment", {"A": "x" * 513}, "Environment['A'] has 513 characters, and the API takes 0 to 512."),
        (
            "AlgorithmSpecification.ContainerArguments",
            ["x" * 257],
            "AlgorithmSpecification.ContainerArguments[0] has 257 characters, and the API takes 0 to 256.",
        ),
        (
            "AlgorithmSpecification.ContainerArguments",
            ["x"] * 101,
            "AlgorithmSpecification.ContainerArguments has 101 entries, and the API takes 1 to 100.",
        ),
        (
            "InputDataConfig",
            [lp.s3_channel(f"c{number}") for number in range(21)],
            "InputDataConfig has 21 entries, and the API takes 1 to 20.",
        ),
        (
            "AlgorithmSpecification.MetricDefinitions",
            [{"Name": f"m{number}", "Regex": "x"} for number in range(41)],
            "AlgorithmSpecification.MetricDefinitions has 41 entries, and the API takes 0 to 40.",
        ),
        (
            "AlgorithmSpecification.MetricDefinitions",
            [{"Name": "m", "Regex": "x" * 501}],
            "AlgorithmSpecification.MetricDefinitions[0].Regex has 501 characters, and the API takes 1 to 500.",
        ),
        ("VpcConfig", "vpc-1", "VpcConfig is 'vpc-1', and the API takes an object with SecurityGroupIds, Subnets."),
        ("Tags", "run", "Tags is 'run', and the API takes a list."),
    ],
)
def test_problem_is_one_sentence(path: str, value: Any, sentence: str) -> None:
    assert problems(path, value) == [sentence]


def test_hosting_takes_longer_environment_values_than_training() -> None:
    assert problems("PrimaryContainer.Environment", {"A": "x" * 1024}, lp.model()) == []
    assert problems("PrimaryContainer.Environment", {"A": "x" * 1025}, lp.model()) == [
        "PrimaryContainer.Environment['A'] has 1025 characters, and the API takes 0 to 1024."
    ]


def test_nested_definitions_of_a_tuning_are_walked() -> None:
    found = problems("TrainingJobDefinition.StoppingCondition.MaxRuntimeInSeconds", 0, lp.tuning())
    assert found == ["TrainingJobDefinition.StoppingCondition.MaxRuntimeInSeconds is 0, and the API takes at least 1."]


def test_long_value_is_shortened() -> None:
    (sentence,) = problems("RoleArn", "x" * 200)
    assert "..." in sentence
    assert len(sentence) < 300


def test_placeholder_of_an_earlier_step_is_left_for_apply() -> None:
    assert problems("FileSystemId", "{file-system:demo-1a2b-lustre}", lp.association()) == []
    assert len(problems("FileSystemId", "lustre", lp.association())) == 1


def test_tags_may_have_letters_of_any_language() -> None:
    assert problems("Tags", [{"Key": "Klinik", "Value": "Zürich: Radiologie"}]) == []
    assert len(problems("Tags", [{"Key": "a#b", "Value": ""}])) == 1


def test_plan_names_the_step() -> None:
    step = lp.changed(lp.training(), lp.put("RoleArn", None))
    assert validate_plan(lp.plan(step)) == [
        "CreateTrainingJob demo-1a2b-train: RoleArn is missing, and the API requires it; add it."
    ]


@pytest.mark.parametrize(
    ("service", "operation", "sentence"),
    [
        (
            "sagemaker",
            "CreateTrainingJobs",
            "sagemaker has no operation 'CreateTrainingJobs' in the installed",
        ),
        ("sagemakr", "CreateTrainingJob", "The installed botocore has no service 'sagemakr'; did you mean sagemaker"),
    ],
)
def test_unknown_service_or_operation(service: str, operation: str, sentence: str) -> None:
    with pytest.raises(LaunchError, match=sentence):
        validate(service, operation, {})


@pytest.mark.parametrize("service", ["sagemaker", "fsx", "s3", "application-autoscaling", "codebuild", "ecr"])
def test_every_pattern_of_the_models_is_understood(service: str) -> None:
    model = service_model(service)
    patterns = {model.shape_for(name).metadata.get("pattern") for name in model.shape_names} - {None}
    assert all(compiled_pattern(pattern) for pattern in patterns)


def test_no_socket_is_made() -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a socket')\n"
        "socket.socket.__init__ = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "sys.path[:0] = ['tests/sm_launch']\n"
        "import launch_plans as lp\n"
        "from sm_launch import api_model, cost, phi, policy, quotas, rules\n"
        "plan = lp.everything()\n"
        "assert not api_model.validate_plan(plan) + rules.check(plan) + phi.check(plan)\n"
        "cost.render(cost.estimate(plan)); quotas.needed(plan); policy.caller_policy(plan, lp.ACCOUNT)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_importing_brings_no_aws_library() -> None:
    code = (
        "import sys\n"
        "from sm_launch import api_model, cost, phi, policy, prices, quotas, rules\n"
        "assert not {'boto3', 'botocore', 'yaml'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
