"""Profile phi: a plan for patient data goes on only where every step has every protection that its API offers.

It fails closed: a call, a member of a call or an instance type that it doesn't know is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sm_launch import aws
from sm_launch.phi_calls import protections
from sm_launch.phi_cases import case_lists
from sm_launch.phi_members import unknown
from sm_launch.phi_parts import missing
from sm_launch.phi_scan import findings, findings_in_json, kinds, redact, tracker
from sm_launch.rules_storage import texts
from sm_launch.steps import Plan, Upload
from sm_launch.views import CREATE_PROCESSING, INSTRUCTIONS, instructions, of, trainings

if TYPE_CHECKING:
    from botocore.client import BaseClient

__all__ = ["bucket_problems", "check", "makes_bucket", "redact"]


def check(plan: Plan) -> list[str]:
    """Violations, one sentence each with step, field and remedy; empty where patient data may be used."""
    return [
        *unknown(plan), *protections(plan), *_trackers(plan), *_identities(plan), *case_lists(plan), *_unmasked(plan)
    ]  # fmt: skip


def makes_bucket(plan: Plan) -> bool:
    """Whether the plan makes its bucket; of any other, ``bucket_problems`` must be asked before the first upload."""
    return any(step.request.get("Bucket") == plan.bucket for step in of(plan, "CreateBucket"))


def bucket_problems(client: BaseClient, bucket: str) -> list[str]:
    """What is wrong with a bucket that exists, by asking S3; one sentence each.

    Args:
        client: boto3's s3 client; needs s3:GetBucketPublicAccessBlock, s3:GetEncryptionConfiguration and
            s3:GetBucketPolicyStatus.
        bucket: its name.

    Raises:
        LaunchError: S3 refuses to tell, so nothing is known.
    """
    problems = []
    block = _setting(client.get_public_access_block, bucket).get("PublicAccessBlockConfiguration", {})
    open_ways = [name for name in _BLOCKS if block.get(name) is not True]
    if open_ways:
        problems.append(f"Bucket {bucket} doesn't block public access by {', '.join(open_ways)}; switch all four on.")
    rules = _setting(client.get_bucket_encryption, bucket).get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
    defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    if not any(one.get("SSEAlgorithm") == "aws:kms" and one.get("KMSMasterKeyID") for one in defaults):
        problems.append(f"Bucket {bucket} doesn't encrypt by aws:kms with a key of yours; set that as its default.")
    # A bucket without a policy is not public by one.
    if _setting(client.get_bucket_policy_status, bucket).get("PolicyStatus", {}).get("IsPublic"):
        problems.append(f"Bucket {bucket} may be public by its policy; remove the statement that allows everyone.")
    return problems


def _setting(method: Callable[..., Mapping[str, Any]], bucket: str) -> Mapping[str, Any]:
    """A setting of a bucket; empty where it has none, which S3 tells by an error of its own for each.

    Raises:
        LaunchError: S3 refuses to tell.
    """
    from botocore.exceptions import ClientError

    def ask() -> Mapping[str, Any]:
        try:
            return method(Bucket=bucket)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _UNSET:
                return {}
            raise

    return aws.ask(f"see whether the bucket {bucket} is fit for patient data", ask)


# S3's codes for a setting that a bucket does not have (API reference of each call, "Errors").
_UNSET = {
    "NoSuchPublicAccessBlockConfiguration", "ServerSideEncryptionConfigurationNotFoundError", "NoSuchBucketPolicy",
}  # fmt: skip
_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def _trackers(plan: Plan) -> Iterator[str]:
    for where, text in _all_texts(plan):
        name = tracker(text)
        if name:
            yield (
                f"{where} speaks of {name}, which would take figures and pictures of patients out of your account; "
                f"track by TensorBoard or by MLflow in a file store."
            )


def _unmasked(plan: Plan) -> Iterator[str]:
    """Jobs whose log would reach CloudWatch as the bundle prints it; without a job.json of ours nothing is known."""
    jobs = [(training.step, training.request) for training in trainings(plan)]
    for step, request in [*jobs, *((step, step.request) for step in of(plan, CREATE_PROCESSING))]:
        job = instructions(plan, request)
        if job and job.get("redact") is not True:
            yield missing(step, f"redact in its {INSTRUCTIONS}", "set it to true")


def _identities(plan: Plan) -> Iterator[str]:
    for label in ("run", "bucket"):
        for kind in kinds(getattr(plan, label)):
            yield _looks_like(f"The plan's {label} name", kind)
    for step in plan.steps:
        seen = set(findings({"name": step.name})) | set(findings(step.request))
        for path, kind in sorted(seen):
            yield _looks_like(redact(f"{step.name}: {path}"), kind)
    for number, copy in enumerate(plan.copies, start=1):
        for kind in kinds(copy.uri):
            yield _looks_like(f"Folder {number} to copy: its place in S3", kind)
        found = Counter(kind for file in copy.files for kind in kinds(file.name))
        for kind, count in found.items():
            yield _looks_like(f"Folder {number} to copy: the name of {count} of its files", kind)
    for number, upload in enumerate(plan.uploads, start=1):
        # The URI itself may hold the patient's name, so the upload is told by its place in the plan.
        for kind in kinds(upload.uri):
            yield _looks_like(f"Upload {number}: its name", kind)
        text = _text(upload)
        if text:
            for path, kind in sorted(set(findings_in_json(text))):
                name = upload.uri.rsplit("/", 1)[-1]
                yield _looks_like(redact(f"Upload {number}, {name}: {path or 'its text'}"), kind)


def _all_texts(plan: Plan) -> Iterator[tuple[str, str]]:
    for step in plan.steps:
        for path, text in texts(step.request):
            yield f"{step.name}: {path}", text
    for upload in plan.uploads:
        yield f"Upload {upload.uri}", _text(upload)


def _text(upload: Upload) -> str:
    """What the plan itself wrote into an upload; empty for a file of the user's, and for an archive."""
    try:
        return (upload.data or b"").decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _looks_like(where: str, kind: str) -> str:
    return (
        f"{where} looks like {kind}, and this text is stored and logged outside the encrypted data; remove it, or give "
        f"a pseudonym."
    )
