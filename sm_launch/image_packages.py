"""Which of a bundle's packages the serving image installs: those that its lock names come in the lock's version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

_LOCK = Path(__file__).parent / "container" / "serve" / "requirements.txt"
# PEP 508: a name, extras, then a version, a marker or an address; anything else is pip's own to read.
_REQUIREMENT = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(\[[^\]]*\])?\s*((?:[=<>!~;@].*)?)")


def without_locked(packages: Sequence[str]) -> tuple[str, ...]:
    """The packages to install besides the lock: pip ends in ResolutionImpossible where one asks for another version.

    Extras are kept, without the version: what they bring is not in the lock.
    """
    kept = []
    for line in packages:
        name, extras, _ = _read(line)
        if name not in _locked():
            kept.append(line)
        elif extras:
            kept.append(name + extras)
    return tuple(kept)


def overridden(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each package whose version the lock overrides, and what the image has instead: monai==1.4.0, monai==1.6.1."""
    for line in packages:
        name, _, version = _read(line)
        has = _locked().get(name)
        if has and version not in ("", f"=={has}"):
            yield line, f"{name}=={has}"


@cache
def _locked() -> dict[str, str]:
    lines = _LOCK.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {_canonical(name): version for name, version in pairs}


def _read(line: str) -> tuple[str, str, str]:
    """Canonical name, extras and what follows, without spaces; an empty name for a line that is no requirement."""
    found = _REQUIREMENT.fullmatch(line.strip())
    return (_canonical(found[1]), found[2] or "", "".join(found[3].split())) if found else ("", "", "")


def _canonical(name: str) -> str:
    """As the package index compares names: pytorch_ignite is pytorch-ignite (PyPA, "Name normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()
