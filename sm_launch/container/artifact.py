"""The model artifact: the bundle with its trained weights, servable as it is. Standard library only, Python 3.8 on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
BLOCK_BYTES = 1 << 20
SKIPPED = ("__pycache__",)


def files_in(folder: Path, prefix: str = "") -> dict[str, Path]:
    """All files of a folder by their path in it, but hidden ones (files half written have such names) and caches."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or part in SKIPPED for part in parts):
            found[prefix + "/".join(parts)] = path
    return found


def sha256(path: Path) -> str:
    """Of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()


def wanted(name: str, keep: Sequence[str]) -> bool:
    """Whether patterns keep a path; see :func:`assemble`."""
    refused = any(fnmatch(name, pattern[1:]) for pattern in keep if pattern.startswith("!"))
    return not refused and any(fnmatch(name, pattern) for pattern in keep)


def assemble(
    bundle: Path, checkpoints: Path, model: Path, keep: Sequence[str], overrides: Mapping[str, Any]
) -> list[str]:
    """Write model/bundle/ and model/manifest.json.

    Args:
        bundle: the bundle's folder, as it came.
        checkpoints: what the training kept; it takes the place of the bundle's models/.
        model: folder of the artifact.
        keep: fnmatch patterns over the bundle's paths (``*`` also matches ``/``); what matches none is left out, and
            so is what matches one after a ``!``.
        overrides: what the training overrode, kept in the manifest: a network is built by them again.

    Returns:
        The kept paths, relative to ``model``.
    """
    files = {**files_in(bundle), **files_in(checkpoints, "models/")}
    kept = {}
    for name, path in files.items():
        if not wanted(name, keep):
            continue
        target = model / "bundle" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(path), str(target))
        kept["bundle/" + name] = {"sha256": sha256(target), "bytes": target.stat().st_size}
    aside = model / ("." + MANIFEST)
    aside.write_text(json.dumps({"format": 1, "overrides": dict(overrides), "files": kept}, indent=2), encoding="utf-8")
    os.replace(str(aside), str(model / MANIFEST))
    return list(kept)
