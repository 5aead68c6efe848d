"""YAML of a user's: what it would silently read as something else than what stands there is refused."""

from __future__ import annotations

import re
from typing import Any

from sm_launch.errors import LaunchError

_TAG = "tag:yaml.org,2002:"
# What a spec, and the JSON that goes with a job, can hold; << takes over the keys of an anchor.
_VALUES = tuple(_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge"))
_KEYS = tuple(_TAG + name for name in ("str", "int", "merge"))
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
# Numbers to everybody but YAML 1.1, which wants a point and a sign in them.
_EXPONENT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")


def parsed(text: str, where: str) -> Any:
    """The content of a YAML text.

    Args:
        text: the text.
        where: begins the sentences.

    Raises:
        yaml.YAMLError: it is no YAML.
        LaunchError: it holds a key twice, what no JSON can hold, or a number that YAML reads as another.
    """
    import yaml

    try:
        _check(yaml.compose(text, yaml.SafeLoader), where, set(), set())
        return yaml.safe_load(text)
    except RecursionError as error:
        raise LaunchError(f"{where}: is nested too deep to be read; take levels away.") from error
    except (KeyError, ValueError) as error:
        # YAML's own conversions, of !!int and its like before what is none.
        raise LaunchError(f"{where}: a value does not fit the tag before it ({error}); take the tag away.") from error


def _check(node: Any, where: str, around: set[int], done: set[int]) -> None:
    """Look at a node of ``yaml.compose`` and at all below it.

    Args:
        node: None for an empty text.
        where: begins the sentences.
        around: ids of the nodes that this one lies in.
        done: ids of the nodes that were looked at: an alias leads to one of them again.
    """
    import yaml

    if node is None or id(node) in done:
        return
    if id(node) in around:
        raise LaunchError(f"{where}: an alias{_line(node)} names what it lies in; write out what is meant.")
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node, where)
    elif node.tag not in _VALUES:
        _refuse_kind(node, where)
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node, where)
    inside = node.value if not isinstance(node, yaml.ScalarNode) else ()
    for below in inside:
        _check(below[1] if isinstance(below, tuple) else below, where, around | {id(node)}, done)
    done.add(id(node))


def _check_keys(node: Any, where: str) -> None:
    """Keys are texts, and none stands twice, of which YAML would silently keep the last."""
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key.value, str):
            raise LaunchError(f"{where}: a key{_line(key)} is a list or has keys itself; write a text.")
        if key.tag not in _KEYS:
            raise LaunchError(
                f"{where}: the key '{key.value}'{_line(key)} is read by YAML as {_kind(key)}; put it into quotes."
            )
        _check_scalar(key, where)
        line = key.start_mark.line + 1
        if key.value in seen:
            raise LaunchError(
                f"{where}: '{key.value}' stands in line {seen[key.value]} and again in line {line}; put both into one."
            )
        seen[key.value] = line


def _check_scalar(node: Any, where: str) -> None:
    """A number is the one that stands there, and all else is what JSON can hold."""
    if node.tag not in _VALUES:
        _refuse_kind(node, where)
    as_written = _INTEGER.fullmatch(node.value) if node.tag == f"{_TAG}int" else ":" not in node.value
    if node.tag in (f"{_TAG}int", f"{_TAG}float") and not as_written:
        raise LaunchError(
            f"{where}: '{node.value}'{_line(node)} is read by YAML as {_constructed(node)}; write a plain number, or "
            "put a text into quotes."
        )
    if node.tag == f"{_TAG}str" and node.style is None and _EXPONENT.fullmatch(node.value):
        raise LaunchError(
            f"{where}: '{node.value}'{_line(node)} is read by YAML as text; write a number with a point and a sign, as "
            "1.0e-4 and 1.0e+4 have them, or put a text into quotes."
        )


def _refuse_kind(node: Any, where: str) -> None:
    shown = f"'{node.value}'" if isinstance(node.value, str) else "what begins"
    raise LaunchError(
        f"{where}: {shown}{_line(node)} is read by YAML as {_kind(node)}, which a spec cannot hold; put a text into "
        "quotes."
    )


def _kind(node: Any) -> str:
    name = node.tag.removeprefix(_TAG)
    words = {"timestamp": "a date", "bool": "true or false", "float": "a number", "null": "nothing", "set": "a set"}
    return words.get(name, f"'{name}'")


def _constructed(node: Any) -> Any:
    import yaml

    return yaml.constructor.SafeConstructor().construct_object(node)


def _line(node: Any) -> str:
    return f" in line {node.start_mark.line + 1}"
