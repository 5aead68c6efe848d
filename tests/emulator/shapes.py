"""Whether a message fits botocore's model of it: members, types, lengths, ranges, patterns, enums, in AWS's words.

This is the emulator's own reading of the model, apart from the one of ``sm_launch``: a fault in either shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import boto3
import botocore.session
from botocore.loaders import create_loader
from botocore.model import ServiceModel, Shape
from botocore.session import get_session

from emulator.errors import MALFORMED, AwsError, invalid

NUMBERS = {"integer": int, "long": int, "float": float, "double": float}
LOADER = create_loader()
# Java's character classes, as Python's re knows them; wider where it has no equal.
CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{Alnum}": "a-zA-Z0-9"}


@cache
def service_model(service: str) -> ServiceModel:
    """The model of a service, by boto3's name of it."""
    return ServiceModel(LOADER.load_service_model(service, "service-2"), service)


@contextmanager
def shared_models() -> Iterator[None]:
    """Let all boto3 sessions of this process share the models: parsing SageMaker's takes half a second."""
    with patch.object(botocore.session, "create_loader", lambda *_: LOADER):
        yield


def boto_session(region: str, key: str) -> Any:
    """A boto3 session that shares the models too."""
    botocore_session = get_session()
    botocore_session.register_component("data_loader", LOADER)
    return boto3.session.Session(key, key, region_name=region, botocore_session=botocore_session)


def check_request(service: str, operation: str, request: Any) -> None:
    """Refuse a request as the service would.

    Raises:
        AwsError: SerializationException for what is no such message, ValidationException for values out of bounds.
    """
    shape = service_model(service).operation_model(operation).input_shape
    if shape is None:
        return
    faults = list(_faults(request, shape, ""))
    malformed = [text for kind, text in faults if kind == MALFORMED]
    if malformed:
        raise AwsError(MALFORMED, malformed[0])
    if faults:
        plural = "s" if len(faults) > 1 else ""
        raise invalid(f"{len(faults)} validation error{plural} detected: " + "; ".join(text for _, text in faults))


def answer_faults(service: str, operation: str, answer: Any) -> list[str]:
    """What is wrong with the emulator's own answer; a fault of the emulator, so a test must fail on it."""
    shape = service_model(service).operation_model(operation).output_shape
    if shape is None:
        return [f"{operation} answers nothing, not {answer}"] if answer else []
    return [f"{operation}: {text}" for _, text in _faults(answer, shape, "")]


def echo(request: Mapping[str, Any], describe: str, service: str = "sagemaker") -> dict[str, Any]:
    """The members of a Create request that the Describe operation gives back under their names."""
    members = service_model(service).operation_model(describe).output_shape.members
    return {name: value for name, value in request.items() if name in members}


def _faults(value: Any, shape: Shape, path: str) -> Iterator[tuple[str, str]]:
    if shape.type_name == "structure":
        yield from _structure(value, shape, path)
    elif shape.type_name == "list":
        if not isinstance(value, list):
            yield _wrong_type(value, shape, path)
            return
        yield from _size(value, len(value), shape, path, "length")
        for index, item in enumerate(value):
            yield from _faults(item, shape.member, f"{path}.{index + 1}.member")
    elif shape.type_name == "map":
        if not isinstance(value, dict):
            yield _wrong_type(value, shape, path)
            return
        yield from _size(value, len(value), shape, path, "length")
        for key, item in value.items():
            yield from _faults(key, shape.key, f"{path}.key")
            yield from _faults(item, shape.value, f"{path}.{key}.member")
    else:
        yield from _scalar(value, shape, path)


def _structure(value: Any, shape: Shape, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield _wrong_type(value, shape, path)
        return
    for name in value.keys() - shape.members.keys():
        yield MALFORMED, f"Unknown member '{name}' of {shape.name} at '{path or shape.name}'"
    if shape.metadata.get("union") and len(value) != 1:
        yield MALFORMED, f"Expected exactly one member of {shape.name} at '{path}', found {sorted(value)}"
    for name in shape.required_members:
        if value.get(name) is None:
            yield "null", f"Value null at '{_member(path, name)}' failed to satisfy constraint: Member must not be null"
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from _faults(value[name], member, _member(path, name))


def _scalar(value: Any, shape: Shape, path: str) -> Iterator[tuple[str, str]]:
    kind = shape.type_name
    if kind in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, (int, float) if NUMBERS[kind] is float else int):
            yield _wrong_type(value, shape, path)
        else:
            yield from _size(value, value, shape, path, "value")
    elif kind == "boolean":
        if not isinstance(value, bool):
            yield _wrong_type(value, shape, path)
    elif kind == "timestamp":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield _wrong_type(value, shape, path)
    elif not isinstance(value, str):
        yield _wrong_type(value, shape, path)
    elif kind == "string":
        yield from _size(value, len(value), shape, path, "length")
        if shape.enum and value not in shape.enum:
            allowed = ", ".join(shape.enum)
            yield "enum", _constraint(value, path, f"Member must satisfy enum value set: [{allowed}]")
        pattern = _python_pattern(shape.metadata.get("pattern"))
        if pattern is not None and not pattern.fullmatch(value):
            wanted = f"Member must satisfy regular expression pattern: {shape.metadata['pattern']}"
            yield "pattern", _constraint(value, path, wanted)


def _size(value: Any, size: float, shape: Shape, path: str, what: str) -> Iterator[tuple[str, str]]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield "min", _constraint(value, path, f"Member must have {what} greater than or equal to {least}")
    if most is not None and size > most:
        yield "max", _constraint(value, path, f"Member must have {what} less than or equal to {most}")


@cache
def _python_pattern(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    for java, python in CLASSES.items():
        pattern = pattern.replace(java, python)
    try:
        return re.compile(pattern)
    except re.error:
        # A handful of patterns of the model are Java's alone; none of them belongs to an operation served here.
        return None


def _wrong_type(value: Any, shape: Shape, path: str) -> tuple[str, str]:
    return MALFORMED, f"Expected {shape.type_name} at '{path}', found {type(value).__name__}"


def _constraint(value: Any, path: str, wanted: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: {wanted}"


def _member(path: str, name: str) -> str:
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name
