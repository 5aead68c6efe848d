"""Rules of disks, buckets, paths and names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from sm_launch.container.redaction import redact
from sm_launch.frame import PHI
from sm_launch.instances import instance, known, takes_volume_key
from sm_launch.steps import Plan
from sm_launch.views import CREATE_PROCESSING, fleets, of

PROCESSING_ROOT = "/opt/ml/processing"
# Names of general purpose buckets: docs, "General purpose bucket naming rules".
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Files that may be lists of patients, and that are no part of a program; those of JSON and YAML are read.
_TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".ods", ".jsonl", ".parquet", ".pkl", ".db", ".sqlite")
# Resources that a SageMaker job can use in its own region only; an IAM role has no region in its ARN.
_ARN = re.compile(r"arn:[a-z-]+:(kms|sns|fsx|sagemaker|codebuild):([a-z0-9-]+):\d{12}:")
# The oldest region takes no LocationConstraint (API reference, CreateBucketConfiguration).
_FIRST_REGION = "us-east-1"


def volume_key(plan: Plan) -> Iterator[str]:
    """Types with local NVMe disks take no VolumeKmsKeyId: hardware encrypts them (API reference, ResourceConfig)."""
    for fleet in fleets(plan):
        if fleet.volume_key and not takes_volume_key(fleet.instance_type):
            yield (
                f"{fleet.step.name}: {fleet.path}VolumeKmsKeyId is given, and AWS refuses it on "
                f"{fleet.instance_type}, whose local NVMe disks are encrypted by hardware; remove the key."
            )


def hardware_encrypts(plan: Plan) -> Iterator[str]:
    """Says where a plan with a KMS key leaves a volume without it, since hardware encrypts the type's own disks."""
    for fleet in fleets(plan):
        if plan.kms_key and not fleet.volume_key and not takes_volume_key(fleet.instance_type):
            yield (
                f"{fleet.step.name}: the disks of {fleet.instance_type} are encrypted by hardware and take no KMS key; "
                "uploads and outputs have yours."
            )


def file_names(plan: Plan) -> Iterator[str]:
    """Under profile phi shows some of the file names that go to S3, since no detector knows a person's name in one."""
    for copy in plan.copies if plan.profile == PHI else ():
        names = [file.name for file in copy.files]
        shown = dict.fromkeys(names[index] for index in (0, len(names) // 2, -1) if names)
        yield (
            f"Folder {copy.folder}: the names of its {len(names)} files go to S3 keys and to logs outside the "
            f"encrypted data, such as {', '.join(redact(name) for name in shown)}; a person's name in one is not "
            f"recognized, so look at them."
        )


def bundle_tables(plan: Plan) -> Iterator[str]:
    """Under profile phi names the bundle's tables, which are not read and may list patients."""
    paths = [upload.path for upload in plan.uploads if upload.path is not None] if plan.profile == PHI else []
    for path in dict.fromkeys(path for path in paths if path.suffix.lower() in _TABLES):
        yield (
            f"{redact(str(path))}: travels with the code and in the model's artifact, and is not looked into; take it "
            f"out of the bundle if it lists patients."
        )


def local_disk_size(plan: Plan) -> Iterator[str]:
    """Types with local NVMe disks have that space and no EBS volume (API reference, ResourceConfig.VolumeSizeInGB)."""
    for fleet in fleets(plan):
        if not known(fleet.instance_type):
            continue
        disks = instance(fleet.instance_type).nvme_gb
        if disks and fleet.volume_gb > disks:
            yield (
                f"{fleet.step.name}: {fleet.path}VolumeSizeInGB is {fleet.volume_gb}, and {fleet.instance_type} has "
                f"its {disks} GB of local NVMe and takes no volume; lower it or take a larger size."
            )


def processing_paths(plan: Plan) -> Iterator[str]:
    """Inputs and outputs of a processing job lie under /opt/ml/processing (API reference, ProcessingS3Input)."""
    for step in of(plan, CREATE_PROCESSING):
        parts = [("ProcessingInputs", "S3Input", step.request.get("ProcessingInputs", ()))]
        outputs = step.request.get("ProcessingOutputConfig", {}).get("Outputs", ())
        parts.append(("ProcessingOutputConfig.Outputs", "S3Output", outputs))
        for name, member, entries in parts:
            for index, entry in enumerate(entries):
                path = entry.get(member, {}).get("LocalPath")
                if path is not None and not path.startswith(f"{PROCESSING_ROOT}/"):
                    yield (
                        f"{step.name}: {name}[{index}].{member}.LocalPath is {path!r}, and AWS takes a folder under "
                        f"{PROCESSING_ROOT}/; move it there."
                    )


def unique_names(plan: Plan) -> Iterator[str]:
    """No two steps make a thing of the same kind and name."""
    for (kind, name), count in Counter((step.kind, step.name) for step in plan.steps if step.kind).items():
        if count > 1:
            yield f"{name}: the plan makes {count} things of kind {kind} with this name; rename one."


def own_tags(plan: Plan) -> Iterator[str]:
    """No tag's name begins with aws:, which AWS keeps for its own (docs, "Tagging your AWS resources")."""
    owners: dict[str, str] = {}
    for step in plan.steps:
        for name in tag_names(step.request):
            owners.setdefault(name, step.name)
    for name, owner in owners.items():
        if name.lower().startswith("aws:"):
            yield f"{owner}: has the tag {name!r}, and AWS keeps names that begin with aws: for itself; rename it."


def tag_names(request: Mapping[str, Any]) -> list[str]:
    """Names of a request's tags, which are a list or a map, as its service has them."""
    tags = request.get("Tags") or request.get("tags") or ()
    return list(tags) if isinstance(tags, Mapping) else [tag.get("Key") or tag.get("key", "") for tag in tags]


def bucket_name(plan: Plan) -> Iterator[str]:
    """The bucket's name is one that S3 takes, without dots, which break TLS for virtual-hosted addresses."""
    if not _BUCKET.fullmatch(plan.bucket) or "." in plan.bucket:
        yield (
            f"Bucket {plan.bucket!r} is no name to use: S3 takes 3 to 63 lower-case letters, digits and hyphens, and a "
            f"dot breaks TLS; rename it."
        )


def bucket_region(plan: Plan) -> Iterator[str]:
    """A bucket made by the plan lies in the plan's region (API reference, CreateBucket)."""
    for step in of(plan, "CreateBucket"):
        place = step.request.get("CreateBucketConfiguration", {}).get("LocationConstraint")
        wanted = None if plan.region == _FIRST_REGION else plan.region
        if place != wanted:
            yield (
                f"{step.name}: CreateBucketConfiguration.LocationConstraint is {place or 'absent'}, and a bucket for "
                f"jobs in {plan.region} takes {wanted or 'none'}; change it."
            )


def arn_region(plan: Plan) -> Iterator[str]:
    """Keys, topics, file systems and models lie in the plan's region, where its jobs can use them."""
    for step in plan.steps:
        for path, text in texts(step.request):
            found = _ARN.search(text)
            if found and found[2] != plan.region:
                yield (
                    f"{step.name}: {path} names a {found[1]} resource of {found[2]}, and jobs in {plan.region} use "
                    f"those of their own region; give one there."
                )


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a request with its path; keys of maps count as texts."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            inner = f"{path}.{key}" if path else str(key)
            yield inner, str(key)
            yield from texts(part, inner)
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from texts(part, f"{path}[{index}]")
