"""Secrets and patient identities in texts: names, tags, hyperparameters, file names, log lines.

The detectors are those that mask the jobs' own logs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sm_launch.container.redaction import SECRET_WORD, kinds, redact
from sm_launch.rules_storage import texts

__all__ = ["findings", "findings_in_json", "kinds", "redact", "tracker"]

_SECRET_FIELD = re.compile(rf"(?i)(?:^|[._\-\s\]]){SECRET_WORD}$|_(?:token|pwd)$|^(?:token|pwd)$")
_TRACKER = re.compile(r"(?i)(?<![a-z])(wandb|comet[_-]?ml|neptune|clearml|aimstack|dagshub)(?![a-z])")
_REMOTE_MLFLOW = re.compile(r"(?i)mlflow\w*[\"']?\s*[=:]\s*[\"']?https?://")


def tracker(text: str) -> str:
    """The tracking service outside AWS that ``text`` speaks of; empty if none."""
    found = _TRACKER.search(text)
    if found:
        return found[1]
    return "a remote MLflow server" if _REMOTE_MLFLOW.search(text) else ""


def findings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Paths in a request whose text or name looks like a secret or a patient's identity, with the kind."""
    for place, text in texts(value, path):
        for kind in kinds(text):
            yield place, kind
    yield from _secret_fields(value, path)


def findings_in_json(text: str) -> Iterator[tuple[str, str]]:
    """The same for a file: by its fields where it is JSON, else as one text."""
    try:
        yield from findings(json.loads(text))
    except ValueError:
        for kind in kinds(text):
            yield "", kind


def _secret_fields(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Fields whose very name says that they hold a secret; the name of one in Secrets Manager may be given."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            inner = f"{path}.{key}" if path else str(key)
            if isinstance(part, str) and part and _SECRET_FIELD.search(str(key)) and not part.startswith("arn:aws"):
                yield inner, "a password or key"
            yield from _secret_fields(part, inner)
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            # Tags and CodeBuild's variables are lists of name and value.
            if isinstance(part, Mapping) and _SECRET_FIELD.search(str(part.get("Key") or part.get("name") or "")):
                yield f"{path}[{index}]", "a password or key"
            yield from _secret_fields(part, f"{path}[{index}]")
