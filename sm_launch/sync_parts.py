"""Send a big file in parts, and go on with the parts of an attempt that was cut short."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sm_launch import aws
from sm_launch.sync import SHA256, Target, in_base64

logger = logging.getLogger(__name__)


def put_in_parts(target: Target, path: Path, sha256: str, *, resume: bool) -> None:
    """Send a file in parts. An attempt that fails leaves its parts in S3, where the bucket's lifecycle clears them.

    Args:
        target: where to.
        path: the file.
        sha256: of its content, in hex; it becomes the object's metadata.
        resume: go on with an attempt whose parts are this file's.

    Raises:
        LaunchError: AWS refuses.
    """
    uri = f"s3://{target.bucket}/{target.key}"
    upload, there = _attempt(target) if resume else (None, {})
    if upload is None:
        made = aws.ask(
            f"begin the upload of {uri}",
            lambda: target.client.create_multipart_upload(
                **target.place, **target.encryption, ChecksumAlgorithm="SHA256", Metadata={SHA256: sha256}
            ),
        )
        upload = made["UploadId"]
    parts, kept = [], 0
    for number, body in _parts(path, target.part_size):
        part = there.get(number)
        if part is not None and _same(part, body):
            kept += 1
        else:
            part = aws.ask(f"upload part {number} of {uri}", partial(_put_part, target, upload, number, body))
        parts.append({"PartNumber": number, **part})
    if kept:
        logger.info("%s: %d of %d parts were there from an earlier attempt", uri, kept, len(parts))
    aws.ask(
        f"end the upload of {uri}",
        lambda: target.client.complete_multipart_upload(
            **target.place, UploadId=upload, MultipartUpload={"Parts": parts}
        ),
    )


def _attempt(target: Target) -> tuple[str | None, dict[int, dict[str, str]]]:
    """The latest attempt at this object, and its parts by number; nothing where there is none."""

    def ask() -> tuple[str | None, dict[int, dict[str, str]]]:
        place = {"Bucket": target.bucket, "Prefix": target.key}
        pages = target.client.get_paginator("list_multipart_uploads").paginate(**place)
        found = [each for page in pages for each in page.get("Uploads", ()) if each["Key"] == target.key]
        if not found:
            return None, {}
        upload = max(found, key=lambda each: each["Initiated"])["UploadId"]
        pages = target.client.get_paginator("list_parts").paginate(**target.place, UploadId=upload)
        parts = {each["PartNumber"]: _marks(each) for page in pages for each in page.get("Parts", ())}
        return upload, parts

    return aws.ask(f"look for parts of s3://{target.bucket}/{target.key}", ask)


def _put_part(target: Target, upload: str, number: int, body: bytes) -> dict[str, str]:
    checksum = in_base64(hashlib.sha256(body).digest())
    answer = target.client.upload_part(
        **target.place, UploadId=upload, PartNumber=number, Body=body, ChecksumSHA256=checksum
    )
    return {"ETag": answer["ETag"], "ChecksumSHA256": checksum}


def _marks(part: Mapping[str, Any]) -> dict[str, str]:
    return {key: part[key] for key in ("ETag", "ChecksumSHA256") if key in part}


def _same(part: Mapping[str, str], body: bytes) -> bool:
    """Whether a part in S3 is this one; some servers that speak S3's language tell the MD5 (ETag) alone."""
    if "ChecksumSHA256" in part:
        return part["ChecksumSHA256"] == in_base64(hashlib.sha256(body).digest())
    return part["ETag"].strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest()


def _parts(path: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """The file's parts, numbered from 1 as S3 does."""
    with path.open("rb") as file:
        number = 0
        while body := file.read(size):
            number += 1
            yield number, body
