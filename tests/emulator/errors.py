"""Errors as AWS sends them; the words are the service's own."""

from __future__ import annotations

from typing import Any

VALIDATION = "ValidationException"
IN_USE = "ResourceInUse"
NOT_FOUND = "ResourceNotFound"
LIMIT = "ResourceLimitExceeded"
THROTTLED = "ThrottlingException"
DENIED = "AccessDeniedException"
MALFORMED = "SerializationException"


class AwsError(Exception):
    """An answer that is an error.

    Args:
        code: AWS's name of the error.
        message: its sentence.
        status: HTTP status; 400 for what the client did.
        members: further members of the error's shape, such as ModelError's OriginalStatusCode.
    """

    def __init__(self, code: str, message: str, status: int = 400, members: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members or {}


def invalid(message: str) -> AwsError:
    """ValidationException: the commonest answer of SageMaker, for wrong values and for unknown names alike."""
    return AwsError(VALIDATION, message)


def could_not_find(what: str, arn: str) -> AwsError:
    """What SageMaker says of a model, an endpoint or an endpoint configuration that is not there."""
    return invalid(f'Could not find {what} "{arn}".')


def already_exists(what: str, arn: str) -> AwsError:
    """What SageMaker says of a second model, endpoint or endpoint configuration of one name."""
    return invalid(f'Cannot create already existing {what} "{arn}".')


def job_exists(arn: str) -> AwsError:
    """What SageMaker says of a second job of one name."""
    message = "Job name must be unique within an AWS account and region, and a job with this name already exists"
    return AwsError(IN_USE, f"{message} ({arn})")


def over_limit(instance_type: str, usage: str, limit: int, used: int, wanted: int) -> AwsError:
    """What SageMaker says when a quota is too small; ``usage`` ends the quota's name: training job usage."""
    message = (
        f"The account-level service limit '{instance_type} for {usage}' is {limit} Instances, with current utilization "
        f"of {used} Instances and a request delta of {wanted} Instances. Please use AWS Service Quotas to request an "
        "increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an increase "
        "for this quota."
    )
    return AwsError(LIMIT, message)
