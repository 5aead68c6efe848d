"""What a plan is made of: files to upload and calls to AWS, in order, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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
class Source:
    """A file of a folder that is to be copied, as the plan saw it.

    Attributes:
        name: path in the folder, with /.
        size: in bytes.
        changed_ns: when it was last changed (st_mtime_ns).
    """

    name: str
    size: int
    changed_ns: int


@dataclass(frozen=True)
class Copy:
    """A folder that the plan copies into S3; checksums are made, and equal files left out, while it is copied.

    Attributes:
        folder: on this machine.
        uri: s3://BUCKET/PREFIX/ that its files go below.
        files: sorted by name.
    """

    folder: Path
    uri: str
    files: tuple[Source, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


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
        expected_hours: how long a job is expected to run; for the cost only.
    """

    service: str
    operation: str
    request: Mapping[str, Any]
    kind: str = ""
    name: str = ""
    wait: bool = False
    expected_hours: float | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that ``apply`` would do; nothing in it came from AWS, and making it changed nothing.

    Attributes:
        run: the run's id; it begins every name of the plan.
        region: AWS region.
        bucket: the bucket of all uploads and outputs.
        profile: standard or phi.
        uploads: files of the code channels, before the steps.
        copies: data folders, before the steps.
        steps: calls, in order.
        notes: sentences that the user should read before paying.
        role: ARN of the execution role that the steps name.
        kms_key: encrypts uploads; None leaves S3's own encryption.
        folder: key prefix of the run's files in the bucket.
    """

    run: str
    region: str
    bucket: str
    profile: str
    uploads: tuple[Upload, ...] = ()
    copies: tuple[Copy, ...] = ()
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    role: str = ""
    kms_key: str | None = None
    folder: str = ""

    def with_notes(self, notes: Iterable[str]) -> Plan:
        """The same plan with notes."""
        return replace(self, notes=tuple(notes))
