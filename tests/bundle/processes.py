"""Several real processes that do one job, each started a moment after the other from one that has its imports."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from forked import context

SECONDS = 180
# Ports of groups that processes may make after their first, and the variable that names those that are left.
GROUPS, SPARE_PORTS = 2, "SPARE_PORTS"


def launched(rank: int, world_size: int, port: int, launcher: str = "torchrun") -> dict[str, str]:
    """The variables of one of several processes on this machine."""
    if launcher == "torchrun":
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    else:
        names = tuple(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "LOCAL_RANK", "SIZE", "LOCAL_SIZE"))
    values = map(str, (rank, rank, world_size, world_size))
    return dict(zip(names, values, strict=True)) | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on."""
    with ExitStack() as stack:
        free = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in free:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in free]


def meet_anew() -> None:
    """In each process: the group that is made next meets on another port, as the last one's may not be free yet."""
    os.environ["MASTER_PORT"], _, os.environ[SPARE_PORTS] = os.environ[SPARE_PORTS].partition(" ")


def start(
    function: Callable[..., None], world_size: int, *arguments: Any, env: dict[str, str] | None = None,
    launcher: str = "torchrun",
) -> list[multiprocessing.process.BaseProcess]:  # fmt: skip
    """Start ``function(*arguments)`` in each of ``world_size`` processes, with the launcher's variables and ``env``."""
    port, *spare = free_ports(1 + GROUPS)
    shared = {"BRATS_CACHE_DIR": os.environ["BRATS_CACHE_DIR"], SPARE_PORTS: " ".join(map(str, spare))} | (env or {})
    made = context()
    jobs = [
        made.Process(
            target=_child, args=(launched(rank, world_size, port, launcher) | shared, function, arguments), daemon=True
        )
        for rank in range(world_size)
    ]
    for job in jobs:
        job.start()
    return jobs


def together(function: Callable[..., None], world_size: int, *arguments: Any, **options: Any) -> None:
    """:func:`start` them, and wait until all have ended well."""
    assert wait(start(function, world_size, *arguments, **options)) == [0] * world_size


def wait(jobs: list[multiprocessing.process.BaseProcess], seconds: float = SECONDS) -> list[int | None]:
    """Exit codes, None of a process that was still running after ``seconds`` and was killed."""
    end = time.monotonic() + seconds
    for job in jobs:
        job.join(max(0.0, end - time.monotonic()))
    codes = [job.exitcode for job in jobs]
    for job in jobs:
        if job.is_alive():
            job.kill()
            job.join()
    return codes


def _child(env: dict[str, str], function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ |= env
    sys.path[:0] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    function(*arguments)
