"""List operations: filters, order and pages, which are alike for everything that SageMaker lists."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

from emulator.errors import invalid

PAGE = 10
NEWEST_FIRST = "Descending"


def pages(
    items: Iterable[Any], request: dict[str, Any], summary: Callable[[Any], dict[str, Any]], key: str, default: str = ""
) -> dict[str, Any]:
    """Answer a List request.

    Args:
        items: objects with ``name``, ``status``, ``created`` and ``modified``.
        request: the request.
        summary: the list's entry of an item.
        key: the answer's member that holds the list.
        default: the order where the request has none; SageMaker's is Descending for most lists.
    """
    kept = [item for item in items if _wanted(item, request)]
    field = {"Name": "name", "Status": "status", "LastModifiedTime": "modified"}.get(
        request.get("SortBy", ""), "created"
    )
    backwards = request.get("SortOrder", default or NEWEST_FIRST) == NEWEST_FIRST
    kept.sort(key=lambda item: (getattr(item, field), item.name), reverse=backwards)
    first = _offset(request.get("NextToken"))
    last = first + request.get("MaxResults", PAGE)
    token = base64.b64encode(str(last).encode()).decode() if last < len(kept) else None
    return {key: [summary(item) for item in kept[first:last]], "NextToken": token}


def _wanted(item: Any, request: dict[str, Any]) -> bool:
    return (
        request.get("NameContains", "").lower() in item.name.lower()
        and request.get("StatusEquals") in (None, getattr(item, "status", None))
        and request.get("CreationTimeAfter", 0) <= item.created.timestamp()
        and item.created.timestamp() <= request.get("CreationTimeBefore", float("inf"))
    )


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.b64decode(token))
    except ValueError as error:
        raise invalid("The token is not valid.") from error
