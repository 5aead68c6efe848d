"""Questions to the account before anything is uploaded: who asks, is the bucket there, the role, the quota."""

from __future__ import annotations

import logging
from typing import Any

from sm_launch import aws, phi, quotas
from sm_launch.bucket import check_bucket
from sm_launch.errors import LaunchError
from sm_launch.frame import PHI
from sm_launch.policy_parts import buckets
from sm_launch.steps import Plan

logger = logging.getLogger(__name__)


def check_account(plan: Plan, session: Any, with_quotas: bool = True) -> None:
    """Find what would stop the plan half-way.

    Args:
        plan: the plan.
        session: boto3 session.
        with_quotas: whether service quotas are looked at, which takes a permission of its own.

    Raises:
        LaunchError: no credentials, another account than the role's, no bucket or one of another region, a data prefix
            without objects, no role, a quota that is too low, or patient data in a bucket that is not fit for them.
    """
    _role_account(plan, session)
    if not phi.makes_bucket(plan):
        _bucket(plan, session)
    if plan.profile == PHI:
        _protected(plan, session)
    _inputs(plan, session)
    _role(plan, session)
    if with_quotas:
        problems = quotas.check(quotas.needed(plan), aws.client(session, "service-quotas"), plan.region)
        if problems:
            raise LaunchError(" ".join((*problems, "Or go on by --no-quotas.")))


def _role_account(plan: Plan, session: Any) -> None:
    """Credentials are of the account that the role belongs to."""
    found = aws.account(session)
    wanted = plan.role.split(":")[4] if plan.role.count(":") == 5 else found
    if found != wanted:
        raise LaunchError(
            f"role is of account {wanted}, and your credentials are of {found}; choose others by --aws-profile."
        )


def _bucket(plan: Plan, session: Any) -> None:
    """The bucket exists, in the jobs' region."""
    if not check_bucket(aws.client(session, "s3"), plan.bucket, plan.region):
        raise LaunchError(f"bucket {plan.bucket}: does not exist; set bucket.create to true, or name another.")


def _protected(plan: Plan, session: Any) -> None:
    """Every bucket that jobs read patients' data from or write to is fit for them; one that the plan makes will be."""
    store = aws.client(session, "s3")
    asked = [name for name in buckets(plan) if name != plan.bucket or not phi.makes_bucket(plan)]
    if problems := [sentence for name in asked for sentence in phi.bucket_problems(store, name)]:
        raise LaunchError(" ".join(problems))


def _inputs(plan: Plan, session: Any) -> None:
    """Data that the plan does not bring itself is there."""
    store = aws.client(session, "s3")
    brought = [copy.uri.rstrip("/") for copy in plan.copies]
    for uri in sorted(foreign_inputs(plan)):
        if any(f"{uri}/".startswith(f"{place}/") for place in brought):
            continue
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        found = aws.ask(f"look at {uri}", lambda b=bucket, k=key: store.list_objects_v2(Bucket=b, Prefix=k, MaxKeys=1))
        if not found.get("KeyCount"):
            raise LaunchError(f"{uri}: holds no object; set data.source to the prefix of the data set.")


def foreign_inputs(plan: Plan) -> set[str]:
    """S3 places that jobs read and that lie outside the run's own folder."""
    own = f"s3://{plan.bucket}/{plan.folder}/"
    found = set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            for key, inside in value.items():
                if key == "S3Uri" and isinstance(inside, str) and not inside.startswith(own):
                    found.add(inside)
                look(inside)
        elif isinstance(value, (list, tuple)):
            for inside in value:
                look(inside)

    for step in plan.steps:
        for section in ("InputDataConfig", "ProcessingInputs", "TransformInput", "TrainingJobDefinition"):
            look(step.request.get(section, {}))
    return {uri for uri in found if not uri.startswith(f"{own[:-1]}/")}


def _role(plan: Plan, session: Any) -> None:
    """The execution role exists; who may not look, or cannot reach IAM, is not stopped."""
    from botocore.exceptions import ClientError

    name = plan.role.rsplit("/", 1)[-1]
    service = aws.client(session, "iam", patient=False)

    def there() -> bool:
        try:
            return bool(service.get_role(RoleName=name))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchEntity":
                return False
            raise

    try:
        found = aws.ask(f"look at the role {name}", there)
    except LaunchError as error:
        logger.warning("the role is not checked, SageMaker will do it: %s", error)
        return
    if not found:
        raise LaunchError(
            f"role {name}: does not exist; make it from the policies that 'sm_launch policy SPEC' prints."
        )
