"""Processes that have their imports already: those of monai.bundle alone cost about 10 s of CPU each.

They are forked from a server that has imported what the bundle's commands import and nothing of this project; a command
that runs in one is what ``python -m MODULE`` would run. Some tests start true interpreters all the same, so that what a
user types is typed too.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SITE = Path(sys.prefix)
# The first optimiser imports torch._dynamo, the first figure that backend.
PRELOAD = [
    "monai.bundle", "torch._dynamo", "torch.distributed.fsdp", "torch.distributed.launcher.api",
    "matplotlib.backends.backend_agg",
]  # fmt: skip
# Variables for true interpreters, other than those of the tests of tracking: see lean/sitecustomize.py.
LEAN = {"PYTHONPATH": str(Path(__file__).with_name("lean"))}


def context() -> Any:
    """The context of multiprocessing that starts a process with the imports done; on Windows a fresh one."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    threads = os.environ.get("OMP_NUM_THREADS")
    # Read once, by the import of torch in the server.
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = threads
    return context


def run_forked(
    module: str, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], seconds: float = 300
) -> subprocess.CompletedProcess[str]:
    """``python -m MODULE ARGUMENTS``, or ``python FILE.py ARGUMENTS``, in a folder and with these variables added.

    Of the variables that Python and PyTorch read when they start, only PYTHONDONTWRITEBYTECODE counts; one thread is
    what PyTorch has.
    """
    return run_together(module, arguments, cwd, [env], seconds)[0]


def run_together(
    module: str, arguments: Sequence[str], cwd: Path, envs: Sequence[Mapping[str, str]], seconds: float = 300
) -> list[subprocess.CompletedProcess[str]]:
    """The same command in one process for each of ``envs``, all at once, as a launcher starts its ranks."""
    if sys.platform == "win32":
        return _run_interpreters(module, arguments, cwd, envs, seconds)
    started = context()
    with tempfile.TemporaryDirectory() as folder:
        files = [[str(Path(folder, f"{name}{rank}")) for name in ("out", "err")] for rank in range(len(envs))]
        processes = [
            started.Process(target=_run, args=(module, list(arguments), str(cwd), dict(os.environ | dict(env)), *names))
            for env, names in zip(envs, files, strict=True)
        ]
        for process in processes:
            process.start()
        deadline = time.monotonic() + seconds
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        texts = [[Path(name).read_text(encoding="utf-8", errors="replace") for name in names] for names in files]
    return [
        subprocess.CompletedProcess([module, *arguments], process.exitcode, *text)
        for process, text in zip(processes, texts, strict=True)
    ]


def _run_interpreters(
    module: str, arguments: Sequence[str], cwd: Path, envs: Sequence[Mapping[str, str]], seconds: float
) -> list[subprocess.CompletedProcess[str]]:
    """The same where nothing can be forked."""
    command = [sys.executable, *([module] if module.endswith(".py") else ["-m", module]), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=cwd, env=os.environ | dict(env), **pipes) for env in envs]
    texts = [process.communicate(timeout=seconds) for process in processes]
    return [
        subprocess.CompletedProcess(command, process.returncode, *text)
        for process, text in zip(processes, texts, strict=True)
    ]


def _run(module: str, arguments: list[str], cwd: str, variables: dict[str, str], out: str, err: str) -> None:
    """In the new process: become the command."""
    for number, file in enumerate((out, err), start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(variables)
    sys.dont_write_bytecode |= bool(variables.get("PYTHONDONTWRITEBYTECODE"))
    os.chdir(cwd)
    # A fresh interpreter has the platform's way to start the loaders' workers, not the one this process came by.
    multiprocessing.set_start_method(None, force=True)
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
