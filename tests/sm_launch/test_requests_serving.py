"""Requests of deployments and image builds, held against botocore's own API model."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator
from packaging.requirements import Requirement

from sm_launch import requests_image as image
from sm_launch.errors import LaunchError
from sm_launch.requests_scaling import policy_arn
from sm_launch.requests_serving import serving_steps
from sm_launch.serving import MODES, Serving
from sm_launch.steps import Step

ROOT = Path(__file__).resolve().parents[2]
SERVE = ROOT / "sm_launch" / "container" / "serve"
ROLE = "arn:aws:iam::123456789012:role/sm-launch"
LOADER = Loader()


def serving(mode: str = "async", **changes: Any) -> Serving:
    """A deployment with everything on that the mode takes."""
    values: dict[str, Any] = {
        "run": "brats-261121160000", "image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/monai-serve:1",
        "model_uri": "s3://bucket/runs/a/output/model.tar.gz", "role": ROLE, "mode": mode,
        "output_uri": "s3://bucket/runs/a/predictions", "output_kms_key": "alias/key", "tags": {"sm-launch:run": "a"},
    }  # fmt: skip
    if mode != "serverless":
        values |= {
            "instance_type": "ml.g5.xlarge", "volume_kms_key": "alias/key", "subnets": ("subnet-0a",),
            "security_groups": ("sg-0a",), "network_isolation": True,
        }  # fmt: skip
    if mode in ("async", "realtime"):
        values |= {"max_instances": 3, "min_instances": 0 if mode == "async" else 1}
    if mode == "batch":
        values["input_uri"] = "s3://bucket/cases/"
    return Serving(**(values | changes))


def build(**changes: Any) -> image.ImageBuild:
    """An image with everything on."""
    values: dict[str, Any] = {
        "repository": "monai/serve", "tag": "1", "region": "eu-west-1", "account": "123456789012",
        "source_uri": "s3://bucket/image/source.zip", "role": ROLE, "kms_key": "alias/key", "tags": {"a": "b"},
        "packages": ("deflate==0.9.0",),
    }  # fmt: skip
    return image.ImageBuild(**(values | changes))


def assert_valid(step: Step) -> None:
    """Types, members, ranges by botocore's validator; and enumerations and patterns, which it leaves to AWS."""
    model = ServiceModel(LOADER.load_service_model(step.service, "service-2"), step.service)
    shape = model.operation_model(step.operation).input_shape
    report = ParamValidator().validate(dict(step.request), shape)
    assert not report.has_errors(), report.generate_report()
    assert_allowed(step.request, shape, step.operation)


def assert_allowed(value: Any, shape: Shape, path: str) -> None:
    if isinstance(shape, StructureShape):
        for key, member in value.items():
            assert_allowed(member, shape.members[key], f"{path}.{key}")
    elif isinstance(shape, ListShape):
        for member in value:
            assert_allowed(member, shape.member, f"{path}[]")
    elif isinstance(shape, MapShape):
        for key, member in value.items():
            assert_allowed(key, shape.key, f"{path} key")
            assert_allowed(member, shape.value, f"{path}.{key}")
    elif isinstance(shape, StringShape):
        assert not shape.enum or value in shape.enum, f"{path}: {value}"
        # Java's classes that Python's re does not know.
        pattern = shape.metadata.get("pattern", "").replace(r"\p{L}\p{Z}\p{N}", r"\w\s").replace(r"\p{Print}", r"[ -~]")
        assert not pattern or "\\u" in pattern or re.match(pattern, value), f"{path}: {value}"


@pytest.mark.parametrize("mode", MODES)
def test_requests_are_valid(mode: str) -> None:
    for step in serving_steps(serving(mode)):
        assert_valid(step)


@pytest.mark.parametrize("model_uri", ["s3://bucket/model.tar.gz", "s3://bucket/artifact"])
def test_model_of_either_packing_is_valid(model_uri: str) -> None:
    step = serving_steps(serving(model_uri=model_uri, inference_ami="al2023-ami-sagemaker-inference-gpu-4-1"))[0]
    assert_valid(step)
    container = step.request["PrimaryContainer"]
    assert ("ModelDataUrl" in container) == model_uri.endswith(".tar.gz")
    assert container["Environment"]["BUNDLE_CONFIG"] == "configs/inference.json"


