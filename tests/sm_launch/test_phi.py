"""Profile phi: nothing slips through, in any job type; what it finds it doesn't repeat."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import launch_plans as lp
import moto
import pytest

from sm_launch import phi
from sm_launch.phi_members import MEMBERS
from sm_launch.phi_scan import kinds
from sm_launch.steps import Copy, Plan, Source, Step

# Members whose absence, or false, leaves data unprotected; every occurrence in any request of the plan is tried.
PROTECTIVE = {
    "VpcConfig",
    "Subnets",
    "SecurityGroupIds",
    "SubnetIds",
    "NetworkConfig",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "KmsKeyId",
    "VolumeKmsKeyId",
    "KMSMasterKeyID",
    "ResourceConfig",
    "TrainingJobDefinition",
    "TrainingJobDefinitions",
    "PublicAccessBlockConfiguration",
    "BlockPublicAcls",
    "IgnorePublicAcls",
    "BlockPublicPolicy",
    "RestrictPublicBuckets",
    "ServerSideEncryptionConfiguration",
    "Policy",
}
SECRETS = {
    "an AWS access key": "AKIAIOSFODNN7EXAMPLE",
    "an AWS secret key": "wJalrXUtnFEMIxK7MDENG+bPxRfiCYEXAMPLEKEY",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----",
    "a token": "ghp_" + "a1B2" * 9,
    "a password or key": "password=hunter22",
    "a password in an address": "https://user:hunter22@host/x",
    "a patient's name": "Doe^Jane",
    "a patient's identity": "PatientName",
    "a medical record number": "MRN1234567",
    "a social security number": "123-45-6789",
    "a health service number": "943 476 5919",
    "a date of birth": "1950-03-14",
}


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield (*path, name)
            yield from leaves(part, (*path, name))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from leaves(part, (*path, index))


def protections() -> list[tuple[int, tuple]]:
    """Each protection of the good plan: the step's number and the path of the member."""
    return [
        (number, path)
        for number, step in enumerate(lp.everything().steps)
        for path in leaves(step.request)
        if path[-1] in PROTECTIVE
    ]


def with_step(number: int, step: Step) -> Plan:
    plan = lp.everything()
    return replace(plan, steps=(*plan.steps[:number], step, *plan.steps[number + 1 :]))


def parent(request: Any, path: tuple) -> Any:
    for name in path[:-1]:
        request = request[name]
    return request


def test_good_plan_passes() -> None:
    assert phi.check(lp.everything()) == []


@pytest.mark.parametrize(
    ("number", "path"),
    protections(),
    ids=[f"{lp.everything().steps[number].name}-{'.'.join(map(str, path))}" for number, path in protections()],
)
def test_plan_without_any_one_protection_is_refused(number: int, path: tuple) -> None:
    step = lp.everything().steps[number]
    request = copy.deepcopy(dict(step.request))
    del parent(request, path)[path[-1]]
    found = phi.check(with_step(number, replace(step, request=request)))
    assert found
    assert all(step.name in sentence for sentence in found)
    if isinstance(parent(step.request, path)[path[-1]], bool):
        parent(request, path)[path[-1]] = False
        assert phi.check(with_step(number, replace(step, request=request))) == found


def test_there_is_a_protection_of_every_job_type_among_those_tried() -> None:
    plan = lp.everything()
    tried = {plan.steps[number].operation for number, _ in protections()}
    assert tried == {step.operation for step in plan.steps} - {
        # These hold no data and start no machine by themselves; what they refer to is checked.
        "CreateBucket",
        "CreateEndpoint",
        "CreateDataRepositoryAssociation",
        "RegisterScalableTarget",
        "PutScalingPolicy",
    }


