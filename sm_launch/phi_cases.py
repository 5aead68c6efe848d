"""Lists of cases among a bundle's files: what travels with the code also goes into the model that is handed on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sm_launch.container.redaction import redact
from sm_launch.steps import Plan

# Parts of a split, as datalists of MONAI, of the Decathlon and of this project name them, and nnU-Net's.
SECTIONS = ("training", "train", "validation", "valid", "val", "testing", "test")
_YAML = (".yaml", ".yml")
_EXPRESSIONS = ("$", "@", "%")
# Cases of the Medical Segmentation Decathlon's brain tumours, which this project's own folds list, with their copies.
_PUBLIC = re.compile(r"(?:.*/)?BRATS_\d{3}(?:_copy\d{3})?(?:\.nii(?:\.gz)?)?")
# A shorter number is a size or a share; record numbers are longer.
_LEAST_RECORD = 10_000


def case_lists(plan: Plan) -> Iterator[str]:
    """A sentence for each JSON or YAML file of the code channels that lists cases, or that cannot be looked at."""
    files = dict.fromkeys(upload.path for upload in plan.uploads if upload.path is not None)
    for path in files:
        if path.suffix.lower() not in (".json", *_YAML):
            continue
        try:
            found = _cases(_content(path))
        except (ValueError, RecursionError):
            yield (
                f"{redact(str(path))}: cannot be read as {path.suffix[1:].upper()}, so whether it lists patients "
                f"cannot be seen; mend it, or take it out of the bundle."
            )
            continue
        if not all(_PUBLIC.fullmatch(text) for texts in found.values() for text in texts):
            yield (
                f"{redact(str(path))}: lists cases under {', '.join(found)}, and would travel with the code and in the "
                f"model's artifact; move it into the data set's folder, and name it there as "
                f"{{channel:train}}/{redact(path.name)}."
            )


def _content(path: Path) -> Any:
    """A file's content.

    Raises:
        ValueError: it is neither JSON nor YAML.
    """
    if path.suffix.lower() not in _YAML:
        return json.loads(path.read_bytes())
    import yaml

    try:
        return list(yaml.safe_load_all(path.read_bytes()))
    except yaml.YAMLError as error:
        raise ValueError(path) from error


def _cases(content: Any) -> dict[str, list[str]]:
    """Section to the texts of its cases, wherever in the content a section that is a list of cases stands."""
    found: dict[str, list[str]] = {}
    if isinstance(content, Mapping):
        for key, value in content.items():
            texts = list(_texts(value)) if str(key).lower() in SECTIONS and isinstance(value, list) else []
            if texts:
                found.setdefault(str(key), []).extend(texts)
        content = list(content.values())
    for below in content if isinstance(content, list) else ():
        for key, texts in _cases(below).items():
            found.setdefault(key, []).extend(texts)
    return found


def _texts(value: Any) -> Iterator[str]:
    """Names, paths and record numbers; neither a config's expressions nor its components."""
    if isinstance(value, str) and not value.startswith(_EXPRESSIONS):
        yield value
    elif isinstance(value, int) and value >= _LEAST_RECORD:
        yield str(value)
    elif isinstance(value, list) or (isinstance(value, Mapping) and "_target_" not in value):
        for below in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(below)
