"""Files of this machine: written whole or not at all, and told apart by their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

BLOCK = 1024**2


def write_aside(target: Path, content: bytes) -> None:
    """Write a file whole or not at all; it is the user's alone (mode 600), as answers about patients should be.

    Raises:
        OSError: it cannot be written; the file that was there is as it was.
    """
    handle, name = tempfile.mkstemp(prefix=".part-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, target)
    finally:
        Path(name).unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
