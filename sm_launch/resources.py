"""How each kind of thing that a run makes is looked at, stopped and deleted: one table for apply, down and ls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sm_launch import aws
from sm_launch.frame import RUN_TAG
from sm_launch.manifest import Entry

TRAINING, PROCESSING, TUNING, TRANSFORM = "training-job", "processing-job", "tuning-job", "transform-job"
ENDPOINT, ENDPOINT_CONFIG, MODEL, ALARM = "endpoint", "endpoint-config", "model", "alarm"
FILE_SYSTEM, DATA_REPOSITORY = "file-system", "data-repository"
BUILD, BUILD_PROJECT, REPOSITORY = "build", "build-project", "repository"
# Fact of a transform job that ``apply`` made: its request, the pattern of those for other cases.
PATTERN = "request"


@dataclass(frozen=True)
class Kind:
    """One kind of thing.

    Attributes:
        service: boto3's name of its service.
        describe: method that tells its state.
        name_key: parameter that names it, one or a list.
        listed: where the answer has it, for methods that describe several; empty for those that describe one.
        status_key: where the answer tells the state; empty for things without one.
        ready: states that mean done or ready.
        failed: states from which it will not become ready.
        stop: method that ends it while it runs; empty where there is none.
        stop_key: parameter that names it there; empty is ``name_key``.
        delete: method that removes it; empty for jobs, whose records cost nothing and stay as history.
        delete_key: parameter that names it there; empty is ``name_key``.
        delete_more: further parameters of that method.
        fact: the entry's fact that names it to AWS; empty where the plan's own name does.
        costs: what it costs while it exists and nobody uses it; empty for nothing.
        logs: what its own log group's name begins with, before its name; empty where it has none of its own.
    """

    service: str
    describe: str
    name_key: str
    listed: str = ""
    status_key: str = ""
    ready: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    stop: str = ""
    stop_key: str = ""
    delete: str = ""
    delete_key: str = ""
    delete_more: Mapping[str, Any] = field(default_factory=dict)
    fact: str = ""
    costs: str = ""
    logs: str = ""


def _job(name: str, key: str) -> Kind:
    """A job of SageMaker: it ends by itself, or is stopped."""
    return Kind(
        "sagemaker", f"describe_{name}", f"{key}Name", status_key=f"{key}Status", ready=("Completed",),
        failed=("Failed", "Stopped"), stop=f"stop_{name}",
    )  # fmt: skip


# In the order in which ``down`` takes them: what uses comes before what is used.
KINDS: Mapping[str, Kind] = {
    TUNING: _job("hyper_parameter_tuning_job", "HyperParameterTuningJob"),
    TRAINING: _job("training_job", "TrainingJob"),
    PROCESSING: _job("processing_job", "ProcessingJob"),
    TRANSFORM: _job("transform_job", "TransformJob"),
    BUILD: Kind(
        "codebuild", "batch_get_builds", "ids", "builds", "buildStatus", ("SUCCEEDED",),
        ("FAILED", "FAULT", "TIMED_OUT", "STOPPED"), stop="stop_build", stop_key="id", fact="id",
    ),
    BUILD_PROJECT: Kind(
        "codebuild", "batch_get_projects", "names", "projects", delete="delete_project", delete_key="name",
        logs="/aws/codebuild/",
    ),
    REPOSITORY: Kind(
        "ecr", "describe_repositories", "repositoryNames", "repositories", delete="delete_repository",
        delete_key="repositoryName", delete_more={"force": True}, costs="its images' storage",
    ),
    ALARM: Kind("cloudwatch", "describe_alarms", "AlarmNames", "MetricAlarms", delete="delete_alarms"),
    ENDPOINT: Kind(
        "sagemaker", "describe_endpoint", "EndpointName", "", "EndpointStatus", ("InService",),
        ("Failed", "OutOfService", "UpdateRollbackFailed"), delete="delete_endpoint",
        costs="its instances, used or not", logs="/aws/sagemaker/Endpoints/",
    ),
    ENDPOINT_CONFIG: Kind(
        "sagemaker", "describe_endpoint_config", "EndpointConfigName", delete="delete_endpoint_config"
    ),
    MODEL: Kind("sagemaker", "describe_model", "ModelName", delete="delete_model"),
    DATA_REPOSITORY: Kind(
        "fsx", "describe_data_repository_associations", "AssociationIds", "Associations", "Lifecycle", ("AVAILABLE",),
        ("FAILED", "MISCONFIGURED"), delete="delete_data_repository_association", delete_key="AssociationId", fact="id",
    ),
    FILE_SYSTEM: Kind(
        "fsx", "describe_file_systems", "FileSystemIds", "FileSystems", "Lifecycle", ("AVAILABLE",),
        ("FAILED", "MISCONFIGURED"), delete="delete_file_system", delete_key="FileSystemId", fact="id",
        costs="its whole capacity, used or not",
    ),
}  # fmt: skip
# How AWS words that a thing does not exist, by error code; SageMaker says ValidationException for everything.
_ABSENT_CODES = {
    "ResourceNotFound", "ResourceNotFoundException", "FileSystemNotFound", "DataRepositoryAssociationNotFound",
    "RepositoryNotFoundException",
}  # fmt: skip
_ABSENT_WORDS = ("could not find", "does not exist", "not found", "requested resource not found")


def name_of(entry: Entry) -> str | None:
    """What AWS knows a thing by; None if it never told."""
    fact = KINDS[entry.kind].fact
    return entry.facts.get(fact) if fact else entry.name


def find(entry: Entry, session: Any) -> Mapping[str, Any] | None:
    """AWS's answer about a thing of a run; None if it does not exist.

    Raises:
        LaunchError: AWS refuses, or cannot be reached.
    """
    kind, name = KINDS[entry.kind], name_of(entry)
    client = aws.client(session, kind.service)
    if name is None and entry.kind == FILE_SYSTEM:
        # AWS names it, and its answer never came: the most expensive thing to lose is found by its tag.
        found = aws.ask(f"look for the {entry.kind} {entry.name}", lambda: _tagged_file_system(client, entry))
        if found:
            entry.facts["id"] = found["FileSystemId"]
        return found
    if name is None and entry.kind == BUILD:
        name = aws.ask(f"look for the {entry.kind} {entry.name}", lambda: _latest_build(client, entry.name))
        if name:
            entry.facts["id"] = name
    if name is None:
        return None
    return aws.ask(f"look at the {entry.kind} {entry.name}", lambda: describe(client, kind, name))


def _tagged_file_system(client: Any, entry: Entry) -> Mapping[str, Any] | None:
    """The file system of the run that an entry belongs to, by the run's tag."""
    for page in client.get_paginator("describe_file_systems").paginate():
        for found in page["FileSystems"]:
            if {"Key": RUN_TAG, "Value": entry.facts["run"]} in found.get("Tags", ()):
                return found
    return None


