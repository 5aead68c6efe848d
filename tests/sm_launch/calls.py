"""The API calls that commands make, and the IAM actions and resources that AWS asks for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest

from sm_launch import aws

# Calls whose action has another name (Service Authorization Reference; S3: API reference, each call's "Permissions").
_ACTIONS = {
    "s3:HeadBucket": "ListBucket",
    "s3:ListObjectsV2": "ListBucket",
    "s3:ListObjectVersions": "ListBucketVersions",
    "s3:HeadObject": "GetObject",
    "s3:CreateMultipartUpload": "PutObject",
    "s3:UploadPart": "PutObject",
    "s3:CompleteMultipartUpload": "PutObject",
    "s3:ListParts": "ListMultipartUploadParts",
    "s3:ListMultipartUploads": "ListBucketMultipartUploads",
    "s3:DeleteObjects": "DeleteObject DeleteObjectVersion",
    "s3:GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "s3:PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "s3:GetBucketEncryption": "GetEncryptionConfiguration",
    "s3:PutBucketEncryption": "PutEncryptionConfiguration",
    "s3:GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "s3:PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
}
# What a member of a request asks for besides the call's own action.
_MORE = {
    ("s3", "ObjectOwnership"): "PutBucketOwnershipControls",
    ("sagemaker", "Tags"): "AddTags",
    ("cloudwatch", "Tags"): "TagResource",
    ("ecr", "tags"): "TagResource",
    ("fsx", "Tags"): "TagResource",
}
_PREFIXES = {"monitoring": "cloudwatch"}
# Members that name SageMaker's things, with their kind in the ARN.
_NAMES = {
    "TrainingJobName": "training-job",
    "ProcessingJobName": "processing-job",
    "HyperParameterTuningJobName": "hyper-parameter-tuning-job",
    "TransformJobName": "transform-job",
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
}
# Needs no permission (API reference, GetCallerIdentity).
_FREE = {"sts:GetCallerIdentity"}


@dataclass(frozen=True)
class Asked:
    """What one call asks for: an IAM action, and the end of the resource's ARN; empty where AWS chooses its id."""

    action: str
    resource: str


class Recorder:
    """Calls of every client that ``sm_launch.aws`` makes, while the test runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: set[Asked] = set()
        make = aws.client

        def recording(session: Any, service: str, **settings: Any) -> Any:
            client = make(session, service, **settings)
            client.meta.events.register("provide-client-params.*.*", self._note)
            return client

        monkeypatch.setattr(aws, "client", recording)

    def _note(self, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        name = model.service_model.signing_name
        service = _PREFIXES.get(name, name)
        self.asked |= set(_asked(service, model.name, params))

    def refused_by(self, policies: Iterable[Mapping[str, Any]]) -> set[str]:
        """What the policies do not allow; conditions are not looked at."""
        statements = [one for policy in policies for one in policy["Statement"]]
        return {
            f"{one.action} {one.resource}"
            for one in self.asked
            if not any(
                one.action in statement["Action"]
                and any(arn == "*" or fnmatchcase(one.resource, _end(arn)) for arn in statement["Resource"])
                for statement in statements
            )
        }


def _asked(service: str, call: str, params: Mapping[str, Any]) -> Iterator[Asked]:
    if f"{service}:{call}" in _FREE:
        return
    actions = _ACTIONS.get(f"{service}:{call}", call).split()
    actions += [action for (owner, member), action in _MORE.items() if owner == service and params.get(member)]
    for action in actions:
        for resource in _resources(service, params):
            yield Asked(f"{service}:{action}", resource)


def _resources(service: str, params: Mapping[str, Any]) -> Iterator[str]:
    """The end of the ARN of each thing that a call is about."""
    if service == "s3" and "Delete" in params:
        yield from (f"{params['Bucket']}/{one['Key']}" for one in params["Delete"]["Objects"])
    elif service == "s3":
        yield f"{params['Bucket']}/{params['Key']}" if "Key" in params else params["Bucket"]
    elif service == "sagemaker":
        # A call that makes a thing of another names that too; the first member is the call's own.
        yield next(f"{_NAMES[name]}/{params[name]}" for name in params if name in _NAMES)
    else:
        yield ""


def _end(arn: str) -> str:
    """The pattern of what follows account and region, for services whose things the plan names; else anything."""
    named = re.match(r"arn:[^:]*:(?:s3|sagemaker):[^:]*:[^:]*:(.*)", arn)
    return named[1] if named else "*"
