"""The refusal of overrides that nothing would read, which is what a misspelt one becomes."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from monai.bundle.config_item import ComponentLocator, ConfigComponent
from monai.bundle.properties import InferProperties, TrainProperties
from monai.bundle.utils import ID_REF_KEY, ID_SEP_KEY
from monai.utils import optional_import

from scripts.errors import InputError
from scripts.files import read_json

# Read by MONAI itself, never by a reference inside the config: tracking settings and the ids of its entry points.
READ_BY_MONAI = {
    "_meta_", "_desc_", "imports", "initialize", "run", "finalize", "network_def",
    "tracking_uri", "experiment_name", "run_name", "save_execute_config", "is_not_rank0",
}  # fmt: skip
PROPERTIES = {item["id"]: item for item in (*TrainProperties.values(), *InferProperties.values())}
TRAIN, INFERENCE = "train.json", "inference.json"


def shipped_items(configs: Path) -> dict[Path, dict[str, Any]]:
    """The bundle's own configs, by file."""
    return {file: read_json(file, "config") for file in sorted(configs.rglob("*.json")) if file.name != "metadata.json"}


def refuse_unknown_items(config: Mapping[str, Any], shipped: Mapping[Path, Mapping[str, Any]]) -> None:
    """Refuse items that nothing reads: at the top, in its sections such as ``train``, and as arguments of objects.

    Args:
        config: the merged config.
        shipped: the bundle's own configs. Their names are known where they were merged in, even if a later file left
            one without a reader.

    Raises:
        InputError: naming the item, and the nearest known name or the config that would read it.
    """
    # MONAI still takes its old separator.
    text = json.dumps(config, default=str).replace("#", ID_SEP_KEY)
    merged = [content for content in shipped.values() if _is_merged(content, config)]
    _refuse_unread(config, None, text, shipped, merged)
    for section in _sections(config, text):
        # A file that was merged does not show any more where a later one has replaced what it set in here.
        _refuse_unread(config, section, text, shipped, shipped.values())
    for name, component in _components(config):
        _refuse_unknown_arguments(name, component)


def refuse_two_workflows(config: Mapping[str, Any], shipped: Mapping[Path, Mapping[str, Any]]) -> None:
    """Refuse inference.json on top of train.json, or below it: its objects replace some of the training's.

    Raises:
        InputError: the names of both are in the config.
    """
    both = {file.name: content for file, content in shipped.items() if file.name in (TRAIN, INFERENCE)}
    if len(both) == 2 and all(_names(content) <= config.keys() for content in both.values()):
        raise InputError(
            f"{INFERENCE} and {TRAIN} are both in --config_file, but each is a workflow of its own; give {INFERENCE} "
            f"alone to segment new cases, or evaluate.json after {TRAIN} to score the model."
        )


@cache
def argument_names(target: str) -> tuple[str, ...] | None:
    """Names of what a ``_target_`` takes; None where that cannot be told, as of one that takes any keyword."""
    path = ConfigComponent(config={"_target_": target}, id="", locator=_locator()).resolve_module_name()
    module, _, attribute = str(path).rpartition(".")
    made, found = optional_import(module, name=attribute)
    if not found:
        return None
    try:
        parameters = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):
        # Some that are written in C have no signature.
        return None
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return tuple(parameter.name for parameter in parameters)


@cache
def _locator() -> ComponentLocator:
    """One for all: it reads the source of every module of MONAI."""
    return ComponentLocator()


def _refuse_unread(
    config: Mapping[str, Any],
    section: str | None,
    text: str,
    shipped: Mapping[Path, Mapping[str, Any]],
    trusted: Collection[Mapping[str, Any]],
) -> None:
    """Refuse items of one level, the top where ``section`` is None, that are read by nothing and in no trusted file."""
    items, prefix = (config, "") if section is None else (config[section], section + ID_SEP_KEY)
    known = _names(PROPERTIES, section).union(*(_names(content, section) for content in trusted))
    known |= {key for key in items if _is_referenced(prefix + key, text)}
    known |= READ_BY_MONAI if section is None else {key for key in items if key.startswith("_")}
    for key in items:
        if key in known:
            continue
        readers = [file.name for file, content in shipped.items() if key in _names(content, section)]
        hint = f"it belongs to {' and '.join(readers)}." if readers else _hint(key, known, known & set(items), prefix)
        raise InputError(f"override '{prefix}{key}' is read by nothing in this config; {hint}")


def _refuse_unknown_arguments(name: str, component: Mapping[str, Any]) -> None:
    known = argument_names(component["_target_"])
    if known is None:
        return
    for key in component:
        if key not in known and not key.startswith("_"):
            raise InputError(
                f"override '{name}{ID_SEP_KEY}{key}' is read by nothing: {component['_target_']} has no such argument; "
                f"{_hint(key, known, known, name + ID_SEP_KEY)}"
            )


def _hint(key: str, known: Collection[str], shown: Collection[str], prefix: str) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean '{prefix}{near[0]}'?" if near else f"known are {', '.join(sorted(shown))}."


def _sections(config: Mapping[str, Any], text: str) -> list[str]:
    """Items that only hold others: no objects, and never handed on as a whole."""
    return [
        name
        for name, value in config.items()
        if isinstance(value, Mapping)
        and "_target_" not in value
        and name not in READ_BY_MONAI
        and any(_is_referenced(f"{name}{ID_SEP_KEY}{key}", text) for key in value)
        and not _is_referenced(name, text, whole=True)
    ]


def _components(level: Any, name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Everything with a ``_target_``, however deep, by its id."""
    if isinstance(level, Mapping):
        if isinstance(level.get("_target_"), str):
            yield name, level
        children = level.items()
    elif isinstance(level, list):
        children = enumerate(level)
    else:
        return
    for key, value in children:
        yield from _components(value, f"{name}{ID_SEP_KEY}{key}" if name else str(key))


def _names(content: Mapping[str, Any], section: str | None = None) -> set[str]:
    """Names that a config file sets at the top, or inside one of its sections."""
    ids = [name.lstrip("+").split(ID_SEP_KEY) for name in content]
    if section is None:
        return {levels[0] for levels in ids}
    inside = content.get(section, {})
    return {levels[1] for levels in ids if levels[0] == section and len(levels) > 1} | set(
        inside if isinstance(inside, Mapping) else ()
    )


def _is_merged(content: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a config file is part of the merged one; MONAI does not keep the names of the files."""
    for name, value in content.items():
        merged: Any = config
        for level in name.lstrip("+").split(ID_SEP_KEY):
            if not isinstance(merged, Mapping) or level not in merged:
                return False
            merged = merged[level]
        # A whole config may be overridden anywhere; an override that was merged shows in the objects that it names.
        if "bundle_root" not in content and isinstance(value, Mapping) and "_target_" in value:
            target = merged.get("_target_") if isinstance(merged, Mapping) else None
            if target not in (value["_target_"], "scripts.checkpoints.from_recipe"):
                return False
    return True


def _is_referenced(key: str, text: str, whole: bool = False) -> bool:
    """Whether ``@key`` occurs in the config's text as a whole name; with ``whole``, not only what is inside of it."""
    start = 0
    while (at := text.find(ID_REF_KEY + key, start)) >= 0:
        start = at + len(key) + 1
        after = text[start : start + len(ID_SEP_KEY)]
        if not (after[:1].isalnum() or after[:1] == "_") and not (whole and after == ID_SEP_KEY):
            return True
    return False
