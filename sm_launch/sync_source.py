"""Files of this machine on their way to S3: their checksum, and whether they still are what the plan saw."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sm_launch.errors import LaunchError

BLOCK = 1024**2


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def as_planned(path: Path, size: int, changed_ns: int | None) -> Iterator[None]:
    """Around an upload of a file: it is what the plan saw, before and after.

    The second look goes before what the upload itself says: S3 only tells that checksums differ, or, of a file in
    parts, not even that.

    Args:
        path: the file.
        size: its bytes by the plan.
        changed_ns: when it was last changed by the plan (st_mtime_ns); None compares the size alone.

    Raises:
        LaunchError: it has changed, or cannot be read.
    """
    _look(path, size, changed_ns)
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        _look(path, size, changed_ns)


def _unreadable(path: Path, error: OSError) -> LaunchError:
    return LaunchError(f"{path}: cannot be read ({error.strerror}); plan again.")


def _look(path: Path, size: int, changed_ns: int | None) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if found.st_size != size:
        raise LaunchError(
            f"{path}: has changed since it was planned, from {size} to {found.st_size} bytes; plan again."
        )
    if changed_ns is not None and found.st_mtime_ns != changed_ns:
        raise LaunchError(f"{path}: has changed since it was planned; plan again.")
