"""Compiled kernels: C sources of ``scripts/kernels``, built once with the machine's own compiler, called by ctypes.

A machine without a C compiler runs the same code in PyTorch, some times slower; nothing else depends on it. ctypes
lets go of Python's lock during a call, so a kernel on a background thread does not hold up the training.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

from scripts.errors import InputError
from scripts.files import cache_dir, write_aside

logger = logging.getLogger(__name__)

SOURCES = Path(__file__).with_name("kernels")
COMPILERS = ("cc", "gcc", "clang")
# Set to 0 to do without, for example to compare.
SWITCH = "BRATS_COMPILED"
# Neither errno nor floating-point traps are read; both keep a compiler from vectorising. Results stay IEEE's otherwise.
FLAGS = ("-O3", "-fPIC", "-shared", "-std=c11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")


@functools.cache
def library(name: str) -> ctypes.CDLL | None:
    """The library built from ``kernels/<name>.c``, or None where none can be built; the reason is logged once."""
    if os.environ.get(SWITCH) == "0":
        return None
    compiler = shlex.split(os.environ.get("CC", "")) or [path for path in map(shutil.which, COMPILERS) if path][:1]
    if not compiler or platform.system() == "Windows":
        logger.info("%s: no C compiler here, PyTorch does its work; batches take some times longer to make", name)
        return None
    source = SOURCES / f"{name}.c"
    target = cache_dir() / "kernels" / f"{name}-{_fingerprint(source, compiler)}.so"
    try:
        if not target.is_file():
            _build(source, target, compiler)
        return ctypes.CDLL(str(target))
    except (OSError, InputError, subprocess.SubprocessError) as error:
        logger.warning("%s: cannot be built (%s); PyTorch does its work, some times slower", source.name, error)
        return None


def _build(source: Path, target: Path, compiler: list[str]) -> None:
    with write_aside(target) as aside:
        command = [*compiler, *FLAGS, "-march=native", "-o", str(aside), str(source), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    logger.info("built %s", target)


def _fingerprint(source: Path, compiler: list[str]) -> str:
    # A home folder may be shared by machines whose processors differ: what one builds for itself another cannot run.
    cpu = [platform.machine(), platform.processor(), *compiler]
    info = Path("/proc/cpuinfo")
    if info.is_file():
        cpu += sorted({line for line in info.read_text().splitlines() if line.startswith(("model name", "flags"))})
    return hashlib.sha256("\n".join([source.read_text(encoding="utf-8"), *FLAGS, *cpu]).encode()).hexdigest()[:16]
