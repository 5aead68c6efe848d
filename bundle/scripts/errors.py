"""One clear sentence for bad input, whichever door the user came through.

Library code raises :class:`InputError`. A command-line ``main`` wraps itself in :func:`one_sentence`; a run through
``python -m monai.bundle`` installs :func:`install_excepthook`, because MONAI wraps whatever a config expression raises
into a ``RuntimeError`` of its own. Either way the user sees one sentence and an exit code that is not 0; in a notebook,
the sentence alone.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import TracebackType

logger = logging.getLogger(__name__)


class InputError(ValueError):
    """Bad input. The message is one sentence: the file, the value found, the value wanted, the next step."""

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this: in a notebook, too, the sentence is all there is to see.
        return [f"error: {self}"]


def find_input_error(error: BaseException | None) -> InputError | None:
    """The :class:`InputError` that caused ``error``, however deeply MONAI or ignite wrapped it, or None."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, InputError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def first_line(error: BaseException) -> str:
    """What another library's error says, for the brackets of a sentence; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def install_excepthook() -> None:
    """Make an uncaught :class:`InputError` end the process with its sentence; other errors keep their traceback."""
    if getattr(sys.excepthook, "shows_input_errors", False):
        return
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        cause = find_input_error(error)
        if cause is None:
            previous(kind, error, trace)
        else:
            sys.stderr.write(f"error: {cause}\n")

    hook.shows_input_errors = True  # type: ignore[attr-defined]
    sys.excepthook = hook


def one_sentence(main: Callable[[], int]) -> int:
    """Run a command's ``main`` and return its exit code; an :class:`InputError` is printed as a sentence, code 1."""
    try:
        return main()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped by the user\n")
        return 130