@pytest.mark.parametrize("operation", ["PutPublicAccessBlock", "PutBucketEncryption", "PutBucketPolicy"])
def test_bucket_made_without_its_hardening_is_refused(operation: str) -> None:
    plan = lp.everything()
    plan = replace(plan, steps=tuple(step for step in plan.steps if step.operation != operation))
    assert phi.check(plan) == [
        f"demo-bucket: the plan makes this bucket without {operation}, and patient data need it; add it."
    ]


def test_missing_protection_is_told_by_step_field_and_remedy() -> None:
    step = lp.changed(lp.tuning(), lp.put("TrainingJobDefinition.EnableInterContainerTrafficEncryption", None))
    assert phi.check(lp.plan(step)) == [
        "demo-1a2b-tune: TrainingJobDefinition.EnableInterContainerTrafficEncryption is what protects patient data in "
        "CreateHyperParameterTuningJob, and it is missing or off; set it to true."
    ]
    step = lp.changed(lp.training(), lp.put("ResourceConfig.VolumeKmsKeyId", None))
    assert phi.check(lp.plan(step)) == [
        "demo-1a2b-train: ResourceConfig.VolumeKmsKeyId is what protects patient data in CreateTrainingJob, and it is "
        "missing or off; give your KMS key."
    ]


def test_local_nvme_disks_need_no_key_and_unknown_machines_are_refused() -> None:
    resources = {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 100}
    assert phi.check(lp.plan(lp.changed(lp.training(), lp.put("ResourceConfig", resources)))) == []
    resources["InstanceType"] = "ml.trn1.32xlarge"
    assert phi.check(lp.plan(lp.changed(lp.training(), lp.put("ResourceConfig", resources)))) == [
        "demo-1a2b-train: ResourceConfig.InstanceType 'ml.trn1.32xlarge' is not in the instance table, so the "
        "encryption of its disks is unknown; take a type of the table."
    ]


def test_call_that_the_profile_does_not_know_is_refused() -> None:
    notebook = Step("sagemaker", "CreateNotebookInstance", {"NotebookInstanceName": "n"}, "notebook", "n")
    assert phi.check(lp.plan(notebook)) == [
        "n: sagemaker CreateNotebookInstance is not among the calls that profile phi knows, so it is refused; leave it "
        "out, or make it outside sm_launch."
    ]


@pytest.mark.parametrize(
    ("step", "path", "value"),
    [
        (lp.training(), "RemoteDebugConfig", {"EnableRemoteDebug": True}),
        (lp.training(), "DebugHookConfig", {"S3OutputPath": "s3://elsewhere/x"}),
        (lp.training(), "ProfilerConfig", {"S3OutputPath": "s3://elsewhere/x"}),
        (lp.training(), "MlflowConfig", {"MlflowResourceArn": "arn"}),
        (lp.tuning(), "TrainingJobDefinition.ExperimentConfig", {}),
        (lp.endpoint_config(), "ProductionVariants.0.CoreDumpConfig", {"DestinationS3Uri": "s3://elsewhere/x"}),
        (lp.endpoint_config(), "ProductionVariants.0.EnableSSMAccess", True),
        (lp.endpoint_config(), "ExplainerConfig", {}),
        (lp.processing(), "ExperimentConfig", {}),
        (lp.model(), "Containers", []),
    ],
)
def test_member_that_opens_another_way_out_is_refused(step: Step, path: str, value: object) -> None:
    names = [step.name for step in lp.everything().steps]
    plan = with_step(names.index(step.name), lp.changed(step, lp.put(path, value)))
    assert [one for one in phi.check(plan) if "is not among the members that profile phi knows" in one]


def test_switching_the_profiler_off_is_allowed() -> None:
    step = lp.changed(lp.training(), lp.put("ProfilerConfig", {"DisableProfiler": True}))
    assert phi.check(lp.plan(step)) == []


