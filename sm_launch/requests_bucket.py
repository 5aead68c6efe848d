"""The bucket of a run, made safely: closed to the public, TLS only, encrypted, versioned, scraps cleared away."""

from __future__ import annotations

import json
from typing import Any

from sm_launch.steps import Step

# Objects under PREFIX/tmp/ and the parts of uploads that were never completed; old versions of everything.
SCRAP_DAYS, OLD_VERSION_DAYS = 7, 30
TMP = "tmp"
# us-east-1 must not be named on creation (API reference, S3 CreateBucket, LocationConstraint).
UNNAMED_REGION = "us-east-1"
PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}


def bucket_steps(bucket: str, region: str, kms_key: str | None, prefix: str = "") -> list[Step]:
    """The calls that make a bucket, in order; the first makes it, the others set it up.

    They have no ``kind``: a bucket holds the data and results of many runs, and no run's clean-up deletes it.

    Args:
        bucket: its name.
        region: AWS region.
        kms_key: id or ARN of the KMS key of its default encryption; None for S3's own keys (SSE-S3).
        prefix: folder of sm_launch in it; its ``tmp/`` is cleared by the lifecycle.
    """
    create: dict[str, Any] = {"Bucket": bucket, "ObjectOwnership": "BucketOwnerEnforced"}
    if region != UNNAMED_REGION:
        create["CreateBucketConfiguration"] = {"LocationConstraint": region}
    settings = {
        "PutPublicAccessBlock": {"PublicAccessBlockConfiguration": _closed()},
        "PutBucketEncryption": {"ServerSideEncryptionConfiguration": _encryption(kms_key)},
        "PutBucketVersioning": {"VersioningConfiguration": {"Status": "Enabled"}},
        "PutBucketPolicy": {"Policy": json.dumps(_policy(bucket, region, kms_key))},
        "PutBucketLifecycleConfiguration": {"LifecycleConfiguration": _lifecycle(prefix)},
    }
    return [
        Step("s3", "CreateBucket", create, name=bucket),
        *(Step("s3", operation, {"Bucket": bucket, **more}, name=bucket) for operation, more in settings.items()),
    ]


def _closed() -> dict[str, bool]:
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    return dict.fromkeys(names, True)


def _encryption(kms_key: str | None) -> dict[str, Any]:
    if kms_key is None:
        return {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": kms_key}
    # A bucket key saves nearly all calls to KMS, which are billed (docs, "Reducing the cost of SSE-KMS").
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]}


def _policy(bucket: str, region: str, kms_key: str | None) -> dict[str, Any]:
    partition = next((name for start, name in PARTITIONS.items() if region.startswith(start)), "aws")
    arn = f"arn:{partition}:s3:::{bucket}"
    statements: list[dict[str, Any]] = [
        {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, f"{arn}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ]
    if kms_key is not None:
        # A request that names no encryption gets the bucket's default; one that names another is refused.
        statements.append(
            {
                "Sid": "KmsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": [f"{arn}/*"],
                "Condition": {"StringNotEqualsIfExists": {"s3:x-amz-server-side-encryption": "aws:kms"}},
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}


def _lifecycle(prefix: str) -> dict[str, Any]:
    folder = f"{prefix.strip('/')}/{TMP}/".lstrip("/")
    return {
        "Rules": [
            {
                "ID": "scraps",
                "Status": "Enabled",
                "Filter": {"Prefix": folder},
                "Expiration": {"Days": SCRAP_DAYS},
            },
            {
                "ID": "parts-and-old-versions",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": SCRAP_DAYS},
                "NoncurrentVersionExpiration": {"NoncurrentDays": OLD_VERSION_DAYS},
            },
        ]
    }
