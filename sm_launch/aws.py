"""Talking to AWS: the session, its clients, and its refusals as one sentence each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from sm_launch.errors import LaunchError

T = TypeVar("T")
# botocore's "standard" mode retries throttling, 5xx and broken connections with growing pauses.
RETRIES = {"mode": "standard", "max_attempts": 8}
ONCE_SECONDS = 5
NO_CREDENTIALS = "there are no AWS credentials; run 'aws configure' or 'aws sso login'."
# Session to its clients by service and patience: making one reads the service's model and takes a tenth of a second.
_made: WeakKeyDictionary[Any, dict[tuple[str, bool], Any]] = WeakKeyDictionary()
_ACCESS = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "Forbidden"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
_THROTTLED = {"Throttling", "ThrottlingException", "TooManyRequestsException", "SlowDown", "RequestLimitExceeded"}


def open_session(region: str, profile_name: str | None = None) -> Any:
    """A boto3 session.

    Args:
        region: AWS region.
        profile_name: profile of the user's AWS configuration; None for the default.

    Raises:
        LaunchError: no such profile, or boto3 is not installed.
    """
    try:
        import boto3
        from botocore.exceptions import ProfileNotFound
    except ImportError as error:
        raise LaunchError("boto3 is not installed; pip install 'boto3>=1.40'.") from error
    try:
        return boto3.Session(region_name=region, profile_name=profile_name)
    except ProfileNotFound as error:
        raise LaunchError(f"{error}; run 'aws configure list-profiles' and choose one by --aws-profile.") from error


def client(session: Any, service: str, *, patient: bool = True) -> Any:
    """The session's one client of a service, which retries what is worth it.

    Args:
        session: boto3 session.
        service: boto3's name of the service.
        patient: False asks once and waits a few seconds only: for a question that may stay unanswered, such as one to
            a service that a closed VPC does not reach.

    Raises:
        LaunchError: the session has no region.
    """
    from botocore.config import Config
    from botocore.exceptions import NoRegionError

    made = _made.setdefault(session, {})
    if (service, patient) in made:
        return made[service, patient]
    config = Config(retries=RETRIES)
    if not patient:
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=ONCE_SECONDS, read_timeout=ONCE_SECONDS)
    try:
        made[service, patient] = session.client(service, config=config)
    except NoRegionError as error:
        raise LaunchError("there is no AWS region; set region in the spec or AWS_DEFAULT_REGION.") from error
    return made[service, patient]


def ask(what: str, call: Callable[[], T]) -> T:
    """Call AWS, and put a refusal into one sentence.

    Args:
        what: what is asked, for the sentence: "make the training job brats-1".
        call: the call.

    Raises:
        LaunchError: AWS refused, or could not be reached.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        return call()
    except ClientError as error:
        raise LaunchError(refusal(what, error)) from error
    except NoCredentialsError as error:
        raise LaunchError(f"could not {what}: {NO_CREDENTIALS}") from error
    except BotoCoreError as error:
        raise LaunchError(f"could not {what}: {error}; look at your connection and try again.") from error


def account(session: Any) -> str:
    """The account of the session's credentials, twelve digits.

    Raises:
        LaunchError: there are none, or AWS does not know them.
    """
    return str(ask("see whose credentials these are", client(session, "sts").get_caller_identity)["Account"])


def refusal(what: str, error: Any) -> str:
    """A ClientError as a sentence with the next step."""
    found = error.response.get("Error", {})
    code, message = str(found.get("Code", "")), " ".join(str(found.get("Message", "")).split()).rstrip(".")
    action = f"{error.operation_name}"
    if code in _ACCESS:
        step = f"ask for the permission of {action} ('sm_launch policy SPEC' prints all that are needed)"
    elif code in _EXPIRED:
        step = "renew your credentials, for example by 'aws sso login'"
    elif code in _THROTTLED:
        step = f"wait a minute and try again ({action} was refused {RETRIES['max_attempts']} times)"
    elif code == "ResourceLimitExceeded":
        step = "ask for a higher quota ('sm_launch quotas SPEC' gives the link), or take another instance type"
    else:
        step = "mend the spec and plan again"
    return f"could not {what}: AWS says {code or action}, '{message}'; {step}."
