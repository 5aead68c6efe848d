"""From a YAML file, or plain mappings, to the dataclasses of a spec: every wrong word is one sentence."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sm_launch.errors import LaunchError
from sm_launch.spec import Spec
from sm_launch.yaml_text import parsed


def read(file: Path, changes: Sequence[str] = ()) -> Spec:
    """Read a spec file.

    Args:
        file: YAML. ``base: FILE`` takes what it lacks from another file. Relative folders are taken from the folder of
            the file in which they stand.
        changes: ``train.instance_count=2``-like, the value in YAML; they win over the file. Relative folders in them
            are taken from the folder of ``file``.

    Raises:
        LaunchError: it cannot be read, or a key, a type or a value in it is wrong.
    """
    content = _content(file, ())
    for change in changes:
        _set(content, change)
    # Once more, for what a change names.
    return build(_anchored(content, file), str(file))


def _content(file: Path, readers: tuple[Path, ...]) -> dict[str, Any]:
    """A file's keys over those of its base; ``readers`` are the files that named it."""
    import yaml

    if file in readers:
        raise LaunchError(f"{file}: is its own base by way of {readers[-1]}; take one of the two lines away.")
    try:
        content = parsed(file.read_text(encoding="utf-8"), str(file))
    except OSError as error:
        raise LaunchError(f"{file}: cannot be read ({error.strerror}); give the path of a spec file.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" in line {place.line + 1}" if place else ""
        raise LaunchError(f"{file}: is no YAML{line}; compare it with a file of sm_launch/specs.") from error
    if not isinstance(content, Mapping):
        raise LaunchError(f"{file}: holds no keys; compare it with a file of sm_launch/specs.")
    content = _anchored(content, file)
    base = content.pop("base", None)
    if base is None:
        return content
    if not isinstance(base, str) or not base:
        raise LaunchError(f"{file}: base is '{base}'; write the path of one spec file, seen from this file's folder.")
    return _over(_content(Path(os.path.normpath(file.parent / base)), (*readers, file)), content)


def _anchored(content: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The keys of a file, its local folders absolute: those of a base are seen from the base, whoever derives from it.

    What has a wrong type is left as it is, for ``build`` to refuse.
    """
    found = {key: _folder(value, file, key) if key in ("bundle", "wheels") else value for key, value in content.items()}
    if isinstance(found.get("data"), Mapping) and "source" in found["data"]:
        found["data"] = {**found["data"], "source": _folder(found["data"]["source"], file, "data.source")}
    return found


def _folder(value: Any, file: Path, key: str) -> Any:
    if value == "":
        raise LaunchError(f"{file}: {key} is empty; give a folder, or take the key out.")
    # A folder of digits, such as a year, is a number to YAML.
    local = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, str) and not value.startswith("s3://")
    )
    return str((file.resolve().parent / Path(str(value)).expanduser()).resolve()) if local else value


def _over(below: Any, above: Any) -> Any:
    """``above`` laid over ``below``, key by key; lists and plain values are replaced."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def build(content: Mapping[str, Any], where: str = "spec") -> Spec:
    """A spec from mappings and lists, checked.

    Raises:
        LaunchError: a key, a type or a value is wrong; ``where`` begins the sentence.
    """
    return _read(Spec, content, where, "")


def _set(content: dict[str, Any], change: str) -> None:
    """Apply one ``a.b=value``."""
    import yaml

    path, equals, text = change.partition("=")
    if not equals or not path:
        raise LaunchError(f"--set '{change}': is not KEY=VALUE; for example --set train.instance_count=2.")
    *parents, last = path.split(".")
    for parent in parents:
        below = content.get(parent, {})
        if not isinstance(below, dict):
            raise LaunchError(f"--set '{change}': {parent} is '{below}', which has no parts; give its own value.")
        # A copy: an alias may name the same part, which the change does not mean.
        content[parent] = dict(below)
        content = content[parent]
    try:
        content[last] = parsed(text, f"--set '{change}'")
    except yaml.YAMLError as error:
        raise LaunchError(f"--set '{change}': the value is no YAML; quote it, or close its brackets.") from error


def _read(kind: type, content: Any, where: str, path: str) -> Any:
    """One dataclass from a mapping."""
    name = path or "the spec"
    if not isinstance(content, Mapping):
        raise LaunchError(f"{where}: {name} is '{content}' where keys are wanted; indent them below it.")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    for key in content:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            meant = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(fields)}."
            raise LaunchError(f"{where}: {path + '.' if path else ''}{key} is not known; {meant}")
    for key, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and key not in content:
            raise LaunchError(f"{where}: {path + '.' if path else ''}{key} is missing; add it.")
    values = {k: _value(hints[k], v, where, f"{path}.{k}" if path else k) for k, v in content.items()}
    return kind(**values)


def _value(hint: Any, value: Any, where: str, path: str) -> Any:
    """One value, held against its type hint."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _value(next(a for a in arguments if a is not type(None)), value, where, path)
    if origin is Literal:
        if value not in arguments:
            raise LaunchError(f"{where}: {path} is '{value}'; choose among {', '.join(map(str, arguments))}.")
        return value
    if dataclasses.is_dataclass(hint):
        return _read(hint, value, where, path)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise LaunchError(f"{where}: {path} is '{value}' where a list is wanted; write [{value}].")
        return tuple(_value(arguments[0], one, where, path) for one in value)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise LaunchError(f"{where}: {path} is '{value}' where keys with values are wanted; indent them below it.")
        return {str(key): _value(arguments[1], one, where, f"{path}.{key}") for key, one in value.items()}
    return _plain(hint, value, where, path)


def _plain(hint: Any, value: Any, where: str, path: str) -> Any:
    """A text, a number or a truth value."""
    # Of all values only NaN is not itself.
    value = "nan" if value != value else value
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)
    # Account numbers and dates that YAML reads as numbers are meant as text.
    if hint is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)) or value in (math.inf, -math.inf):
        raise LaunchError(f"{where}: {path} is '{value}' where {names[hint]} is wanted.")
    return value
