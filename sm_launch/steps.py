"""What a plan is made of: files to upload and calls to AWS, in order, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Upload:
    """One object that the plan puts into S3.

    Attributes:
        uri: where it goes, s3://BUCKET/KEY.
        size: bytes.
        sha256: of its bytes, in hex.
        path: the file on this machine; None for bytes that the plan made.
        data: those bytes; None for a file.
    """

    uri: str
    size: int
    sha256: str
    path: Path | None = None
    data: bytes | None = None


@dataclass(frozen=True)
class Step:
    """One call to AWS.

    Attributes:
        service: boto3's name of the service: sagemaker, s3, fsx, application-autoscaling, codebuild.
        operation: the API's name of the call: CreateTrainingJob.
        request: the exact parameters of the call.
        kind: what it makes, as the run manifest and ``down`` name it: training-job, endpoint, file-system; empty where
            it makes nothing that must be deleted.
        name: the made thing's name.
        wait: whether ``apply`` waits until it is done (a job) or ready (an endpoint) before the next step.
    """

    service: str
    operation: str
    request: Mapping[str, Any]
    kind: str = ""
    name: str = ""
    wait: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything that ``apply`` would do; nothing in it came from AWS, and making it changed nothing.

    Attributes:
        run: the run's id; it begins every name of the plan.
        region: AWS region.
        bucket: the bucket of all uploads and outputs.
        profile: standard or phi.
        uploads: files, before the steps.
        steps: calls, in order.
        notes: sentences that the user should read before paying.
    """

    run: str
    region: str
    bucket: str
    profile: str
    uploads: tuple[Upload, ...] = ()
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = field(default=())
