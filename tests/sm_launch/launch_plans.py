"""Plans for the tests: every call that sm_launch makes, as patient data must be handled, and ways to change one."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sm_launch.steps import Plan, Step, Upload

RUN = "demo-1a2b"
REGION = "us-east-1"
ACCOUNT = "123456789012"
BUCKET = "demo-bucket"
ROOT = f"s3://{BUCKET}/{RUN}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/demo-execution"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
IMAGE = f"763104351884.dkr.ecr.{REGION}.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker"
SMDDP_IMAGE = f"658645717510.dkr.ecr.{REGION}.amazonaws.com/smdistributed-modelparallel:2.4.1-gpu-py311-cu121"
SERVING_IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/sm-launch-serve:1"
VPC = {"Subnets": ["subnet-0123456789abcdef0"], "SecurityGroupIds": ["sg-0123456789abcdef0"]}
TAGS = [{"Key": "sm-launch:run", "Value": RUN}]


def upload(name: str, text: str) -> Upload:
    data = text.encode()
    return Upload(f"{ROOT}/code/{name}", len(data), hashlib.sha256(data).hexdigest(), data=data)


def s3_channel(name: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{ROOT}/{name}/", "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def training_part() -> dict[str, Any]:
    """What a training job and a tuning's definition have in common; ml.c5 has no local disk, so it takes a key."""
    return {
        "RoleArn": ROLE,
        "InputDataConfig": [s3_channel("code"), s3_channel("train"), s3_channel("wheels")],
        "OutputDataConfig": {"S3OutputPath": f"{ROOT}/output", "KmsKeyId": KEY},
        "ResourceConfig": {
            "InstanceType": "ml.c5.4xlarge",
            "InstanceCount": 2,
            "VolumeSizeInGB": 50,
            "VolumeKmsKeyId": KEY,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 7200},
        "VpcConfig": copy.deepcopy(VPC),
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "val_mean_dice", "Regex": "val_mean_dice=([0-9.eE+-]+)"}],
        },
    }


def training() -> Step:
    request = training_part() | {"TrainingJobName": f"{RUN}-train", "Tags": TAGS, "HyperParameters": {"epochs": "3"}}
    request["AlgorithmSpecification"]["ContainerEntrypoint"] = ["python3", "/opt/ml/input/data/code/entry.py"]
    return Step("sagemaker", "CreateTrainingJob", request, "training-job", f"{RUN}-train", wait=True)


def processing() -> Step:
    name = f"{RUN}-store"
    request = {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/entry.py"],
        },
        "ProcessingInputs": [
            {
                "InputName": name_,
                "S3Input": {
                    "S3Uri": f"{ROOT}/{name_}/",
                    "LocalPath": f"/opt/ml/processing/input/{name_}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for name_ in ("code", "data", "wheels")
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "store",
                    "S3Output": {
                        "S3Uri": f"{ROOT}/store/",
                        "LocalPath": "/opt/ml/processing/output/store",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ],
            "KmsKeyId": KEY,
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType": "ml.m5.xlarge",
                "InstanceCount": 2,
                "VolumeSizeInGB": 30,
                "VolumeKmsKeyId": KEY,
            }
        },
        "NetworkConfig": {
            "EnableNetworkIsolation": True,
            "EnableInterContainerTrafficEncryption": True,
            "VpcConfig": copy.deepcopy(VPC),
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "Tags": TAGS,
    }
    return Step("sagemaker", "CreateProcessingJob", request, "processing-job", name, wait=True)


def tuning() -> Step:
    name = f"{RUN}-tune"
    request = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "val_mean_dice"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 8, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "ContinuousParameterRanges": [
                    {"Name": "lr", "MinValue": "0.0001", "MaxValue": "0.01", "ScalingType": "Logarithmic"}
                ]
            },
        },
        "TrainingJobDefinition": training_part()
        | {
            "StaticHyperParameters": {
                "sagemaker_program": "entry.py",
                "sagemaker_submit_directory": "/opt/ml/input/data/code",
            }
        },
        "Tags": TAGS,
    }
    return Step("sagemaker", "CreateHyperParameterTuningJob", request, "tuning-job", name, wait=True)


def tuning_of_several() -> Step:
    """The other shape of a tuning: a list of definitions."""
    step = tuning()
    request = copy.deepcopy(dict(step.request))
    definition = request.pop("TrainingJobDefinition")
    objective = request["HyperParameterTuningJobConfig"].pop("HyperParameterTuningJobObjective")
    ranges = request["HyperParameterTuningJobConfig"].pop("ParameterRanges")
    more = {"DefinitionName": "unet", "TuningObjective": objective, "HyperParameterRanges": ranges}
    request["TrainingJobDefinitions"] = [definition | more]
    request["HyperParameterTuningJobName"] = f"{RUN}-tune2"
    return replace(step, request=request, name=f"{RUN}-tune2")


def model() -> Step:
    name = f"{RUN}-model"
    request = {
        "ModelName": name,
        "PrimaryContainer": {"Image": SERVING_IMAGE, "ModelDataUrl": f"{ROOT}/output/model.tar.gz"},
        "ExecutionRoleArn": ROLE,
        "VpcConfig": copy.deepcopy(VPC),
        "EnableNetworkIsolation": True,
        "Tags": TAGS,
    }
    return Step("sagemaker", "CreateModel", request, "model", name)


