"""The calls and members that profile phi knows; every other one is refused.

A later API must be looked at before patient data meet it: what is absent here may open a remote shell, a debugger's
upload, a core dump, or send a copy elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sm_launch.steps import Plan, Step
from sm_launch.views import (
    CREATE_ASSOCIATION,
    CREATE_ENDPOINT,
    CREATE_ENDPOINT_CONFIG,
    CREATE_FILE_SYSTEM,
    CREATE_MODEL,
    CREATE_PROCESSING,
    CREATE_TRAINING,
    CREATE_TRANSFORM,
    CREATE_TUNING,
    trainings,
)

_TRAINING_MEMBERS = (
    "AlgorithmSpecification CheckpointConfig EnableInterContainerTrafficEncryption EnableManagedSpotTraining "
    "EnableNetworkIsolation Environment InputDataConfig OutputDataConfig ResourceConfig RetryStrategy RoleArn "
    "StoppingCondition VpcConfig"
)
_DEFINITION_MEMBERS = frozenset(
    _TRAINING_MEMBERS.split()
    + ["DefinitionName", "TuningObjective", "HyperParameterRanges", "StaticHyperParameters"]
    + ["HyperParameterTuningResourceConfig"]
)
_VARIANT_MEMBERS = frozenset(
    " ".join(
        (
            "VariantName ModelName InitialInstanceCount InstanceType InitialVariantWeight VolumeSizeInGB",
            "ModelDataDownloadTimeoutInSeconds ContainerStartupHealthCheckTimeoutInSeconds RoutingConfig",
            "InferenceAmiVersion ManagedInstanceScaling",
        )
    ).split()
)
# Members that may be given, by call.
MEMBERS: Mapping[tuple[str, str], frozenset[str]] = {
    key: frozenset(names.split())
    for key, names in {
        ("sagemaker", CREATE_TRAINING): f"{_TRAINING_MEMBERS} TrainingJobName HyperParameters Tags InfraCheckConfig "
        "TensorBoardOutputConfig",
        ("sagemaker", CREATE_TUNING): "HyperParameterTuningJobName HyperParameterTuningJobConfig TrainingJobDefinition "
        "TrainingJobDefinitions WarmStartConfig Tags Autotune",
        ("sagemaker", CREATE_PROCESSING): "ProcessingInputs ProcessingOutputConfig ProcessingJobName RoleArn Tags "
        "ProcessingResources StoppingCondition AppSpecification Environment NetworkConfig",
        (
            "sagemaker",
            CREATE_MODEL,
        ): "ModelName PrimaryContainer ExecutionRoleArn Tags VpcConfig EnableNetworkIsolation",
        ("sagemaker", CREATE_ENDPOINT_CONFIG): "EndpointConfigName ProductionVariants DataCaptureConfig Tags KmsKeyId "
        "AsyncInferenceConfig ExecutionRoleArn VpcConfig EnableNetworkIsolation",
        ("sagemaker", CREATE_ENDPOINT): "EndpointName EndpointConfigName DeploymentConfig Tags",
        ("sagemaker", CREATE_TRANSFORM): "TransformJobName ModelName MaxConcurrentTransforms ModelClientConfig Tags "
        "MaxPayloadInMB BatchStrategy Environment TransformInput TransformOutput TransformResources DataCaptureConfig",
        ("fsx", CREATE_FILE_SYSTEM): "ClientRequestToken FileSystemType StorageCapacity StorageType SubnetIds "
        "SecurityGroupIds Tags KmsKeyId LustreConfiguration FileSystemTypeVersion",
        ("fsx", CREATE_ASSOCIATION): "FileSystemId FileSystemPath DataRepositoryPath BatchImportMetaDataOnCreate "
        "ImportedFileChunkSize S3 ClientRequestToken Tags",
        ("application-autoscaling", "RegisterScalableTarget"): "ServiceNamespace ResourceId ScalableDimension "
        "MinCapacity MaxCapacity Tags",
        ("application-autoscaling", "PutScalingPolicy"): "PolicyName ServiceNamespace ResourceId ScalableDimension "
        "PolicyType StepScalingPolicyConfiguration TargetTrackingScalingPolicyConfiguration",
        ("cloudwatch", "PutMetricAlarm"): "AlarmName AlarmDescription ActionsEnabled AlarmActions MetricName Namespace "
        "Statistic Dimensions Period EvaluationPeriods DatapointsToAlarm Threshold ComparisonOperator "
        "TreatMissingData Tags",
        ("codebuild", "CreateProject"): "name description source artifacts environment serviceRole timeoutInMinutes "
        "queuedTimeoutInMinutes encryptionKey tags vpcConfig logsConfig",
        ("codebuild", "StartBuild"): "projectName",
        ("ecr", "CreateRepository"): "repositoryName tags imageTagMutability imageScanningConfiguration "
        "encryptionConfiguration",
        ("logs", "CreateLogGroup"): "logGroupName kmsKeyId tags",
        ("logs", "PutRetentionPolicy"): "logGroupName retentionInDays",
        ("s3", "CreateBucket"): "Bucket CreateBucketConfiguration ObjectOwnership ACL",
        ("s3", "PutPublicAccessBlock"): "Bucket PublicAccessBlockConfiguration",
        ("s3", "PutBucketEncryption"): "Bucket ServerSideEncryptionConfiguration",
        ("s3", "PutBucketPolicy"): "Bucket Policy",
        ("s3", "PutBucketVersioning"): "Bucket VersioningConfiguration",
        ("s3", "PutBucketLifecycleConfiguration"): "Bucket LifecycleConfiguration",
        ("s3", "PutBucketOwnershipControls"): "Bucket OwnershipControls",
        ("s3", "PutBucketTagging"): "Bucket Tagging",
    }.items()
}
# Members outside the lists that may be given with just this value, which switches something off.
_HARMLESS = {"ProfilerConfig": {"DisableProfiler": True}, "RemoteDebugConfig": {"EnableRemoteDebug": False}}


def unknown(plan: Plan) -> Iterator[str]:
    """Calls and members that the profile doesn't know."""
    for step in plan.steps:
        members = MEMBERS.get((step.service, step.operation))
        if members is None:
            yield (
                f"{step.name or step.service}: {step.service} {step.operation} is not among the calls that profile phi "
                f"knows, so it is refused; leave it out, or make it outside sm_launch."
            )
            continue
        yield from _members(step, "", step.request, members)
        if step.operation == CREATE_ENDPOINT_CONFIG:
            for key in ("ProductionVariants", "ShadowProductionVariants"):
                for index, variant in enumerate(step.request.get(key, ())):
                    yield from _members(step, f"{key}[{index}].", variant, _VARIANT_MEMBERS)
    for training in trainings(plan):
        if training.step.operation == CREATE_TUNING:
            yield from _members(training.step, training.path, training.request, _DEFINITION_MEMBERS)


def _members(step: Step, path: str, request: Mapping[str, Any], members: frozenset[str]) -> Iterator[str]:
    for name, value in request.items():
        if name not in members and (name not in _HARMLESS or _HARMLESS[name] != value):
            yield (
                f"{step.name}: {path}{name} is not among the members that profile phi knows of {step.operation}, so it "
                f"is refused; remove it."
            )