@pytest.mark.parametrize(
    ("step", "path"),
    [
        (lp.training(), "OutputDataConfig.S3OutputPath"),
        (lp.training(), "CheckpointConfig.S3Uri"),
        (lp.training(), "TensorBoardOutputConfig.S3OutputPath"),
        (lp.tuning(), "TrainingJobDefinition.OutputDataConfig.S3OutputPath"),
        (lp.processing(), "ProcessingOutputConfig.Outputs.0.S3Output.S3Uri"),
        (lp.transform(), "TransformOutput.S3OutputPath"),
        (lp.endpoint_config(), "AsyncInferenceConfig.OutputConfig.S3OutputPath"),
    ],
)
def test_output_outside_the_runs_bucket_is_refused(step: Step, path: str) -> None:
    plan = lp.plan(lp.changed(step, lp.put(path, "s3://elsewhere/x")), lp.model())
    assert [one for one in phi.check(plan) if "lies outside the run's bucket" in one]


def test_model_or_config_of_another_plan_is_refused() -> None:
    assert phi.check(lp.plan(lp.transform())) == [
        "demo-1a2b-batch: ModelName names 'demo-1a2b-model', which this plan doesn't make, so its protections cannot "
        "be seen; make it in the same plan."
    ]
    assert len(phi.check(lp.plan(lp.endpoint()))) == 1
    assert len(phi.check(lp.plan(lp.endpoint_config()))) == 1


def test_data_capture_needs_a_key_and_the_runs_bucket() -> None:
    capture = {"EnableCapture": True, "InitialSamplingPercentage": 100, "DestinationS3Uri": "s3://elsewhere/x"}
    plan = lp.plan(lp.model(), lp.changed(lp.endpoint_config(), lp.put("DataCaptureConfig", capture)))
    assert len(phi.check(plan)) == 2
    capture |= {"KmsKeyId": lp.KEY, "DestinationS3Uri": f"{lp.ROOT}/capture"}
    plan = lp.plan(lp.model(), lp.changed(lp.endpoint_config(), lp.put("DataCaptureConfig", capture)))
    assert phi.check(plan) == []


def test_scratch_file_system_is_refused() -> None:
    step = lp.changed(lp.file_system(), lp.put("LustreConfiguration", {"DeploymentType": "SCRATCH_2"}))
    assert phi.check(lp.plan(step)) == [
        "demo-1a2b-lustre: LustreConfiguration.DeploymentType is SCRATCH_2, which takes no key of yours; profile phi "
        "takes PERSISTENT_2."
    ]


def test_build_is_encrypted_reads_the_runs_bucket_and_leaves_no_copy() -> None:
    request = {
        "name": "build",
        "source": {"type": "S3", "location": f"{lp.BUCKET}/{lp.RUN}/source.zip"},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_MEDIUM"},
        "serviceRole": lp.ROLE,
        "encryptionKey": lp.KEY,
    }
    step = Step("codebuild", "CreateProject", request, "build-project", "build")
    assert phi.check(lp.plan(step)) == []
    for path, value in (
        ("encryptionKey", None),
        ("source.location", "elsewhere/source.zip"),
        ("source.type", "GITHUB"),
        ("artifacts.type", "S3"),
    ):
        assert len(phi.check(lp.plan(lp.changed(step, lp.put(path, value))))) == 1
    secret = lp.put("environment.environmentVariables", [{"name": "API_KEY", "value": "x"}])
    assert len(phi.check(lp.plan(lp.changed(step, secret)))) == 1


