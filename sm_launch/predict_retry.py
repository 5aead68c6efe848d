"""Calls to an endpoint that are tried again while it is only busy, and refusals told apart: of one case, or of all."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sm_launch.errors import LaunchError

logger = logging.getLogger(__name__)

T = TypeVar("T")
# API reference, InvokeEndpoint: errors that pass by themselves. The container's own 429 and 503 come as ModelError.
_PASSING = {
    "ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown",
    "ServiceUnavailable", "ServiceUnavailableException", "InternalFailure", "InternalDependencyException",
    "ModelNotReadyException",
}  # fmt: skip
_PASSING_STATUS = {429, 503}
ATTEMPTS, FIRST_PAUSE_S, LONGEST_PAUSE_S = 8, 1.0, 60.0


class Refused(Exception):
    """The model refused this case, which says nothing of the others."""


def patiently(what: str, call: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Call AWS, and again with growing pauses while it is only busy.

    Raises:
        Refused: the container refused the case; the message is its sentence.
        LaunchError: AWS refused, or stayed busy or out of reach.
    """
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except ClientError as error:
            if not _passes(error):
                raise _refusal(what, error) from error
            reason = _words(error)
        except HTTPClientError as error:
            reason = str(error)
        except BotoCoreError as error:
            raise LaunchError(f"could not {what}: {error}; check the client's settings.") from error
        if attempt < ATTEMPTS:
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
            logger.info("%s: %s; again in %.0f s", what, reason, pause)
            sleep(pause)
    raise LaunchError(
        f"could not {what} in {ATTEMPTS} attempts: {reason.rstrip('.')}; run the same command again later, it goes on "
        "with the cases that are left."
    )


def _passes(error: Any) -> bool:
    if error.response.get("Error", {}).get("Code") == "ModelError":
        return error.response.get("OriginalStatusCode") in _PASSING_STATUS
    return error.response.get("Error", {}).get("Code") in _PASSING


def _words(error: Any) -> str:
    found = error.response.get("Error", {})
    return f"{found.get('Code')}, {' '.join(str(found.get('Message', '')).split())}"


def _refusal(what: str, error: Any) -> Exception:
    if error.response.get("Error", {}).get("Code") == "ModelError":
        return Refused(sentence(str(error.response.get("OriginalMessage", ""))))
    return LaunchError(f"could not {what}: AWS says {_words(error).rstrip('.')}; mend that and run the command again.")


def sentence(body: str) -> str:
    """What the container says of a case that it refused."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, LookupError, TypeError):
        return " ".join(body.split())[:300] or "the container gave no reason; see the endpoint's log"
