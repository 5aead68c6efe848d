"""One training at a time in a folder of checkpoints: two would replace each other's model and state, file by file.

The lock is the operating system's (``flock``), so it ends with the process that holds it, however that ends. Windows
has none, nor have some file systems of a network, where a training says so and goes on. There filelock, which labs use,
falls back to a file's mere existence, which outlives a machine that was killed: a requeued job would wait for nobody.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from scripts.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
# A training that was told to stop saves for up to 25 s (scripts.terminate), and its successor may be there already.
PATIENCE_S = 30.0
RETRY_S = 0.2

_held: tuple[Path, int] | None = None


def hold(ckpt_dir: str | os.PathLike[str], patience_s: float = PATIENCE_S) -> None:
    """Keep other trainings out of a folder until :func:`release`, the end of this process, or another ``hold``.

    Args:
        ckpt_dir: made if absent.
        patience_s: how long another training may take to end.

    Raises:
        InputError: another one goes on there.
    """
    global _held
    file = Path(ckpt_dir).resolve() / LOCK_FILE
    if fcntl is None or (_held is not None and _held[0] == file):
        return
    release()
    until = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        while (descriptor := _try(file)) is None:
            if until is None:
                until = time.monotonic() + patience_s
                logger.info("another training writes in %s; waiting up to %g s for its end", ckpt_dir, patience_s)
            if time.monotonic() >= until:
                raise InputError(
                    f"{ckpt_dir}: another training, which goes on, writes its checkpoints there; give this one a "
                    "ckpt_dir of its own, or end the other."
                )
            time.sleep(RETRY_S)
    except OSError as error:
        logger.warning("%s: cannot be locked (%s); start no second training in this folder", file, error.strerror)
        return
    _held = (file, descriptor)


def release() -> None:
    """Let others in."""
    global _held
    if _held is not None:
        file, descriptor = _held
        _held = None
        # A file that stays locks nobody out.
        with suppress(OSError):
            if _has(file, descriptor):
                file.unlink()
        os.close(descriptor)


def _try(file: Path) -> int | None:
    """The descriptor of the locked file, or None where another one has locked it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who held it may have removed the file since it was opened here: then this lock keeps nobody out.
        if _has(file, descriptor):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _has(file: Path, descriptor: int) -> bool:
    """Whether a file is still the one that was opened."""
    return os.path.samestat(os.stat(file), os.fstat(descriptor))


def _let_go_in_child() -> None:
    """A child may outlive this process, as a loader's worker does for some seconds, and must not keep the lock."""
    global _held
    if _held is not None:
        os.close(_held[1])
        _held = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
