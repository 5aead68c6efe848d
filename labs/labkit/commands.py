"""Commands as one types them in a terminal, run from a notebook: shown, followed in one line, judged by their end."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from IPython.display import Code, display

from .processes import BYTES_PER_MB, Watch
from .progress import Line
from .project import BUNDLE

LAST_LINES = 12
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Done:
    """A command that ended well.

    Attributes:
        command: as it was shown.
        output: everything it wrote, stdout and stderr together.
        seconds: wall time, the interpreter's start included.
        peak_mb: the most memory that it and its child processes held at once, in MB (10^6 bytes), sampled.
    """

    command: str
    output: str
    seconds: float
    peak_mb: float

    def tail(self, lines: int = LAST_LINES) -> str:
        """The last lines of the output."""
        return "\n".join(self.output.splitlines()[-lines:])

    def find(self, pattern: str) -> list[str]:
        """The lines in which a regular expression is found."""
        return [line for line in self.output.splitlines() if re.search(pattern, line)]


class CommandFailed(RuntimeError):
    """A command ended with another exit code than the one wanted; the message holds its last lines."""

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this: the frames of labkit say nothing about the command's failure.
        return str(self).splitlines()


def run(
    command: str,
    cwd: Path = BUNDLE,
    env: Mapping[str, str] | None = None,
    code: int = 0,
    timeout_s: float = 600,
) -> Done:
    """Run a command and wait for it.

    Args:
        command: as one types it; ``python`` and ``torchrun`` mean those of this notebook's environment.
        cwd: the folder it runs in.
        env: environment variables to add.
        code: the exit code that is wanted; a lesson may want a failure.
        timeout_s: after so many seconds it is ended.

    Returns:
        What came of it.

    Raises:
        CommandFailed: it ended with another code, or took too long.
    """
    shown = " ".join([*(f"{key}={value}" for key, value in (env or {}).items()), command])
    display(Code(f"$ {shown}", language="console"))
    began, line = time.monotonic(), Line()
    process = subprocess.Popen(
        _arguments(command), cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    output: deque[str] = deque()
    with Watch(lambda: [process.pid], timeout_s) as watch:
        for text in io.TextIOWrapper(process.stdout, encoding="utf-8", errors="replace", newline=""):
            said = CONTROL.sub("", text).rstrip("\r\n")
            # A progress bar rewrites its line by carriage returns: what stands there at last is what it wrote.
            if not text.endswith("\r"):
                output.append(said)
            if said:
                line.show(f"{time.monotonic() - began:5.0f} s  {said[:150]}")
        ended = process.wait()
    done = Done(shown, "\n".join(output), time.monotonic() - began, watch.peak / BYTES_PER_MB)
    if ended != code:
        why = f"was ended after {timeout_s:.0f} s" if watch.expired else f"ended with exit code {ended}, not {code}"
        line.show(f"{why} after {done.seconds:.0f} s", last=True)
        raise CommandFailed(f"The command {why}. Its last lines:\n{done.tail()}")
    line.show(f"done in {done.seconds:.1f} s, {done.peak_mb:,.0f} MB at most", last=True)
    return done


def quoted(path: PurePath) -> str:
    """A path as one word of a command, whatever stands in it: forward slashes, since a command's backslashes escape."""
    return shlex.quote(path.as_posix())


def _arguments(command: str) -> list[str]:
    """The words of a command, its program found beside this interpreter."""
    program, *rest = shlex.split(command)
    known = {"python": [sys.executable], "torchrun": [sys.executable, "-m", "torch.distributed.run"]}
    return [*known.get(program, [program]), *rest]
