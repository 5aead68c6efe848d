"""Bring files to S3: only what is not there yet, with SHA-256 checked by S3 on arrival, resumable.

An object carries the SHA-256 of its whole content as metadata, since S3's own checksum of an upload in parts is one of
the parts' checksums. What has the same size and the same SHA-256 is not sent again.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sm_launch import aws
from sm_launch.errors import LaunchError
from sm_launch.files import sha256_of
from sm_launch.s3_uri import split
from sm_launch.steps import Copy, Source, Upload
from sm_launch.sync_source import as_planned, readable

logger = logging.getLogger(__name__)

SHA256 = "sha256"
KMS = "aws:kms"
THREADS = 8
MEBIBYTE = 1024**2
# Objects above are sent in parts. S3 takes parts of 5 MiB to 5 GiB, 10,000 of them at most.
MULTIPART_FROM, PART_SIZE, MOST_PARTS = 64 * MEBIBYTE, 32 * MEBIBYTE, 10_000


@dataclass(frozen=True)
class Sent:
    """What a transfer did.

    Attributes:
        objects: that were sent.
        size: their bytes.
        same: objects that were there already.
    """

    objects: int = 0
    size: int = 0
    same: int = 0


@dataclass(frozen=True)
class Target:
    """Where one object goes, and how: ``kms_key`` is the id or ARN of a KMS key, None leaves the bucket's default."""

    client: Any
    bucket: str
    key: str
    kms_key: str | None
    part_size: int = PART_SIZE
    multipart_from: int = MULTIPART_FROM

    @property
    def place(self) -> dict[str, str]:
        """Bucket and Key."""
        return {"Bucket": self.bucket, "Key": self.key}

    @property
    def encryption(self) -> dict[str, str]:
        """The parameters of SSE-KMS."""
        return {"ServerSideEncryption": KMS, "SSEKMSKeyId": self.kms_key} if self.kms_key else {}


def put_uploads(uploads: Sequence[Upload], client: Any, *, kms_key: str | None = None) -> Sent:
    """Bring a plan's uploads to S3.

    Args:
        uploads: files and bytes with the SHA-256 that the plan saw.
        client: boto3's s3 client.
        kms_key: id or ARN of a KMS key; None leaves the bucket's default encryption.

    Raises:
        LaunchError: a file is gone or has changed since it was planned, or AWS refuses.
    """

    def one(upload: Upload) -> bool:
        bucket, key = split(upload.uri)
        target = Target(client, bucket, key, kms_key)
        if upload.path is None:
            return _bring(target, upload.data or b"", upload.size, upload.sha256)
        with readable(upload.path):
            if sha256_of(upload.path) != upload.sha256:
                raise LaunchError(f"{upload.path}: has changed since it was planned; plan again.")
            return _bring(target, upload.path, upload.size, upload.sha256)

    sent = _each(one, uploads)
    size = sum(upload.size for upload, new in zip(uploads, sent, strict=True) if new)
    return _tell(Sent(sum(sent), size, len(sent) - sum(sent)))


