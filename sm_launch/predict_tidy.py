"""Delete cases and answers from S3, with the versions that a versioned bucket keeps of them."""

from __future__ import annotations

import logging
from typing import Any

from sm_launch.predict_retry import patiently
from sm_launch.predict_transfer import Sleep
from sm_launch.s3_uri import split

logger = logging.getLogger(__name__)

_DENIED = {"403", "AccessDenied", "Forbidden"}


class Tidy:
    """Deletes objects whole: without a version's id, S3 only hides an object of a versioned bucket behind a marker.

    Args:
        s3: boto3 client of ``s3``.
        sleep: waits between attempts.
    """

    def __init__(self, s3: Any, sleep: Sleep) -> None:
        self._s3, self._sleep, self._may = s3, sleep, True

    def delete(self, uri: str) -> None:
        """Delete an object; one that is not there is no error.

        Where the rights to versions are missing, the object is hidden as far as the bucket allows, and one warning says
        so for all.

        Raises:
            LaunchError: AWS refuses.
        """
        bucket, key = split(uri)
        what = f"tidy up in s3://{bucket}"
        if self._may and not patiently(what, lambda: self._delete_versions(bucket, key), self._sleep):
            self._may = False
            logger.warning(
                "s3://%s: former versions of cases and answers may remain, since AWS refuses to list or delete them; "
                "ask for s3:ListBucketVersions and s3:DeleteObjectVersion ('sm_launch policy SPEC' prints them), then "
                "'sm_launch down RUN --files' deletes them with the run's other files.",
                bucket,
            )
        if not self._may:
            patiently(what, lambda: self._s3.delete_object(Bucket=bucket, Key=key), self._sleep)

    def _delete_versions(self, bucket: str, key: str) -> bool:
        """Delete all versions, and then the markers, which hide them; False where AWS does not allow it."""
        from botocore.exceptions import ClientError

        try:
            pages = list(self._s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key))
            for kind in ("Versions", "DeleteMarkers"):
                for one in (one for page in pages for one in page.get(kind, ())):
                    # The prefix lists longer keys too. A bucket without versions has the one called null.
                    if one["Key"] == key:
                        self._s3.delete_object(Bucket=bucket, Key=key, VersionId=one["VersionId"])
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _DENIED:
                return False
            raise
        return True
