"""Files that are whole or absent: written aside, then renamed; and the folder for things that can be made again."""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from scripts.errors import InputError

CACHE_VARIABLE = "BRATS_CACHE_DIR"
ASIDE = ".part-"


@contextmanager
def write_aside(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that takes its name on success and is removed on failure.

    The temporary name ends as the target's does, so libraries that choose a format by suffix still do.

    Raises:
        InputError: the folder cannot be made or written to, a folder has the target's name, or the disk is full.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_folder(target)
        handle, name = tempfile.mkstemp(prefix=ASIDE, suffix="-" + target.name, dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise unwritable(target, error) from error
    aside = Path(name)
    try:
        yield aside
        # mkstemp makes private files; a result is as readable as any file the user creates.
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, target)
    except (OSError, RuntimeError) as error:
        if not is_write_error(error):
            raise
        raise unwritable(target, error) from error
    finally:
        aside.unlink(missing_ok=True)


def remove_asides(folder: str | os.PathLike[str]) -> None:
    """Remove what processes that were killed while they wrote have left in ``folder``; nothing else may write there."""
    for aside in Path(folder).glob(f"{ASIDE}*"):
        aside.unlink(missing_ok=True)


def write_json(target: str | os.PathLike[str], content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all."""
    with write_aside(target) as aside:
        aside.write_text(json_text(content), encoding="utf-8")


def json_text(content: Any) -> str:
    """``content`` as indented JSON."""
    return json.dumps(content, indent=2, default=str) + "\n"


def write_texts(folder: str | os.PathLike[str], texts: Mapping[str, str]) -> None:
    """Write files that belong together: none takes its name before all are written.

    Args:
        folder: made where it is not there.
        texts: file name to content, line ends as they are to be in the file.

    Raises:
        InputError: one of them cannot be written. All are then as they were, unless the system refuses a later one its
            name (a file that another program has open, on Windows).
    """
    with ExitStack() as stack:
        for name, text in texts.items():
            aside = stack.enter_context(write_aside(Path(folder) / name))
            aside.write_text(text, encoding="utf-8", newline="")


def refuse_unwritable(folder: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Refuse a folder for results before work is put into them; nothing is made, nor left behind.

    Args:
        folder: that may not be there yet.
        names: of the files that are to be written into it.

    Raises:
        InputError: the folder can be neither made nor written to, or a folder has the name of a file.
    """
    folder = Path(folder)
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryDirectory(prefix=ASIDE, dir=there):
            pass
    except OSError as error:
        raise unwritable(folder, error) from error
    for name in names:
        try:
            _refuse_folder(folder / name)
        except IsADirectoryError as error:
            raise unwritable(folder / name, error) from error


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


def is_write_error(error: Exception) -> bool:
    """Whether the operating system refused a write; ``torch.save`` reports a full disk as its C++ writer's failure."""
    return isinstance(error, OSError) or "PytorchStreamWriter" in str(error) or "inline_container" in str(error)


def unwritable(target: str | os.PathLike[str], error: Exception) -> InputError:
    """The sentence for a file, or a folder, that could not be written."""
    if isinstance(error, IsADirectoryError):
        return InputError(f"{target}: cannot be written (it is a folder); move it away or choose another folder.")
    if isinstance(error, FileExistsError | NotADirectoryError):
        file = next((path for path in (Path(target), *Path(target).parents) if path.is_file()), target)
        return InputError(
            f"{target}: cannot be written ({file} is no folder); move that file away or choose another folder."
        )
    reason = getattr(error, "strerror", None) or "the disk is full"
    return InputError(f"{target}: cannot be written ({reason}); free some space or choose a folder you may write to.")


def cache_dir() -> Path:
    """Folder for what can be made again (the phantom, validation results): $BRATS_CACHE_DIR or the platform's own."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE]).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "monai-brats"


def _refuse_folder(target: Path) -> None:
    # os.replace would find out only after the work.
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))


def _umask() -> int:
    # There is no way to read the mask but to set it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