def test_async_wakes_from_zero_machines() -> None:
    steps = serving_steps(serving())
    assert [step.operation for step in steps] == [
        "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "RegisterScalableTarget", "PutScalingPolicy",
        "PutScalingPolicy", "PutMetricAlarm",
    ]  # fmt: skip
    *_, endpoint, register, load, wake, alarm = steps
    assert endpoint.wait
    assert register.request["MinCapacity"] == 0 and register.request["MaxCapacity"] == 3
    assert register.request["ResourceId"] == f"endpoint/{endpoint.name}/variant/main"
    tracked = load.request["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]
    assert tracked["MetricName"] == "ApproximateBacklogSizePerInstance"
    assert alarm.request["MetricName"] == "HasBacklogWithoutCapacity"
    assert alarm.request["AlarmActions"] == [policy_arn(wake.request["PolicyName"])]
    assert alarm.kind == "alarm" and alarm.name == alarm.request["AlarmName"]


def test_realtime_scales_by_requests_and_never_to_zero() -> None:
    steps = serving_steps(serving("realtime"))
    assert [step.operation for step in steps[3:]] == ["RegisterScalableTarget", "PutScalingPolicy"]
    assert "PredefinedMetricSpecification" in steps[-1].request["TargetTrackingScalingPolicyConfiguration"]


def test_nothing_scales_unless_asked() -> None:
    assert len(serving_steps(serving(max_instances=0))) == 3


def test_serverless_has_what_serverless_takes() -> None:
    model, config, _ = serving_steps(serving("serverless"))
    assert "VpcConfig" not in model.request and "EnableNetworkIsolation" not in model.request
    (variant,) = config.request["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 6144, "MaxConcurrency": 1}
    assert "InstanceType" not in variant and "KmsKeyId" not in config.request


def test_batch_sends_whole_files_one_at_a_time() -> None:
    model, transform = serving_steps(serving("batch"))
    request = transform.request
    assert request["MaxPayloadInMB"] * request["MaxConcurrentTransforms"] <= 100
    assert request["TransformInput"]["CompressionType"] == "None"
    assert transform.wait and transform.kind == "transform-job"
    assert model.request["EnableNetworkIsolation"] is True


def test_keys_network_and_pin_reach_the_requests() -> None:
    model, config, *_ = serving_steps(serving(manifest_sha256="ab" * 32, environment={"MAX_QUEUE": "1"}))
    assert model.request["VpcConfig"] == {"SecurityGroupIds": ["sg-0a"], "Subnets": ["subnet-0a"]}
    assert model.request["PrimaryContainer"]["Environment"] == {
        "BUNDLE_CONFIG": "configs/inference.json", "MAX_BODY_MB": "1024", "MANIFEST_SHA256": "ab" * 32,
        "MAX_QUEUE": "1",
    }  # fmt: skip
    assert config.request["KmsKeyId"] == "alias/key"
    assert config.request["AsyncInferenceConfig"]["OutputConfig"]["KmsKeyId"] == "alias/key"


@pytest.mark.parametrize(
    ("mode", "changes", "words"),
    [
        ("asynchronous", {}, "choose among async, realtime, serverless, batch"),
        ("async", {"instance_type": None}, "set instance_type"),
        ("async", {"output_uri": ""}, "writes to s3://BUCKET/PREFIX"),
        ("async", {"instance_count": 4}, "not within the 0 to 3"),
        ("async", {"min_instances": 1, "max_instances": 0}, "min_instances is 1 and max_instances 0, which is no auto"),
        ("realtime", {"min_instances": 0}, "set it to 1 or choose async"),
        ("serverless", {"instance_type": "ml.g5.xlarge"}, "has no machines"),
        ("serverless", {"network_isolation": True}, "choose async"),
        ("batch", {"input_uri": "cases"}, "reads its cases from s3://"),
        ("batch", {"max_instances": 2}, "does not scale"),
    ],
)
def test_contradictions_are_one_sentence(mode: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LaunchError, match=re.escape(words)):
        serving_steps(serving(mode, **changes))


def test_image_requests_are_valid() -> None:
    for step in image.image_steps(build()):
        assert_valid(step)
    for step in image.image_steps(build(kms_key=None, torch="cpu", region="cn-north-1")):
        assert_valid(step)


def test_image_build_pushes_what_it_builds() -> None:
    _, project, start = image.image_steps(build(torch="cu130"))
    spec = json.loads(project.request["source"]["buildspec"])
    assert build().image == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/monai/serve:1"
    assert spec["phases"]["build"]["commands"] == [f"docker build --build-arg TORCH=cu130 --tag {build().image} ."]
    assert spec["phases"]["post_build"]["commands"] == [f"docker push {build().image}"]
    assert project.request["environment"]["privilegedMode"] is True
    assert start.request == {"projectName": project.name, "idempotencyToken": build().tag}


@pytest.mark.parametrize("changes", [{"torch": "cu133"}, {"source_uri": "s3://bucket/source.tar"}])
def test_image_build_refuses(changes: dict[str, str]) -> None:
    with pytest.raises(LaunchError):
        image.image_steps(build(**changes))


def test_archive_is_all_that_the_dockerfile_copies_and_always_the_same(tmp_path: Path) -> None:
    upload = image.image_upload(build())
    assert upload.data == image.source_archive(("deflate==0.9.0",))
    assert upload.size == len(upload.data)
    with zipfile.ZipFile(io.BytesIO(upload.data)) as archive:
        archive.extractall(tmp_path)
    copied = [word for line in instructions() if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert copied == ["requirements.txt", "bundle-requirements.txt", "serve"]
    assert all((tmp_path / name).exists() for name in copied)
    assert (tmp_path / "bundle-requirements.txt").read_text() == "deflate==0.9.0\n"
    assert {path.name for path in (tmp_path / "serve").iterdir()} == {path.name for path in SERVE.glob("*.py")}
    # As the image starts it: the package alone, nothing of sm_launch on the path.
    done = subprocess.run(
        [sys.executable, "-m", "serve"],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "MAX_QUEUE": "none"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "MAX_QUEUE is 'none'" in done.stderr


def test_the_archive_asks_for_nothing_that_the_lock_names() -> None:
    packages = ("deflate==0.9.0", "monai==1.4.0", "Pytorch_Ignite==0.4.11", "scipy", "monai[lmdb]==1.4.0", "itk==5.4.0")
    with zipfile.ZipFile(io.BytesIO(image.source_archive(packages))) as archive:
        extra = archive.read("bundle-requirements.txt").decode()
    assert extra.splitlines() == ["deflate==0.9.0", "monai[lmdb]", "itk==5.4.0"]
    # What pip would resolve beside the lock, as the Dockerfile has it do.
    for line in extra.splitlines():
        wanted = Requirement(line)
        assert wanted.name not in locked() or wanted.specifier.contains(locked()[wanted.name])


def instructions() -> list[str]:
    """The Dockerfile's instructions, continued lines joined."""
    lines = (SERVE / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def test_dockerfile_is_what_sagemaker_starts() -> None:
    known = {"FROM", "ARG", "ENV", "COPY", "RUN", "USER", "WORKDIR", "EXPOSE", "LABEL", "CMD"}
    words = [line.split()[0] for line in instructions()]
    assert words[0] == "FROM" and words[-1] == "CMD" and set(words) <= known
    # docker run IMAGE serve: no entry point before it, an executable of that name, and nobody is root.
    assert any("/usr/local/bin/serve" in line and "exec python -m serve" in line for line in instructions())
    assert "USER server" in instructions()
    (script,) = [line for line in instructions() if "printf" in line]
    printed = re.search(r"printf ('.*?') >", script)[1]
    shown = subprocess.run(["sh", "-c", f"printf {printed}"], capture_output=True, text=True, check=True).stdout
    assert shown == "#!/bin/sh\nexec python -m serve\n"


def locked() -> dict[str, str]:
    lines = (SERVE / "requirements.txt").read_text().splitlines()
    found = [re.fullmatch(r"([a-z0-9-]+)==(\S+)", line) for line in lines if line and not line.startswith("#")]
    assert all(found)
    return {match[1]: match[2] for match in found}


def test_requirements_are_locked_whole_and_agree_with_the_bundles() -> None:
    versions = locked()
    bundle = dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (ROOT / "requirements" / "bundle.txt").read_text(), re.M))
    assert {name: bundle[name] for name in versions if name in bundle} == {
        name: version for name, version in versions.items() if name in bundle
    }
    platform = {
        "python_version": "3.12", "python_full_version": "3.12.0", "sys_platform": "linux", "platform_system": "Linux",
        "platform_machine": "x86_64", "implementation_name": "cpython", "extra": "",
    }  # fmt: skip
    for name in versions:
        for line in metadata.requires(name) or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate(platform):
                needed = wanted.name.lower().replace("_", "-")
                # PyTorch's CUDA builds pin these themselves, from their own index.
                if needed.startswith(("nvidia-", "cuda-")) or needed == "triton":
                    continue
                assert needed in versions, f"{name} needs {needed}"
                assert wanted.specifier.contains(versions[needed], prereleases=True), line