def _latest_build(client: Any, project: str) -> str | None:
    """Id of a project's last build, for one whose answer never came."""
    from botocore.exceptions import ClientError

    try:
        found = client.list_builds_for_project(projectName=project, sortOrder="DESCENDING")["ids"]
    except ClientError as error:
        if is_absent(error):
            return None
        raise
    return found[0] if found else None


def describe(client: Any, kind: Kind, name: str) -> Mapping[str, Any] | None:
    """AWS's answer about one thing; None if it does not exist.

    Raises:
        botocore.exceptions.ClientError: any other refusal.
    """
    from botocore.exceptions import ClientError

    try:
        answer = getattr(client, kind.describe)(**{kind.name_key: [name] if kind.listed else name})
    except ClientError as error:
        if is_absent(error):
            return None
        raise
    if not kind.listed:
        return answer
    found = answer.get(kind.listed, ())
    return found[0] if found else None


def delete(client: Any, kind: Kind, name: str) -> None:
    """Delete one thing; what is gone already is as good.

    Raises:
        botocore.exceptions.ClientError: AWS refuses.
    """
    from botocore.exceptions import ClientError

    # Methods that take a list of names are those whose key is the describing one's.
    several = kind.listed and not kind.delete_key
    named = {kind.delete_key or kind.name_key: [name] if several else name}
    try:
        getattr(client, kind.delete)(**named, **kind.delete_more)
    except ClientError as error:
        if not is_absent(error):
            raise


def is_absent(error: Any) -> bool:
    """Whether an error means that the thing does not exist."""
    found = error.response.get("Error", {})
    message = str(found.get("Message", "")).lower()
    return found.get("Code") in _ABSENT_CODES or (
        found.get("Code") == "ValidationException" and any(words in message for words in _ABSENT_WORDS)
    )
