"""Commands of the bundle in processes that have their imports already: those alone cost about 10 s of CPU each.

A process is forked from a server that has imported monai.bundle and nothing of this project; what it runs is what
``python -m MODULE`` would. Some tests start true interpreters all the same, so that what a user types is typed too.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = Path(sys.prefix)


def run_forked(
    module: str, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], seconds: float = 300
) -> subprocess.CompletedProcess[str]:
    """``python -m MODULE ARGUMENTS``, or ``python FILE.py ARGUMENTS``, in a folder and with these variables added."""
    if sys.platform == "win32":
        target = [module] if module.endswith(".py") else ["-m", module]
        command = [sys.executable, *target, *arguments]
        return subprocess.run(
            command, cwd=cwd, env=os.environ | dict(env), capture_output=True, text=True, timeout=seconds
        )
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["monai.bundle"])
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("out", "err")]
        variables = dict(os.environ | dict(env))
        process = context.Process(target=_run, args=(module, list(arguments), str(cwd), variables, *files))
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
        out, err = (Path(file).read_text(encoding="utf-8", errors="replace") for file in files)
    return subprocess.CompletedProcess([module, *arguments], process.exitcode, out, err)


def _run(module: str, arguments: list[str], cwd: str, variables: dict[str, str], out: str, err: str) -> None:
    """In the new process: become the command."""
    for number, file in enumerate((out, err), start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    sys.argv = [module, *arguments]
    # The tests' own paths would lend the command this project's scripts.
    sys.path[:] = [path for path in sys.path if not _is_project(Path(path))]
    try:
        if module.endswith(".py"):
            sys.path.insert(0, str(Path(module).parent))
            runpy.run_path(module, run_name="__main__")
        else:
            sys.path.insert(0, "")
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Exception:
        # multiprocessing would print a traceback of its own; an interpreter asks the hook.
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
    finally:
        sys.stdout.flush()


def _is_project(path: Path) -> bool:
    """Whether a folder is the project's own, its virtual environment aside."""
    return SITE not in (path, *path.parents) and ROOT in (path, *path.parents)
