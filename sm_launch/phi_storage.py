"""What buckets, file systems, build projects and log groups must hold where the data are patients'."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from sm_launch.phi_parts import missing, need_key, ours
from sm_launch.steps import Plan, Step
from sm_launch.views import of


def file_system(plan: Plan, step: Step) -> Iterator[str]:
    """A file system lies in the VPC and is encrypted by the user's key, which scratch types do not take."""
    kind = step.request.get("LustreConfiguration", {}).get("DeploymentType")
    if kind != "PERSISTENT_2":
        yield (
            f"{step.name}: LustreConfiguration.DeploymentType is {kind or 'absent'}, which takes no key of yours; "
            f"profile phi takes PERSISTENT_2."
        )
    yield from need_key(step, "KmsKeyId", step.request.get("KmsKeyId"))
    for name in ("SubnetIds", "SecurityGroupIds"):
        if not step.request.get(name):
            yield missing(step, name, "give those of your VPC")


def association(plan: Plan, step: Step) -> Iterator[str]:
    """A link that writes back to S3 writes to the run's bucket."""
    if step.request.get("S3", {}).get("AutoExportPolicy"):
        yield from ours(plan, step, "DataRepositoryPath", step.request.get("DataRepositoryPath"))


def project(plan: Plan, step: Step) -> Iterator[str]:
    """A build of the serving image: it sees no data, reads the run's bucket and leaves nothing but the image."""
    yield from need_key(step, "encryptionKey", step.request.get("encryptionKey"))
    source = step.request.get("source", {})
    if source.get("type") != "S3" or not str(source.get("location", "")).startswith(f"{plan.bucket}/"):
        yield missing(step, "source", f"read it from the bucket {plan.bucket}")
    if step.request.get("artifacts", {}).get("type") != "NO_ARTIFACTS":
        yield missing(step, "artifacts", "set its type to NO_ARTIFACTS")


def log_group(plan: Plan, step: Step) -> Iterator[str]:
    """Logs are encrypted by the user's key."""
    yield from need_key(step, "kmsKeyId", step.request.get("kmsKeyId"))


def bucket(plan: Plan, step: Step) -> Iterator[str]:
    """A bucket that the plan makes is hardened by the plan."""
    if step.request.get("ACL", "private") != "private":
        yield missing(step, "ACL", "remove it")
    for operation in ("PutPublicAccessBlock", "PutBucketEncryption", "PutBucketPolicy"):
        if not any(other.request.get("Bucket") == step.request.get("Bucket") for other in of(plan, operation)):
            yield f"{step.name}: the plan makes this bucket without {operation}, and patient data need it; add it."


def public_block(plan: Plan, step: Step) -> Iterator[str]:
    """All four ways to public access are blocked."""
    block = step.request.get("PublicAccessBlockConfiguration", {})
    for name in ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"):
        if block.get(name) is not True:
            yield missing(step, f"PublicAccessBlockConfiguration.{name}", "set it to true")


def bucket_encryption(plan: Plan, step: Step) -> Iterator[str]:
    """The bucket's default is the user's KMS key."""
    rules = step.request.get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
    defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    if not any(one.get("SSEAlgorithm") == "aws:kms" and one.get("KMSMasterKeyID") for one in defaults):
        yield missing(step, "ServerSideEncryptionConfiguration", "encrypt by aws:kms with your key")


def bucket_policy(plan: Plan, step: Step) -> Iterator[str]:
    """The bucket's policy lets nobody in without TLS, and not everybody with it."""
    try:
        statements = json.loads(step.request.get("Policy", "")).get("Statement", ())
    except (ValueError, AttributeError):
        yield f"{step.name}: Policy is no JSON object, so who may read the bucket cannot be seen; give one."
        return
    everyone = ("*", {"AWS": "*"}, {"AWS": ["*"]})
    if any(one.get("Effect") == "Allow" and one.get("Principal") in everyone for one in statements):
        yield f"{step.name}: Policy allows everyone, and patient data are for your roles only; name the principals."
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    whole = {f"arn:aws:s3:::{step.request.get('Bucket')}", f"arn:aws:s3:::{step.request.get('Bucket')}/*"}
    if not any(
        (one.get("Effect"), one.get("Action"), one.get("Condition")) == ("Deny", "s3:*", insecure)
        and one.get("Principal") in everyone
        and whole <= {_any_partition(resource) for resource in one.get("Resource", ())}
        for one in statements
    ):
        yield missing(step, "Policy", "deny requests without TLS by aws:SecureTransport")


def _any_partition(arn: str) -> str:
    return re.sub(r"^arn:aws[a-z-]*:", "arn:aws:", arn)
