"""What a run keeps in S3: its own files, and the folders that it copied there, which other runs read too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sm_launch import aws
from sm_launch.errors import LaunchError
from sm_launch.manifest import Manifest
from sm_launch.s3_uri import split

# Sections of ListObjectVersions: what holds bytes, and that with what stands for a deletion.
BILLED = ("Versions",)
MARKED = ("Versions", "DeleteMarkers")
# DeleteObjects takes no more.
AT_ONCE = 1000


@dataclass(frozen=True)
class Stored:
    """What lies below a prefix, old versions included, since they are billed too.

    Attributes:
        uri: s3://BUCKET/PREFIX/.
        objects: versions of objects.
        size: their bytes.
        own: whether only this run uses it.
    """

    uri: str
    objects: int
    size: int
    own: bool


def stored(manifest: Manifest, session: Any) -> list[Stored]:
    """Look at every place that the run wrote to; those that hold nothing are left out.

    Raises:
        LaunchError: AWS refuses.
    """
    found = []
    own = f"s3://{manifest.bucket}/{manifest.folder}/"
    client = aws.client(session, "s3")
    for uri in dict.fromkeys((own, *manifest.copies)):
        bucket, prefix = split(uri)
        versions = aws.ask(f"list {uri}", lambda b=bucket, p=prefix: _versions(client, b, p))
        if versions:
            found.append(Stored(uri, len(versions), sum(one["Size"] for one in versions), uri == own))
    return found


def _versions(client: Any, bucket: str, prefix: str, kinds: tuple[str, ...] = BILLED) -> list[dict[str, Any]]:
    """Versions of objects below a prefix; none where the bucket was never made."""
    try:
        pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
        return [one for page in pages for kind in kinds for one in page.get(kind, ())]
    except client.exceptions.NoSuchBucket:
        return []


def delete_files(manifest: Manifest, session: Any) -> int:
    """Delete the run's own files in S3, all versions of them; returns how many.

    Raises:
        LaunchError: AWS refuses.
    """
    store = aws.client(session, "s3")
    found = aws.ask("list the run's files", lambda: _versions(store, manifest.bucket, f"{manifest.folder}/", MARKED))
    for start in range(0, len(found), AT_ONCE):
        objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found[start : start + AT_ONCE]]
        wanted = {"Bucket": manifest.bucket, "Delete": {"Objects": objects, "Quiet": True}}
        answer = aws.ask("delete the run's files", lambda wanted=wanted: store.delete_objects(**wanted))
        if errors := answer.get("Errors"):
            raise LaunchError(
                f"s3://{manifest.bucket}/{errors[0]['Key']}: was not deleted ({errors[0].get('Message')}), and "
                f"{len(errors) - 1} more; allow s3:DeleteObjectVersion."
            )
    return len(found)
