"""Files that are whole or absent: written aside, then renamed; and the folder for what can be made again."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skin_lesions.errors import InputError

CACHE_VARIABLE = "SKIN_LESIONS_CACHE_DIR"


@contextmanager
def write_aside(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that takes its name on success and is removed on failure.

    The temporary name ends as the target's does, so libraries that choose a format by suffix still do.

    Raises:
        InputError: the folder cannot be made or written to, or the disk is full.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".part-", suffix=f"-{target.name}", dir=target.parent)
        os.close(handle)
        aside = Path(name)
        try:
            yield aside
            # mkstemp makes private files; a result is as readable as the folder that it lies in.
            aside.chmod(target.parent.stat().st_mode & 0o666)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(target, error) from error


def unwritable(target: str | os.PathLike[str], error: OSError) -> InputError:
    """The sentence for a file or folder that cannot be written."""
    return InputError(
        f"{target}: cannot be written ({error.strerror}); free some space or choose a folder you may write to."
    )


def write_json(target: str | os.PathLike[str], content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all."""
    with write_aside(target) as aside:
        aside.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Read a JSON file; ``what`` names it in the message.

    Raises:
        InputError: the file is absent, unreadable or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read the {what} ({error.strerror}); check the path.") from error
    except ValueError as error:
        raise InputError(f"{path}: the {what} is not valid JSON ({error}); mend or remove the file.") from error


def cache_dir() -> Path:
    """Folder for the synthetic set: $SKIN_LESIONS_CACHE_DIR, or one in $XDG_CACHE_HOME or ~/.cache."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monai-brats" / "skin-lesions"