def test_bucket_policy_that_allows_everyone_is_refused() -> None:
    steps = lp.bucket()
    policy = json.loads(steps[-1].request["Policy"])
    policy["Statement"].append({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"})
    steps[-1] = lp.changed(steps[-1], lp.put("Policy", json.dumps(policy)))
    assert phi.check(lp.plan(*steps)) == [
        "demo-bucket: Policy allows everyone, and patient data are for your roles only; name the principals."
    ]


@pytest.mark.parametrize(("kind", "secret"), SECRETS.items())
@pytest.mark.parametrize(
    "path",
    [
        "Tags.0.Value",
        "HyperParameters.note",
        "Environment.NOTE",
        "AlgorithmSpecification.ContainerEntrypoint.0",
        "AlgorithmSpecification.MetricDefinitions.0.Regex",
        "InputDataConfig.1.ChannelName",
        "InputDataConfig.1.DataSource.S3DataSource.S3Uri",
    ],
)
def test_secret_or_identity_in_any_text_is_refused_and_not_repeated(path: str, kind: str, secret: str) -> None:
    text = f"s3://{lp.BUCKET}/{secret}/" if path.endswith("S3Uri") else secret
    found = phi.check(lp.plan(lp.changed(lp.training(), lp.put(path, text))))
    assert [sentence for sentence in found if f"looks like {kind}" in sentence]
    assert not [sentence for sentence in found if secret in sentence]


@pytest.mark.parametrize("step", lp.everything().steps, ids=lambda step: step.operation)
def test_identity_is_found_in_the_request_of_every_call(step: Step) -> None:
    tagged = lp.changed(step, lambda request: request.update(Tags=[{"Key": "case", "Value": "Doe^Jane"}]))
    assert [sentence for sentence in phi.check(lp.plan(tagged)) if "looks like a patient's name" in sentence]


def test_names_of_steps_fields_and_files_are_looked_at() -> None:
    named = replace(lp.training(), name="Doe^Jane-train")
    assert "looks like a patient's name" in "".join(phi.check(lp.plan(named)))
    key = lp.changed(lp.training(), lp.put("Environment", {"Doe^Jane": "1"}))
    assert phi.check(lp.plan(key)) == [
        "demo-1a2b-train: Environment.[a patient's name] looks like a patient's name, and this text is stored and "
        "logged outside the encrypted data; remove it, or give a pseudonym."
    ]
    files = (*lp.code_uploads(), lp.upload("doe_19500314.nii.gz", ""))
    assert phi.check(lp.plan(uploads=files)) == [
        "Upload 4: its name looks like a date of birth, and this text is stored and logged outside the encrypted data; "
        "remove it, or give a pseudonym."
    ]


def test_archive_is_not_taken_for_text() -> None:
    archive = replace(lp.upload("source.zip", ""), data=b"PK\x03\x04\xff ab^cd \xfe")
    assert phi.check(lp.plan(uploads=(archive,))) == []


def test_names_of_files_to_copy_are_looked_at() -> None:
    files = tuple(Source(f"{case}/flair.nii.gz", 1, 0) for case in ("doe^jane", "roe^john", "case-0001"))
    plan = replace(lp.plan(lp.training()), copies=(Copy(Path("."), f"s3://{lp.BUCKET}/data/", files),))
    assert phi.check(plan) == [
        "Folder 1 to copy: the name of 2 of its files looks like a patient's name, and this text is stored and logged "
        "outside the encrypted data; remove it, or give a pseudonym."
    ]


def test_secret_fields_are_refused_by_their_name() -> None:
    step = lp.changed(lp.training(), lp.put("Environment", {"DB_PASSWORD": "x", "HF_TOKEN": "y"}))
    assert len(phi.check(lp.plan(step))) == 2
    name = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mlflow"
    step = lp.changed(lp.training(), lp.put("Environment", {"MLFLOW_PASSWORD": name}))
    assert phi.check(lp.plan(step)) == []


def test_instructions_are_looked_at() -> None:
    files = lp.code_uploads(overrides={"site": {"api_key": "0123"}})
    assert phi.check(lp.plan(uploads=files)) == [
        "Upload 1, job.json: overrides.site.api_key looks like a password or key, and this text is stored and logged "
        "outside the encrypted data; remove it, or give a pseudonym."
    ]


@pytest.mark.parametrize(
    "files",
    [
        lp.code_uploads(requirements="wandb==0.31\n"),
        lp.code_uploads(configs=["configs/train.json", "configs/track/wandb.json"]),
        lp.code_uploads(overrides={"mlflow_tracking_uri": "https://mlflow.example.org"}),
    ],
)
def test_tracker_outside_the_account_is_refused(files: tuple) -> None:
    found = phi.check(lp.plan(lp.training(), uploads=files))
    assert len(found) == 1
    assert "take figures and pictures of patients out of your account" in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "val_mean_dice=([0-9.eE+-]+)",
        "(?m)^epoch=([0-9]+)",
        "[a-z]^b",
        "BraTS2021_00006",
        "patient-0001/image.nii.gz",
        "20261121-160800",
        "2026-11-21T16:08:00Z",
        '{"Version": "2012-10-17"}',
        "arn:aws:kms:us-east-1:123456789012:key/19500101-12ab-34cd-56ef-1234567890ab",
        "subnet-0195001011abcdef0",
        "tokens=4096",
        "train_loss=0.19870315",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709",
        "s3://bucket/data/Task01BrainTumour/imagesTr/BRATS001.nii.gz",
        "opt/ml/input/data/train/imagesTr/BRATS01",
        "CreateHyperParameterTuningJobRequestWithNames",
        "sha256:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=",
        "sagemaker_submit_directory",
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker",
    ],
)
def test_what_a_plan_holds_anyway_is_no_finding(text: str) -> None:
    assert kinds(text) == []


