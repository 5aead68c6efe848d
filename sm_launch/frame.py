"""What every request of a plan shares: names, places in S3, tags, and the protection that the spec asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sm_launch.bundle import Bundle
from sm_launch.errors import LaunchError
from sm_launch.spec import Spec

RUN_TAG = "sm-launch:run"
PHI = "phi"
_FILE_ENDINGS = (".json", ".csv", ".tsv", ".txt", ".yaml", ".nii", ".gz", ".zip", ".tar", ".npy", ".npz", ".pt")
# Where the platform puts things in a training container (SageMaker AI Developer Guide, "Amazon SageMaker AI Training
# Storage Folders").
CHECKPOINTS = "/opt/ml/checkpoints"
TENSORBOARD = "/opt/ml/output/tensorboard"


@dataclass(frozen=True)
class Frame:
    """A spec, the bundle that it names and the run's id."""

    spec: Spec
    bundle: Bundle
    run: str

    def uri(self, *parts: str) -> str:
        """A place of this run in the bucket."""
        return self.shared_uri("runs", self.run, *parts)

    def shared_uri(self, *parts: str) -> str:
        """A place in the bucket that runs share."""
        folders = (self.spec.bucket.prefix.strip("/"), *parts)
        return "/".join(("s3:/", self.spec.bucket.name, *filter(None, folders)))

    def data_uri(self) -> str | None:
        """Where the data set lies in S3, or will; None without one."""
        if self.spec.data is None:
            return None
        source = self.spec.data.source.rstrip("/")
        return source if source.startswith("s3://") else self.shared_uri("data", source.rsplit("/", 1)[-1])

    def wheels_uri(self) -> str | None:
        """Where the wheels lie in S3, or will; None without them."""
        wheels = self.spec.wheels
        return wheels if wheels is None or wheels.startswith("s3://") else self.uri("wheels")

    def tags(self) -> list[dict[str, str]]:
        """The spec's tags, and the run's, by which everything is found again."""
        return [{"Key": key, "Value": value} for key, value in {**self.spec.tags, RUN_TAG: self.run}.items()]

    def network(self) -> dict[str, Any]:
        """VpcConfig, where the spec names a network."""
        security = self.spec.security
        if not (security.subnets or security.security_groups):
            return {}
        config = {"SecurityGroupIds": list(security.security_groups), "Subnets": list(security.subnets)}
        return {"VpcConfig": config}

    def isolation(self) -> dict[str, bool]:
        """The two switches as training and tuning name them."""
        return {
            "EnableNetworkIsolation": self.spec.security.network_isolation,
            "EnableInterContainerTrafficEncryption": self.spec.security.encrypt_traffic,
        }

    def redaction(self) -> dict[str, bool]:
        """job.json's order to mask the log, which leaves the encrypted data (``container/entry.py``)."""
        return {"redact": True} if self.spec.profile == PHI else {}

    def output_key(self) -> dict[str, str]:
        """KmsKeyId of an output, where the spec has a key."""
        return {"KmsKeyId": self.spec.security.kms_key} if self.spec.security.kms_key else {}

    def volume_key(self, instance_type: str) -> dict[str, str]:
        """VolumeKmsKeyId, where the spec has a key and the type has no disk of its own, which encrypts by itself."""
        from sm_launch.instances import takes_volume_key

        key = self.spec.security.kms_key
        return {"VolumeKmsKeyId": key} if key and takes_volume_key(instance_type) else {}


def seconds(hours: float) -> int:
    """Hours as the whole seconds that the API takes."""
    return round(hours * 3600)


def account_of(role: str, key: str = "role") -> str:
    """The account that a role belongs to.

    Args:
        role: its ARN.
        key: where it stands in the spec.

    Raises:
        LaunchError: it is no role's ARN.
    """
    parts = role.split(":")
    if (
        len(parts) != 6
        or parts[0] != "arn"
        or not re.fullmatch(r"\d{12}", parts[4])
        or not parts[5].startswith("role/")
    ):
        raise LaunchError(f"{key} is '{role}'; write its ARN, arn:aws:iam::ACCOUNT:role/NAME.")
    return parts[4]


def prefix(uri: str) -> str:
    """An S3 place as a folder: a prefix is plain text, so without its slash Task01 would bring Task01_2mm too.

    What ends as files do is taken for an object, as dataset.json.
    """
    return uri if uri.endswith("/") or is_object(uri) else uri + "/"


def is_object(name: str) -> bool:
    """Whether a name is a file's rather than a folder's."""
    return name.lower().endswith(_FILE_ENDINGS)


def s3_input(uri: str, distribution: str = "FullyReplicated") -> Mapping[str, Any]:
    """DataSource of a channel."""
    return {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": prefix(uri), "S3DataDistributionType": distribution}}


def training_image(region: str, instance_type: str) -> str:
    """AWS's PyTorch image for a type: with CUDA where it has GPUs.

    Raises:
        LaunchError: the type or the region is not known.
    """
    from sm_launch.images import CPU, GPU, image_uri
    from sm_launch.instances import instance

    return image_uri(region, GPU if instance(instance_type).gpus else CPU)
