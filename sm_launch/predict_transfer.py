"""A case's way to S3, and its answer's way back."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.predict_cases import Case
from sm_launch.predict_retry import patiently
from sm_launch.s3_uri import split

Sleep = Callable[[float], None]
_ABSENT = {"404", "NoSuchKey", "NotFound"}


def upload(s3: Any, case: Case, uri: str, kms_key: str | None, sleep: Sleep) -> None:
    """Put a case into S3.

    Raises:
        LaunchError: AWS refuses.
    """
    from boto3.exceptions import S3UploadFailedError

    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
    bucket, key = split(uri)
    try:
        patiently(
            f"upload a case to s3://{bucket}",
            lambda: s3.upload_fileobj(io.BytesIO(case.content()), bucket, key, ExtraArgs=encryption),
            sleep,
        )
    except S3UploadFailedError as error:
        reason = str(error).rpartition(": ")[2].rstrip(".")
        raise LaunchError(f"could not upload to s3://{bucket}: {reason}; check bucket and permission.") from error


def fetch(s3: Any, uri: str, sleep: Sleep) -> bytes | None:
    """An object's bytes, None while there is none."""
    from botocore.exceptions import ClientError

    bucket, key = split(uri)

    def get() -> bytes | None:
        try:
            return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _ABSENT:
                return None
            raise

    return patiently(f"read an answer from s3://{bucket}", get, sleep)
