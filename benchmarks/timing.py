"""How every benchmark here measures: all sides in one process, in turns, and the ratio of their medians.

The unit is process CPU time on one thread. Wall time on a shared or throttled machine says more about its neighbours;
it is recorded beside it. The first rounds warm caches, allocators and compilers and are dropped.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
# The benchmarks are run from the repository's root; what they measure is the bundle, which is a folder, not a package,
# and labs, which is installed nowhere.
sys.path[:0] = [str(ROOT / "bundle"), str(ROOT)]


@dataclass
class Timing:
    """CPU and wall seconds of one side, a value a round."""

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)

    @property
    def median_cpu_s(self) -> float:
        """Median CPU seconds of a round."""
        return statistics.median(self.cpu_s)


def interleave(
    sides: Mapping[str, Callable[[], Any]],
    rounds: int,
    warmup: int = 1,
    repeats: Mapping[str, int] | None = None,
    units: Mapping[str, int] | None = None,
) -> dict[str, Timing]:
    """Time every side once a round, in turns.

    Args:
        sides: a function a side; what it returns is thrown away.
        rounds: measured rounds, after ``warmup`` unmeasured ones.
        repeats: calls of a side in a round, 1 where not given; the times kept are those of one call.
        units: what a call of a side gets done, 1 where not given; the times kept are those of one unit.
    """
    timings = {name: Timing() for name in sides}
    for turn in range(warmup + rounds):
        for name, work in sides.items():
            calls, done = (repeats or {}).get(name, 1), (units or {}).get(name, 1)
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(calls):
                work()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if turn >= warmup:
                timings[name].cpu_s.append(cpu / calls / done)
                timings[name].wall_s.append(wall / calls / done)
    return timings


class Ratio(float):
    """How many times less one side takes, by medians; with the smallest and largest ratio of single rounds."""

    low: float
    high: float

    def __new__(cls, slow: Sequence[float], fast: Sequence[float]) -> Ratio:
        """Of two sides' values, a value a round."""
        ratio = super().__new__(cls, statistics.median(slow) / statistics.median(fast))
        rounds = [a / b for a, b in zip(slow, fast, strict=True)]
        ratio.low, ratio.high = min(rounds), max(rounds)
        return ratio


def ratio(slow: Timing, fast: Timing) -> Ratio:
    """How many times less CPU time ``fast`` takes."""
    return Ratio(slow.cpu_s, fast.cpu_s)


def table(timings: Mapping[str, Timing]) -> str:
    """CPU milliseconds of every side (median, min, max) and the median wall milliseconds, a line a side."""
    width = max(map(len, timings))
    lines = [f"{'side':<{width}}  {'CPU ms':>10}  {'min':>10}  {'max':>10}  {'wall ms':>10}"]
    for name, timing in timings.items():
        values = (timing.median_cpu_s, min(timing.cpu_s), max(timing.cpu_s), statistics.median(timing.wall_s))
        lines.append(f"{name:<{width}}  " + "  ".join(f"{1000 * value:10.2f}" for value in values))
    return "\n".join(lines)


def arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """Parser of the options that every benchmark takes: ``--rounds`` and ``--json``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="measured rounds (default %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    return parser


def resident_mb() -> float:
    """Memory of this process that is resident, files mapped into it included (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def machine() -> str:
    """Processor, its visible cores, and the versions that matter, in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = f"{models[0]} x{len(models)}" if models else model
    return f"{model}, Python {platform.python_version()}, PyTorch {torch.__version__}"


def finish(
    ratios: Mapping[str, float],
    timings: Mapping[str, Timing],
    checks: Mapping[str, Any],
    json_file: Path | None,
    **more: Any,
) -> None:
    """Print the table, the checks' figures, and the ratios last, as ``RATIO name value``; save them where asked.

    ``more`` is what else the file shall hold.
    """
    out = sys.stdout.write
    if timings:
        out(table(timings) + "\n")
    for name, value in checks.items():
        out(f"check {name}: {value}\n")
    spans = {name: (getattr(value, "low", None), getattr(value, "high", None)) for name, value in ratios.items()}
    for name, value in ratios.items():
        low, high = spans[name]
        out(f"RATIO {name} {float(value):.2f}" + (f" (rounds {low:.2f} to {high:.2f})\n" if low else "\n"))
    if json_file is None:
        return
    script = sys.modules["__main__"]
    result = {
        "claim": " ".join((script.__doc__ or "").split("\n\n")[0].removeprefix("Claim: ").split()),
        "command": f"python benchmarks/{Path(getattr(script, '__file__', None) or '').name}",
        "ratios": {
            name: {"median": float(value), "min": spans[name][0], "max": spans[name][1]}
            for name, value in ratios.items()
        },
        "checks": dict(checks),
        "cpu_s": {name: timing.cpu_s for name, timing in timings.items()},
        "wall_s": {name: timing.wall_s for name, timing in timings.items()},
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        **more,
    }
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(result, indent=1, default=str) + "\n", encoding="utf-8")
