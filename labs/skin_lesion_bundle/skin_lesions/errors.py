"""One clear sentence for bad input, instead of a traceback."""

from __future__ import annotations

import sys
from types import TracebackType


class InputError(ValueError):
    """Bad input. The message is one sentence: the file, the value found, the value wanted, the next step."""


def find_input_error(error: BaseException | None) -> InputError | None:
    """The :class:`InputError` that caused ``error``, however deeply MONAI or ignite wrapped it, or None."""
    seen: set[int] = set()
    # What fails in a worker process of a DataLoader arrives as the text of its traceback.
    name = f"{InputError.__module__}.{InputError.__qualname__}: "
    while error is not None and id(error) not in seen:
        if isinstance(error, InputError):
            return error
        if name in str(error):
            return InputError(str(error).split(name)[1].splitlines()[0])
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def install_excepthook() -> None:
    """Make an uncaught :class:`InputError` end the process with its sentence; other errors keep their traceback."""
    if getattr(sys.excepthook, "shows_skin_errors", False):
        return
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        cause = find_input_error(error)
        if cause is None:
            previous(kind, error, trace)
        else:
            sys.stderr.write(f"error: {cause}\n")

    hook.shows_skin_errors = True  # type: ignore[attr-defined]
    sys.excepthook = hook
