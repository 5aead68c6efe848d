"""How each kind of thing that a run makes is looked at, stopped and deleted: one table for apply, down and ls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TRAINING, PROCESSING, TUNING, TRANSFORM = "training-job", "processing-job", "tuning-job", "transform-job"
ENDPOINT, ENDPOINT_CONFIG, MODEL = "endpoint", "endpoint-config", "model"
FILE_SYSTEM, DATA_REPOSITORY = "file-system", "data-repository"
BUCKET = "bucket"


@dataclass(frozen=True)
class Kind:
    """One kind of thing.

    Attributes:
        service: boto3's name of its service.
        describe: method that tells its state.
        name_key: parameter that names it.
        status_key: where the answer tells the state; empty for things without one.
        ready: states that mean done or ready.
        failed: states from which it will not become ready.
        stop: method that ends it while it runs; empty where there is none.
        delete: method that removes it; empty for jobs, whose records cost nothing and stay as history.
        fact: the entry's fact that names it to AWS; empty where the plan's own name does.
        costs: what it costs while it exists and nobody uses it; empty for nothing.
    """

    service: str
    describe: str
    name_key: str
    status_key: str = ""
    ready: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    stop: str = ""
    delete: str = ""
    fact: str = ""
    costs: str = ""


_JOB_FAILED = ("Failed", "Stopped")

# In the order in which ``down`` takes them: what uses comes before what is used.
KINDS: Mapping[str, Kind] = {
    TUNING: Kind(
        "sagemaker", "describe_hyper_parameter_tuning_job", "HyperParameterTuningJobName",
        "HyperParameterTuningJobStatus", ("Completed",), _JOB_FAILED, "stop_hyper_parameter_tuning_job",
    ),
    TRAINING: Kind(
        "sagemaker", "describe_training_job", "TrainingJobName", "TrainingJobStatus", ("Completed",), _JOB_FAILED,
        "stop_training_job",
    ),
    PROCESSING: Kind(
        "sagemaker", "describe_processing_job", "ProcessingJobName", "ProcessingJobStatus", ("Completed",),
        _JOB_FAILED, "stop_processing_job",
    ),
    TRANSFORM: Kind(
        "sagemaker", "describe_transform_job", "TransformJobName", "TransformJobStatus", ("Completed",), _JOB_FAILED,
        "stop_transform_job",
    ),
    ENDPOINT: Kind(
        "sagemaker", "describe_endpoint", "EndpointName", "EndpointStatus", ("InService",),
        ("Failed", "OutOfService", "UpdateRollbackFailed"), delete="delete_endpoint",
        costs="its instances, used or not",
    ),
    ENDPOINT_CONFIG: Kind(
        "sagemaker", "describe_endpoint_config", "EndpointConfigName", delete="delete_endpoint_config",
    ),
    MODEL: Kind("sagemaker", "describe_model", "ModelName", delete="delete_model"),
    DATA_REPOSITORY: Kind(
        "fsx", "describe_data_repository_associations", "AssociationId", "Lifecycle", ("AVAILABLE",),
        ("FAILED", "MISCONFIGURED"), delete="delete_data_repository_association", fact="id",
    ),
    FILE_SYSTEM: Kind(
        "fsx", "describe_file_systems", "FileSystemId", "Lifecycle", ("AVAILABLE",), ("FAILED", "MISCONFIGURED"),
        delete="delete_file_system", fact="id", costs="its whole capacity, used or not",
    ),
}  # fmt: skip
# How AWS words that a thing does not exist, by error code; SageMaker says ValidationException for everything.
_ABSENT_CODES = {
    "ResourceNotFound",
    "FileSystemNotFound",
    "DataRepositoryAssociationNotFound",
    "ResourceNotFoundException",
}
_ABSENT_WORDS = ("could not find", "does not exist", "not found", "requested resource not found")


def describe(client: Any, kind: Kind, name: str) -> Mapping[str, Any] | None:
    """AWS's answer about one thing; None if it does not exist.

    Raises:
        botocore.exceptions.ClientError: any other refusal.
    """
    from botocore.exceptions import ClientError

    try:
        if kind.service == "fsx":
            key = {"FileSystemId": "FileSystems", "AssociationId": "Associations"}[kind.name_key]
            found = getattr(client, kind.describe)(**{f"{kind.name_key}s": [name]})[key]
            return found[0] if found else None
        return getattr(client, kind.describe)(**{kind.name_key: name})
    except ClientError as error:
        if is_absent(error):
            return None
        raise


def is_absent(error: Any) -> bool:
    """Whether an error means that the thing does not exist."""
    found = error.response.get("Error", {})
    message = str(found.get("Message", "")).lower()
    return found.get("Code") in _ABSENT_CODES or (
        found.get("Code") == "ValidationException" and any(words in message for words in _ABSENT_WORDS)
    )
