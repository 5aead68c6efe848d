"""Requests held against AWS's own API model, as botocore carries it: without a call, a socket or credentials.

botocore's ParamValidator looks at types, required members and minimum values only; the enumerations, the patterns and
the maxima that the service refuses a request for are in the model as well, so the shapes are walked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sm_launch.errors import LaunchError
from sm_launch.steps import Plan
from sm_launch.table import nearest

if TYPE_CHECKING:
    from botocore.model import ServiceModel, Shape

# What is known only once an earlier step is done, as {file-system:NAME.MountName}: its length isn't the value's.
PLACEHOLDER = re.compile(r"\{[a-z][a-z-]*:[^{}]+\}")
_SHOWN = 80
_NUMBERS = {"integer": int, "long": int, "float": (int, float), "double": (int, float)}
# Java's way to write character classes, which the models use, as Python's re knows them; each accepts the same
# characters or a few more, so that nothing is refused here that AWS takes.
_JAVA = (
    (r"\p{L}", r"\w"),
    (r"\p{N}", r"\w"),
    (r"\p{Zs}", r"\s"),
    (r"\p{Z}", r"\s"),
    (r"\p{M}", r"\u0300-\u036f"),
    (r"\p{P}", r"!-/:-@\[-`{-~\u00a1-\uffff"),
    (r"\p{S}", r"!-/:-@\[-`{-~\u00a1-\uffff"),
    (r"\p{Print}", r"[ -~]"),
    (r"\p{Alnum}", r"a-zA-Z0-9"),
    (r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010ffff"),
    ("^(?i)", "(?i)^"),
    ("${1,128}", "$"),
    ("${1,256}", "$"),
)


def validate(service: str, operation: str, request: Mapping[str, Any]) -> list[str]:
    """Problems of one request; empty where AWS's model accepts it.

    Args:
        service: boto3's name, sagemaker.
        operation: the API's name, CreateTrainingJob.
        request: the parameters as boto3 takes them.

    Returns:
        One sentence a problem: the path, the value found, the value wanted.

    Raises:
        LaunchError: botocore knows no such service or operation.
    """
    model = service_model(service)
    if operation not in model.operation_names:
        raise LaunchError(
            f"{service} has no operation {operation!r} in the installed botocore; did you mean "
            f"{nearest(operation, model.operation_names)}, or is botocore too old?"
        )
    shape = model.operation_model(operation).input_shape
    return list(_walk(shape, request, "")) if shape is not None else []


def validate_plan(plan: Plan) -> list[str]:
    """Problems of all steps of a plan, each sentence begun with its operation and the step's name."""
    return [
        f"{step.operation} {step.name}: {problem}".replace("  ", " ")
        for step in plan.steps
        for problem in validate(step.service, step.operation, step.request)
    ]


@cache
def service_model(service: str) -> ServiceModel:
    """botocore's model of a service, read once.

    Raises:
        LaunchError: botocore has no such service.
    """
    # Not by a session, which would bring botocore's clients with it and double the time of a plan.
    from botocore.exceptions import UnknownServiceError
    from botocore.loaders import create_loader
    from botocore.model import ServiceModel

    loader = create_loader()
    try:
        return ServiceModel(loader.load_service_model(service, "service-2"), service)
    except UnknownServiceError as error:
        known = loader.list_available_services("service-2")
        raise LaunchError(
            f"The installed botocore has no service {service!r}; did you mean {nearest(service, known)}?"
        ) from error


def _walk(shape: Shape, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        yield from _structure(shape, value, path)
    elif kind == "list":
        yield from _list(shape, value, path)
    elif kind == "map":
        yield from _map(shape, value, path)
    elif kind == "string":
        yield from _string(shape, value, path)
    elif kind in _NUMBERS:
        yield from _number(shape, value, path)
    elif kind == "boolean" and not isinstance(value, bool):
        yield _wanted(path, value, "true or false")
    elif kind == "blob" and not isinstance(value, (bytes, bytearray)) and not hasattr(value, "read"):
        yield _wanted(path, value, "bytes")
    elif kind == "timestamp" and not isinstance(value, (datetime, str, int, float)):
        yield _wanted(path, value, "a time")


def _structure(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if getattr(shape, "is_document_type", False):
        return
    if not isinstance(value, Mapping):
        yield _wanted(path, value, f"an object with {', '.join(shape.members)}")
        return
    for name in shape.required_members:
        if name not in value:
            yield f"{_join(path, name)} is missing, and the API requires it; add it."
    for name, part in value.items():
        if name not in shape.members:
            yield (
                f"{_join(path, name)} is unknown to the API; did you mean {nearest(str(name), shape.members)}?"
                if shape.members
                else f"{_join(path, name)} is unknown to the API; remove it."
            )
        else:
            yield from _walk(shape.members[name], part, _join(path, name))
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        yield f"{path} has {len(value)} members, and the API takes exactly one of {', '.join(shape.members)}."


def _list(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        yield _wanted(path, value, "a list")
        return
    yield from _bounds(shape, len(value), path, "entries")
    for index, part in enumerate(value):
        yield from _walk(shape.member, part, f"{path}[{index}]")


def _map(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _wanted(path, value, "an object")
        return
    yield from _bounds(shape, len(value), path, "keys")
    for key, part in value.items():
        yield from _walk(shape.key, key, f"{path}, key {_show(key)}")
        yield from _walk(shape.value, part, f"{path}[{key!r}]")


def _string(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield _wanted(path, value, "a text")
        return
    if shape.enum:
        if value not in shape.enum:
            meant = nearest(value, shape.enum)
            yield f"{path} is {_show(value)}, and the API knows no such value; did you mean {meant}?"
        return
    if PLACEHOLDER.search(value):
        return
    wrong_length = list(_bounds(shape, len(value), path, "characters"))
    yield from wrong_length
    pattern = shape.metadata.get("pattern")
    compiled = compiled_pattern(pattern) if pattern else None
    if compiled and not wrong_length and not compiled.fullmatch(value):
        yield _wanted(path, value, f"a text that matches {pattern}")


def _number(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, _NUMBERS[shape.type_name]):
        yield _wanted(path, value, "a whole number" if shape.type_name in ("integer", "long") else "a number")
        return
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and value < low) or (high is not None and value > high):
        yield _wanted(path, value, _range(low, high))


def _bounds(shape: Shape, length: int, path: str, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and length < low) or (high is not None and length > high):
        yield f"{path} has {length} {what}, and the API takes {_range(low, high)}."


def _range(low: int | None, high: int | None) -> str:
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"{low} to {high}"


@cache
def compiled_pattern(pattern: str) -> re.Pattern[str] | None:
    """A pattern of the models for Python's re; None where it is written in a way that isn't understood."""
    for java, python in _JAVA:
        pattern = pattern.replace(java, python)
    try:
        return re.compile(pattern)
    except re.error:
        # A way to write patterns that a later model brings; the service itself still checks.
        return None


def _wanted(path: str, value: Any, wanted: str) -> str:
    return f"{path} is {_show(value)}, and the API takes {wanted}."


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)
