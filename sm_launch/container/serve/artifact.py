"""The model artifact: ``bundle/`` and ``manifest.json`` with the SHA-256 of every file.

A bundle's configs and scripts are code: MONAI evaluates every value that begins with ``$``. So nothing is read before
all of it is what the manifest says, and a file that the manifest does not name is refused as well, because Python would
import it. Whoever can replace the artifact can replace the manifest with it; MANIFEST_SHA256 in the model's
environment, which only the account's own API can set, closes that.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import StartError

BUNDLE, MANIFEST = "bundle", "manifest.json"
CHUNK_BYTES = 1 << 20


def sha256(file: Path) -> str:
    """Digest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A verified model artifact.

    Attributes:
        bundle: the bundle's folder.
        overrides: config ids and values that its training overrode.
    """

    bundle: Path
    overrides: Mapping[str, Any]


def verified(model_dir: Path, manifest_sha256: str = "") -> Artifact:
    """The artifact, every file of its bundle being what the manifest says.

    Args:
        model_dir: the folder of ``bundle/`` and ``manifest.json``.
        manifest_sha256: what the manifest itself must hash to; empty does not check that.

    Raises:
        StartError: something is absent, surplus, changed or a link.
    """
    manifest, bundle = model_dir / MANIFEST, model_dir / BUNDLE
    if not manifest.is_file() or not bundle.is_dir():
        raise StartError(
            f"{model_dir} holds no {BUNDLE}/ with a {MANIFEST} beside it; pack the model with both, as a training by "
            "sm_launch does."
        )
    if manifest_sha256 and not hmac.compare_digest(sha256(manifest), manifest_sha256.lower()):
        raise StartError(f"{MANIFEST} is not the one that MANIFEST_SHA256 names; deploy the artifact anew.")
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        wanted = {str(path): str(facts["sha256"]) for path, facts in content["files"].items()}
        overrides = dict(content.get("overrides") or {})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StartError(
            f'{MANIFEST} holds no {{"files": {{path: {{"sha256": ...}}}}}} ({type(error).__name__}); write it anew.'
        ) from error
    found = {path.relative_to(model_dir).as_posix(): path for path in _files(bundle)}
    if differing := sorted({path for path in wanted if path.startswith(f"{BUNDLE}/")} ^ set(found)):
        raise StartError(
            f"{len(differing)} files are in the artifact or in its {MANIFEST} only, first {differing[0]!r}; pack the "
            "model anew."
        )
    for name, path in found.items():
        if not hmac.compare_digest(sha256(path), wanted[name]):
            raise StartError(f"{name} is not the file that {MANIFEST} describes; deploy the artifact anew.")
    return Artifact(bundle, overrides)


def _files(folder: Path) -> list[Path]:
    """All files below a folder.

    Raises:
        StartError: one is a link, which may lead out of what was hashed.
    """
    paths = sorted(folder.rglob("*"))
    for path in paths:
        if path.is_symlink():
            raise StartError(f"{path} is a link; pack the file itself.")
    return [path for path in paths if path.is_file()]
