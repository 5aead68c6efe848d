"""Carry out the steps of a bucket: make it, or take one that exists without changing what its owner has set."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sm_launch import aws
from sm_launch.errors import LaunchError
from sm_launch.steps import Step

logger = logging.getLogger(__name__)

CREATE = "CreateBucket"
ABSENT, FORBIDDEN, MOVED = {"404", "NoSuchBucket"}, {"403", "AccessDenied"}, {"301", "PermanentRedirect"}
REGION_HEADER = "x-amz-bucket-region"
# Each setting: the method that reads it, the answer's member that holds it, the request's that sets it.
SETTINGS = {
    "PutPublicAccessBlock": ("get_public_access_block", "PublicAccessBlockConfiguration"),
    "PutBucketEncryption": ("get_bucket_encryption", "ServerSideEncryptionConfiguration"),
    "PutBucketVersioning": ("get_bucket_versioning", "Status"),
    "PutBucketPolicy": ("get_bucket_policy", "Policy"),
    "PutBucketLifecycleConfiguration": ("get_bucket_lifecycle_configuration", "Rules"),
}


def check_bucket(client: Any, bucket: str, region: str) -> bool:
    """Whether a bucket exists, as one that this account may use in this region.

    Args:
        client: boto3's s3 client.
        bucket: its name.
        region: where the jobs run: SageMaker reads no bucket of another region (API reference, S3Uri).

    Raises:
        LaunchError: it is another account's, or in another region.
    """
    from botocore.exceptions import ClientError

    def head() -> str | None:
        try:
            return client.head_bucket(Bucket=bucket).get("BucketRegion", region)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            place = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(REGION_HEADER)
            if code in ABSENT:
                return None
            if code in MOVED and place:
                return str(place)
            if code in FORBIDDEN:
                raise _not_ours(bucket) from error
            raise

    found = aws.ask(f"look at the bucket {bucket}", head)
    if found is not None and found != region:
        raise LaunchError(
            f"the bucket {bucket} is in {found}, and the jobs run in {region}; take a bucket in {region}, or set "
            f"region to {found}."
        )
    return found is not None


def make_bucket(steps: Sequence[Step], client: Any, region: str) -> list[str]:
    """Carry out ``bucket_steps``.

    A bucket that exists keeps every setting that its owner has made; what it lacks is added. So the same steps may be
    carried out again, after a lost connection or for the next run.

    Args:
        steps: of :func:`sm_launch.requests_bucket.bucket_steps`.
        client: boto3's s3 client.
        region: AWS region.

    Returns:
        a sentence for each setting that was left as it is, because the bucket has another one.

    Raises:
        LaunchError: AWS refuses, or the bucket is another account's or in another region.
    """
    notes = []
    for step in steps:
        bucket = step.request["Bucket"]
        if step.operation == CREATE:
            if check_bucket(client, bucket, region):
                logger.info("the bucket %s exists", bucket)
            else:
                aws.ask(f"make the bucket {bucket}", _creator(client, step.request, region))
                logger.info("made the bucket %s", bucket)
        else:
            notes += _set(client, step, bucket)
    return notes


def _creator(client: Any, request: Mapping[str, Any], region: str) -> Callable[[], None]:
    from botocore.exceptions import ClientError

    def create() -> None:
        try:
            client.create_bucket(**request)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code == "BucketAlreadyExists":
                raise _not_ours(request["Bucket"]) from error
            # Ours since a moment ago: the answer to an earlier attempt was lost.
            if code != "BucketAlreadyOwnedByYou" or not check_bucket(client, request["Bucket"], region):
                raise

    return create


def _set(client: Any, step: Step, bucket: str) -> list[str]:
    """Add a setting; a sentence if the bucket has another one."""
    from botocore import xform_name

    reader, member = SETTINGS[step.operation]
    wanted = _essence(_of(step.request, member))
    found = aws.ask(f"look at the settings of the bucket {bucket}", lambda: _read(getattr(client, reader), bucket))
    present = _essence(found.get(member))
    if present == wanted:
        return []
    # S3's own encryption is what every bucket has from its birth on: nobody's choice.
    born = step.operation == "PutBucketEncryption" and "AES256" in json.dumps(present)
    if present is not None and not born:
        return [f"The bucket {bucket} has another {member} than sm_launch would set; it was left as it is."]
    method = getattr(client, xform_name(step.operation))
    aws.ask(f"set {member} of the bucket {bucket}", lambda: method(**step.request))
    return []


def _read(method: Callable[..., Mapping[str, Any]], bucket: str) -> Mapping[str, Any]:
    """A setting; empty where there is none, which S3 tells by an error of its own for each kind."""
    from botocore.exceptions import ClientError

    try:
        return method(Bucket=bucket)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code.startswith("NoSuch") or code.endswith("NotFoundError"):
            return {}
        raise


def _of(request: Mapping[str, Any], member: str) -> Any:
    """The setting in a request: Status and Rules lie one level deeper there than in the answer."""
    if member in request:
        return request[member]
    return next(value[member] for value in request.values() if isinstance(value, Mapping) and member in value)


def _essence(setting: Any) -> Any:
    """A setting in a form that compares equal however it was written."""
    if isinstance(setting, str) and setting.startswith("{"):
        return json.loads(setting)
    if isinstance(setting, Mapping):
        return {key: _essence(value) for key, value in setting.items() if value is not False}
    return [_essence(item) for item in setting] if isinstance(setting, (list, tuple)) else setting


def _not_ours(bucket: str) -> LaunchError:
    return LaunchError(
        f"the bucket {bucket} belongs to another account, or these credentials may not list it; choose another name "
        "for bucket.name, or ask for s3:ListBucket on it."
    )
