"""The serving image, built by AWS CodeBuild from a small archive in S3, for those who have no docker.

The archive holds the Dockerfile and the server; no data and no weights. Building and pushing it is untested on AWS.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.image_packages import without_locked
from sm_launch.steps import Step, Upload

SERVE = Path(__file__).parent / "container" / "serve"
DOCKERFILE, LOCK, EXTRA = "Dockerfile", "requirements.txt", "bundle-requirements.txt"
# PyTorch's own package index by build; those above cu130 need a newer driver than the inference AMIs have (botocore's
# model, InferenceAmiVersion).
TORCH_BUILDS = ("cpu", "cu126", "cu128", "cu130")
# Entries of a zip need a time; a fixed one makes the archive, and so its checksum, the same each time.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
# docs (CodeBuild), "Docker images provided by CodeBuild" and "Build environment compute modes and types": MEDIUM has
# 8 GB of memory and 128 GB of disk, and an image with CUDA has about 9.
BUILD_IMAGE, COMPUTE = "aws/codebuild/standard:7.0", "BUILD_GENERAL1_MEDIUM"
TIMEOUT_MINUTES = 60


@dataclass(frozen=True)
class ImageBuild:
    """An image to build.

    Attributes:
        repository: name of the ECR repository, made here.
        tag: of the image.
        region: AWS region.
        account: AWS account, 12 digits.
        source_uri: s3://BUCKET/KEY.zip that the archive goes to.
        role: ARN of a role that CodeBuild assumes; it reads the archive, writes logs and pushes to the repository.
        torch: cpu, or the CUDA build.
        packages: pip requirements of the bundle besides MONAI's usual readers.
        kms_key: encrypts repository and build output; None leaves AWS's own encryption.
        tags: of everything made.
    """

    repository: str
    tag: str
    region: str
    account: str
    source_uri: str
    role: str
    torch: str = "cu126"
    packages: tuple[str, ...] = ()
    kms_key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def registry(self) -> str:
        """Host of the account's registry."""
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com{'.cn' if self.region.startswith('cn-') else ''}"

    @property
    def image(self) -> str:
        """URI of the image, as CreateModel takes it."""
        return f"{self.registry}/{self.repository}:{self.tag}"

    @property
    def project(self) -> str:
        """Name of the CodeBuild project."""
        return self.repository.replace("/", "-").replace(".", "-")


def image_upload(build: ImageBuild) -> Upload:
    """The archive that CodeBuild unpacks."""
    data = source_archive(build.packages)
    return Upload(build.source_uri, len(data), hashlib.sha256(data).hexdigest(), data=data)


def source_archive(packages: Sequence[str] = ()) -> bytes:
    """Dockerfile, locked requirements, the server, and the bundle's packages that the lock does not name, as a zip."""
    files = {path.relative_to(SERVE.parent).as_posix(): path.read_bytes() for path in sorted(SERVE.glob("*.py"))}
    files[DOCKERFILE] = (SERVE / DOCKERFILE).read_bytes()
    files[LOCK] = (SERVE / LOCK).read_bytes()
    files[EXTRA] = "".join(f"{package}\n" for package in without_locked(packages)).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def image_steps(build: ImageBuild) -> list[Step]:
    """Repository, project, and a build to wait for.

    Raises:
        LaunchError: a value is not one that the build knows.
    """
    if build.torch not in TORCH_BUILDS:
        raise LaunchError(f"torch is '{build.torch}'; choose among {', '.join(TORCH_BUILDS)}.")
    if not build.source_uri.startswith("s3://") or not build.source_uri.endswith(".zip"):
        raise LaunchError(f"source is '{build.source_uri}'; CodeBuild reads s3://BUCKET/KEY.zip.")
    # A lost answer must not start a second build; the token counts for five minutes (API reference, StartBuild).
    start = {"projectName": build.project, "idempotencyToken": build.tag}
    return [
        Step("ecr", "CreateRepository", repository_request(build), "repository", build.repository),
        Step("codebuild", "CreateProject", project_request(build), "build-project", build.project),
        Step("codebuild", "StartBuild", start, "build", build.project, wait=True),
    ]


def repository_request(build: ImageBuild) -> dict[str, Any]:
    """CreateRepository: tags that cannot be pointed at another image, and a scan of each that is pushed."""
    encryption = {"encryptionType": "KMS", "kmsKey": build.kms_key} if build.kms_key else {"encryptionType": "AES256"}
    return {
        "repositoryName": build.repository,
        "imageTagMutability": "IMMUTABLE",
        "imageScanningConfiguration": {"scanOnPush": True},
        "encryptionConfiguration": encryption,
        "tags": [{"Key": key, "Value": value} for key, value in build.tags.items()],
    }


def project_request(build: ImageBuild) -> dict[str, Any]:
    """CreateProject. ``privilegedMode`` lets the build start docker's own daemon."""
    request: dict[str, Any] = {
        "name": build.project,
        "source": {
            "type": "S3",
            "location": build.source_uri.removeprefix("s3://"),
            "buildspec": buildspec(build),
        },
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {
            "type": "LINUX_CONTAINER",
            "image": BUILD_IMAGE,
            "computeType": COMPUTE,
            "privilegedMode": True,
        },
        "serviceRole": build.role,
        "timeoutInMinutes": TIMEOUT_MINUTES,
        "tags": [{"key": key, "value": value} for key, value in build.tags.items()],
    }
    if build.kms_key:
        request["encryptionKey"] = build.kms_key
    return request


def buildspec(build: ImageBuild) -> str:
    """What CodeBuild runs, as JSON, which is YAML too."""
    login = f"aws ecr get-login-password --region {build.region}"
    return json.dumps(
        {
            "version": 0.2,
            "phases": {
                "pre_build": {"commands": [f"{login} | docker login --username AWS --password-stdin {build.registry}"]},
                "build": {"commands": [f"docker build --build-arg TORCH={build.torch} --tag {build.image} ."]},
                "post_build": {"commands": [f"docker push {build.image}"]},
            },
        },
        indent=1,
    )