def copy_folder(
    copy: Copy,
    client: Any,
    *,
    kms_key: str | None = None,
    multipart_from: int = MULTIPART_FROM,
    part_size: int = PART_SIZE,
) -> Sent:
    """Bring a folder to S3.

    What lies below the target and is not the folder's stops it: a job that reads the prefix would read that too, a case
    that was taken out of a data set, or another data set of the same name.

    Args:
        copy: the folder, its files and the prefix.
        client: boto3's s3 client.
        kms_key: id or ARN of a KMS key; None leaves the bucket's default encryption.
        multipart_from: bytes from which a file is sent in parts.
        part_size: bytes of a part, at least 5 MiB; more for files of over 10,000 parts.

    Raises:
        LaunchError: a file is gone or has changed since it was planned, or AWS refuses; what has arrived is not sent
            again by the next call.
    """
    bucket, prefix = split(copy.uri)
    there = _listed(client, bucket, prefix)

    def one(file: Source) -> bool:
        path, key = copy.folder / file.name, prefix + file.name
        with as_planned(path, file):
            target = Target(client, bucket, key, kms_key, max(part_size, -(-file.size // MOST_PARTS)), multipart_from)
            return _bring(target, path, file.size, sha256_of(path), look=there.get(key) == file.size)

    strangers = sorted(there.keys() - {prefix + file.name for file in copy.files})
    if strangers:
        raise LaunchError(
            f"s3://{bucket}/{prefix}: holds {len(strangers)} objects that are not in {copy.folder}, first "
            f"{strangers[0].removeprefix(prefix)}; delete them, or rename the folder, whose name they share."
        )
    sent = _each(one, copy.files)
    size = sum(file.size for file, new in zip(copy.files, sent, strict=True) if new)
    return _tell(Sent(sum(sent), size, len(sent) - sum(sent)))


def is_there(target: Target, size: int, sha256: str) -> bool:
    """Whether an object of this content, and encrypted by this key, is at the target.

    Raises:
        botocore.exceptions.ClientError: S3 refuses.
    """
    from botocore.exceptions import ClientError

    try:
        found = target.client.head_object(**target.place, ChecksumMode="ENABLED")
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
            return False
        raise
    # Objects that came by other tools have no such metadata, but S3's checksum if they came in one piece.
    told = found.get("Metadata", {}).get(SHA256) or _in_hex(found.get("ChecksumSHA256", ""))
    return (found["ContentLength"], told) == (size, sha256) and _is_encrypted(found, target.kms_key)


def _is_encrypted(found: dict[str, Any], kms_key: str | None) -> bool:
    if kms_key is None:
        return True
    # An alias or a bare id cannot be compared: S3 tells the key's ARN.
    right_key = found.get("SSEKMSKeyId") == kms_key if ":key/" in kms_key else True
    return found.get("ServerSideEncryption") == KMS and right_key


def _bring(target: Target, source: Path | bytes, size: int, sha256: str, look: bool = True) -> bool:
    """Send one object unless it is there; whether it was sent."""
    from sm_launch.sync_parts import put_in_parts

    uri = f"s3://{target.bucket}/{target.key}"
    if look and aws.ask(f"look at {uri}", lambda: is_there(target, size, sha256)):
        return False
    if isinstance(source, Path) and size >= target.multipart_from:
        for resume in (True, False):
            put_in_parts(target, source, sha256, resume=resume)
            # Parts of an earlier attempt may be of a file that has changed since; then all of it is sent.
            if aws.ask(f"look at {uri}", lambda: is_there(target, size, sha256)):
                return True
    else:
        aws.ask(f"upload {uri}", lambda: _put(target, source, sha256))
        if aws.ask(f"look at {uri}", lambda: is_there(target, size, sha256)):
            return True
    raise LaunchError(f"{uri}: S3 holds something else than was sent; check that nothing else writes there.")


def _put(target: Target, source: Path | bytes, sha256: str) -> None:
    """One request; S3 refuses a body that does not have the checksum."""
    checks = {"ChecksumSHA256": in_base64(bytes.fromhex(sha256)), "Metadata": {SHA256: sha256}}
    if isinstance(source, bytes):
        target.client.put_object(**target.place, **target.encryption, **checks, Body=source)
        return
    with source.open("rb") as file:
        target.client.put_object(**target.place, **target.encryption, **checks, Body=file)


def _listed(client: Any, bucket: str, prefix: str) -> dict[str, int]:
    """Keys and sizes below a prefix, without the empty objects that stand for folders."""

    def ask() -> dict[str, int]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = (each for page in pages for each in page.get("Contents", ()))
        return {each["Key"]: each["Size"] for each in found if not each["Key"].endswith("/")}

    return aws.ask(f"list s3://{bucket}/{prefix}", ask)


def _each(one: Callable[[Any], bool], items: Iterable[Any]) -> list[bool]:
    """Several at a time; the first error stops those that have not begun."""
    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(one, item) for item in items]
        try:
            return [each.result() for each in running]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _tell(sent: Sent) -> Sent:
    logger.info("sent %d objects of %.1f MB; %d were there", sent.objects, sent.size / 1e6, sent.same)
    return sent


def in_base64(digest: bytes) -> str:
    """A digest as S3 writes it."""
    return base64.b64encode(digest).decode()


def _in_hex(checksum: str) -> str:
    """S3's checksum in hex; empty for one of parts, which ends in -N."""
    try:
        return base64.b64decode(checksum, validate=True).hex()
    except ValueError:
        return ""
