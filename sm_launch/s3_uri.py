"""s3:// URIs, taken apart and put together."""

from __future__ import annotations

from sm_launch.errors import LaunchError

SCHEME = "s3://"


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI.

    Raises:
        LaunchError: it is none.
    """
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not bucket:
        raise LaunchError(f"'{uri}' is no S3 URI; write s3://BUCKET/KEY.")
    return bucket, key


def join(uri: str, *parts: str) -> str:
    """The URI of something beneath ``uri``."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts)])
