"""Secrets and patient identities in texts: names, tags, hyperparameters, file names, log lines.

The detectors are a net, not a proof: a name written as plain words cannot be told from any other word. What they found
they never repeat.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sm_launch.rules_storage import texts


@dataclass(frozen=True)
class Detector:
    """One kind of text that must not be stored outside the encrypted data.

    Attributes:
        kind: what it looks like, as messages say it.
        pattern: finds it.
    """

    kind: str
    pattern: re.Pattern[str]


_SECRET_WORD = (
    r"(?:password|passwd|passphrase|secret|api[_-]?key|private[_-]?key|access[_-]?token|auth[_-]?token|credentials?)"
)
# Every repetition is bounded or begins at the edge of a word, so a line of a megabyte takes no longer than its length.
DETECTORS = tuple(
    Detector(kind, re.compile(pattern))
    for kind, pattern in (
        # AWS's prefixes of access keys: IAM User Guide, "Unique identifiers".
        ("an AWS access key", r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])"),
        ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
        (
            "a token",
            r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,}"
            r"|xox[abprs]-[\w-]{10,}|sk-[A-Za-z0-9_-]{20,}|eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]*)",
        ),
        ("a password or key", rf"(?i)(?<![A-Za-z]){_SECRET_WORD}\w*[\"']?\s*[=:]\s*[\"']?(?!arn:aws)[^\s\"'&,;]{{4,}}"),
        ("a password in an address", r"[a-z][a-z0-9+.-]{0,20}://[^\s/:@]{1,256}:[^\s/:@]{1,256}@"),
        # DICOM's person name, components joined by ^ (PS3.5, 6.2 VR PN).
        (
            "a patient's name",
            r"(?<![\w)\]\[(|\\])[^\W\d_][^\W\d_]?[\w'\-]{0,64}\^[^\W\d_]{2}[\w'\-]{0,64}(?:\^[\w'\-]{0,64}){0,4}",
        ),
        (
            "a patient's identity",
            r"(?i)patient'?s?[ _-]?(?:name|birth[ _-]?date|address|mothersbirthname)|\(0010,[0-9a-f]{4}\)",
        ),
        (
            "a medical record number",
            r"(?i)(?<![a-z])(?:mrn|medical[ _-]?record(?:[ _-]?(?:no|number))?|patient[ _-]?(?:id|no|number))"
            r"[\s:=#_./-]{0,3}[a-z]{0,3}\d{4,}",
        ),
        ("a social security number", r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"),
        ("a health service number", r"(?<![\d-])\d{3}[ -]\d{3}[ -]\d{4}(?![\d-])"),
        ("a date of birth", r"(?i)(?<![a-z])(?:dob|born|birth[ _-]?date|date[ _-]?of[ _-]?birth)[\s:=_-]*\d"),
        (
            "a date of birth",
            r"(?<!\d)(?:19\d\d|20[01]\d)([-_/.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)",
        ),
        ("a date of birth", r"(?<!\d)(?:0[1-9]|[12]\d|3[01])([-/.])(?:0[1-9]|1[0-2])\1(?:19\d\d|20[01]\d)(?!\d)"),
    )
)
# Ids that AWS made: digits in them are no date. A policy's version is a date, and the same in every policy.
_AWS_ID = re.compile(
    r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[0-9a-f-]+|arn:aws[a-z-]*:secretsmanager:[\w:/+=.@-]+"
    r"|\b(?:subnet|sg|vpc|fs|eni|vol)-[0-9a-f]{8,17}\b"
    r"|\"Version\":\s*\"2012-10-17\""
)
_SECRET_FIELD = re.compile(rf"(?i)(?:^|[._\-\s\]]){_SECRET_WORD}$|_(?:token|pwd)$|^(?:token|pwd)$")
_TRACKER = re.compile(r"(?i)(?<![a-z])(wandb|comet[_-]?ml|neptune|clearml|aimstack|dagshub)(?![a-z])")
_REMOTE_MLFLOW = re.compile(r"(?i)mlflow\w*[\"']?\s*[=:]\s*[\"']?https?://")


def kinds(text: str) -> list[str]:
    """What ``text`` looks like holding, each kind once."""
    plain = _AWS_ID.sub("", text)
    return list(dict.fromkeys(one.kind for one in DETECTORS if one.pattern.search(plain)))


def redact(line: str) -> str:
    """A log line with everything that looks like a secret or a patient's identity replaced by its kind."""
    found = sorted((hit.start(), -hit.end(), one.kind) for one in DETECTORS for hit in one.pattern.finditer(line))
    parts, end = [], 0
    for start, minus_stop, kind in found:
        if start >= end:
            parts += [line[end:start], f"[{kind}]"]
        # What overlaps an earlier finding is part of it.
        end = max(end, -minus_stop)
    return "".join(parts) + line[end:]


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
