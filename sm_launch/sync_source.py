"""Files of this machine on their way to S3: whether they still are what the plan saw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sm_launch.errors import LaunchError
from sm_launch.steps import Source


@contextmanager
def as_planned(path: Path, planned: Source) -> Iterator[None]:
    """Around an upload of a file: it is what the plan saw, before and after.

    The second look goes before what the upload itself says: S3 only tells that checksums differ, or, of a file in
    parts, not even that.

    Args:
        path: the file.
        planned: the same by the plan.

    Raises:
        LaunchError: it has changed, or cannot be read.
    """
    _look(path, planned)
    try:
        with readable(path):
            yield
    finally:
        _look(path, planned)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Around the reading of a file that a plan names.

    Raises:
        LaunchError: it is gone or cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> LaunchError:
    return LaunchError(f"{path}: cannot be read ({error.strerror}); plan again.")


def _look(path: Path, planned: Source) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if found.st_size != planned.size:
        raise LaunchError(
            f"{path}: has changed since it was planned, from {planned.size} to {found.st_size} bytes; plan again."
        )
    if found.st_mtime_ns != planned.changed_ns:
        raise LaunchError(f"{path}: has changed since it was planned; plan again.")