def test_bare_secret_key_with_slashes_is_found_and_masked() -> None:
    key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    assert kinds(f"uses {key}") == ["an AWS secret key"]
    assert phi.redact(f"key={key}, epoch 1/2") == "key=[an AWS secret key], epoch 1/2"


def test_job_whose_log_is_not_masked_is_refused() -> None:
    files = lp.code_uploads(redact=False)
    assert phi.check(lp.plan(lp.training(), uploads=files)) == [
        "demo-1a2b-train: redact in its job.json is what protects patient data in CreateTrainingJob, and it is missing "
        "or off; set it to true."
    ]


def test_log_lines_are_redacted() -> None:
    line = "2026-11-21 16:08 loading Doe^Jane MRN1234567 with password=hunter22, val_mean_dice=0.81"
    assert phi.redact(line) == (
        "2026-11-21 16:08 loading [a patient's name] [a medical record number] with [a password or key], "
        "val_mean_dice=0.81"
    )


def test_every_known_call_exists_in_the_api() -> None:
    import botocore.session

    session = botocore.session.get_session()
    for (service, operation), members in MEMBERS.items():
        shape = session.get_service_model(service).operation_model(operation).input_shape
        assert members <= set(shape.members), (service, operation)


def test_page_names_every_known_call() -> None:
    page = (Path(phi.__file__).parent / "docs" / "phi.md").read_text(encoding="utf-8")
    table = set(re.findall(r"\b[A-Z][A-Za-z]+\b", "".join(line for line in page.splitlines() if line.startswith("|"))))
    assert {operation for _, operation in MEMBERS} <= table


@moto.mock_aws
def test_bucket_that_exists_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    client = boto3.client("s3", region_name=lp.REGION)
    client.create_bucket(Bucket=lp.BUCKET)
    client.delete_public_access_block(Bucket=lp.BUCKET)
    assert phi.bucket_problems(client, lp.BUCKET) == [
        "Bucket demo-bucket doesn't block public access by BlockPublicAcls, IgnorePublicAcls, BlockPublicPolicy, "
        "RestrictPublicBuckets; switch all four on.",
        "Bucket demo-bucket doesn't encrypt by aws:kms with a key of yours; set that as its default.",
    ]
    for step in lp.bucket()[1:3]:
        name = {"PutPublicAccessBlock": "put_public_access_block", "PutBucketEncryption": "put_bucket_encryption"}
        getattr(client, name[step.operation])(**step.request)
    assert phi.bucket_problems(client, lp.BUCKET) == []
    assert phi.makes_bucket(lp.everything())
    assert not phi.makes_bucket(lp.plan(lp.training()))