def endpoint_config() -> Step:
    name = f"{RUN}-config"
    request = {
        "EndpointConfigName": name,
        "ProductionVariants": [
            {
                "VariantName": "main",
                "ModelName": f"{RUN}-model",
                "InstanceType": "ml.m5.2xlarge",
                "InitialInstanceCount": 1,
            }
        ],
        "KmsKeyId": KEY,
        "AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": f"{ROOT}/answers/", "KmsKeyId": KEY}},
        "Tags": TAGS,
    }
    return Step("sagemaker", "CreateEndpointConfig", request, "endpoint-config", name)


def endpoint() -> Step:
    name = f"{RUN}-endpoint"
    request = {"EndpointName": name, "EndpointConfigName": f"{RUN}-config", "Tags": TAGS}
    return Step("sagemaker", "CreateEndpoint", request, "endpoint", name, wait=True)


def transform() -> Step:
    name = f"{RUN}-batch"
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{ROOT}/cases/"}
    request = {
        "TransformJobName": name,
        "ModelName": f"{RUN}-model",
        "MaxPayloadInMB": 50,
        "MaxConcurrentTransforms": 2,
        "TransformInput": {"DataSource": {"S3DataSource": source}},
        "TransformOutput": {"S3OutputPath": f"{ROOT}/labels/", "KmsKeyId": KEY},
        "TransformResources": {"InstanceType": "ml.m5.2xlarge", "InstanceCount": 1, "VolumeKmsKeyId": KEY},
        "Tags": TAGS,
    }
    return Step("sagemaker", "CreateTransformJob", request, "transform-job", name, wait=True)


def file_system() -> Step:
    name = f"{RUN}-lustre"
    request = {
        "FileSystemType": "LUSTRE",
        "StorageCapacity": 1200,
        "StorageType": "SSD",
        "SubnetIds": ["subnet-0123456789abcdef0"],
        "SecurityGroupIds": ["sg-0123456789abcdef0"],
        "KmsKeyId": KEY,
        "LustreConfiguration": {"DeploymentType": "PERSISTENT_2", "PerUnitStorageThroughput": 125},
        "Tags": TAGS,
    }
    return Step("fsx", "CreateFileSystem", request, "file-system", name, wait=True)


def association() -> Step:
    request = {
        "FileSystemId": f"{{file-system:{RUN}-lustre}}",
        "FileSystemPath": "/data",
        "DataRepositoryPath": f"{ROOT}/data/",
        "Tags": TAGS,
    }
    return Step("fsx", "CreateDataRepositoryAssociation", request, "association", f"{RUN}-data", wait=True)


def scaling() -> list[Step]:
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{RUN}-endpoint/variant/main",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    policy = target | {
        "PolicyName": f"{RUN}-backlog",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 2.0,
            "CustomizedMetricSpecification": {
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Namespace": "AWS/SageMaker",
                "Dimensions": [{"Name": "EndpointName", "Value": f"{RUN}-endpoint"}],
                "Statistic": "Average",
            },
        },
    }
    return [
        Step(
            "application-autoscaling",
            "RegisterScalableTarget",
            target | {"MinCapacity": 0, "MaxCapacity": 2},
            "scalable-target",
            f"{RUN}-scaling",
        ),
        Step("application-autoscaling", "PutScalingPolicy", policy, "scaling-policy", f"{RUN}-backlog"),
    ]


def bucket() -> list[Step]:
    tls_only = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
    encryption = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    block = {
        name: True for name in ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    }
    calls: list[tuple[str, dict[str, Any]]] = [
        ("CreateBucket", {}),
        ("PutPublicAccessBlock", {"PublicAccessBlockConfiguration": block}),
        (
            "PutBucketEncryption",
            {
                "ServerSideEncryptionConfiguration": {
                    "Rules": [{"ApplyServerSideEncryptionByDefault": encryption, "BucketKeyEnabled": True}]
                }
            },
        ),
        ("PutBucketPolicy", {"Policy": json.dumps(tls_only)}),
    ]
    return [
        Step("s3", operation, {"Bucket": BUCKET} | request, "bucket" if operation == "CreateBucket" else "", BUCKET)
        for operation, request in calls
    ]


def code_uploads(launch: str = "none", requirements: str = "monai==1.6.1\n", **job: Any) -> tuple[Upload, ...]:
    content = {
        "kind": "train",
        "configs": ["configs/train.json"],
        "overrides": {},
        "launch": launch,
        "redact": True,
    } | job
    return (
        upload("job.json", json.dumps(content)),
        upload("entry.py", "import os\n"),
        upload("requirements.txt", requirements),
    )


def plan(*steps: Step, profile: str = "standard", uploads: tuple[Upload, ...] | None = None) -> Plan:
    files = code_uploads() if uploads is None else uploads
    return Plan(RUN, REGION, BUCKET, profile, uploads=files, steps=steps, role=ROLE, folder=RUN)


def everything(profile: str = "phi") -> Plan:
    """Every call that sm_launch makes, as patient data must be handled."""
    return plan(
        *bucket(),
        processing(),
        file_system(),
        association(),
        training(),
        tuning(),
        tuning_of_several(),
        model(),
        endpoint_config(),
        endpoint(),
        *scaling(),
        transform(),
        profile=profile,
    )


def changed(step: Step, change: Callable[[dict[str, Any]], object]) -> Step:
    """The step with its request changed in place by ``change``."""
    request = copy.deepcopy(dict(step.request))
    change(request)
    return replace(step, request=request)


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change that sets what lies at ``path``, names and indices joined by dots; None removes it."""

    def change(request: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        part: Any = request
        for name in parents:
            part = part[int(name)] if isinstance(part, list) else part.setdefault(name, {})
        if value is None:
            del part[int(last) if isinstance(part, list) else last]
        elif isinstance(part, list):
            part[int(last)] = value
        else:
            part[last] = value

    return change
