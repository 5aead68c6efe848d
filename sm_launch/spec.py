"""The spec: what a user wants of SageMaker, as dataclasses that a YAML file or Python fills.

Names of knobs are the bundle's own where both have them. Nothing here knows AWS's API; ``plan`` makes the requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sm_launch.spec_jobs import Deploy, Image, Preprocess, Train, Tune

Profile = Literal["standard", "phi"]


@dataclass(frozen=True)
class Security:
    """Protection of data and network; ``profile: phi`` demands all of it.

    Attributes:
        kms_key: KMS key (ARN, id or alias) of volumes, outputs and uploads; None leaves S3's own encryption.
        subnets: VPC subnets of the instances.
        security_groups: VPC security groups of the instances.
        network_isolation: containers reach nothing but each other; packages must come as a channel of wheels.
        encrypt_traffic: encryption between the instances of a job; costs some training time.
    """

    kms_key: str | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    network_isolation: bool = False
    encrypt_traffic: bool = False


@dataclass(frozen=True)
class Bucket:
    """The bucket of every upload and output.

    Attributes:
        name: S3 bucket.
        prefix: folder in it.
        create: make it if it does not exist, closed to the public, TLS only, encrypted, with a lifecycle for scraps.
    """

    name: str
    prefix: str = "sm-launch"
    create: bool = False


@dataclass(frozen=True)
class Data:
    """The data set.

    Attributes:
        source: a folder (relative to the spec file), which is copied to S3; or s3://BUCKET/PREFIX, used where it is.
    """

    source: str


@dataclass(frozen=True)
class FileSystem:
    """FSx for Lustre in front of the data set, made before training and deleted by ``down``.

    Attributes:
        size_gib: 1200, 2400 or a multiple of 2400.
        kind: SCRATCH_2 reads the bucket by an import path; PERSISTENT_2 by a data repository association.
        throughput: MB/s per TiB of PERSISTENT_2: 125, 250, 500 or 1000.
        expected_hours: how long it is expected to live; for the cost only.
    """

    size_gib: int = 1200
    kind: Literal["SCRATCH_2", "PERSISTENT_2"] = "SCRATCH_2"
    throughput: int = 250
    expected_hours: float | None = None


@dataclass(frozen=True)
class Spec:
    """Everything about one run.

    Attributes:
        name: begins every name; letters, digits and hyphens, at most 19.
        bundle: the bundle's folder.
        region: AWS region.
        bucket: where files go.
        role: ARN of the execution role.
        profile: phi refuses whatever would leave patient data unprotected.
        security: protection.
        wheels: folder of wheels that travel along, from which jobs install without network.
        data: the data set.
        file_system: FSx for Lustre in front of it.
        preprocess, train, tune, image, deploy: the jobs; each is left out by leaving it out.
        tags: tags of everything made.
    """

    name: str
    bundle: str
    region: str
    bucket: Bucket
    role: str
    profile: Profile = "standard"
    security: Security = field(default_factory=Security)
    wheels: str | None = None
    data: Data | None = None
    file_system: FileSystem | None = None
    preprocess: Preprocess | None = None
    train: Train | None = None
    tune: Tune | None = None
    image: Image | None = None
    deploy: Deploy | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
