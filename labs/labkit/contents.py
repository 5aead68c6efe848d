"""The table of contents in labs/README.md: each lab with the time and memory measured last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from scripts.errors import InputError

from .costs import REGION, price
from .header import STUDIO, Measured, measured, title

BEGIN, END = "<!-- contents -->", "<!-- end of contents -->"
_SECONDS_PER_HOUR = 3600


def contents(labs: Sequence[Path]) -> str:
    """The table in Markdown.

    Args:
        labs: the sources, in order.
    """
    times = measured()
    lines = ["| lab | 2 cores | memory |", "|---|---:|---:|"]
    for file in labs:
        name = title(next(line[2:] for line in file.read_text("utf-8").splitlines() if line.startswith("# # ")))
        cells = ["not measured", ""] if file.name[:2] not in times else _figures(times[file.name[:2]])
        lines.append(f"| [{name}]({file.stem}.ipynb) | {cells[0]} | {cells[1]} |")
    seconds = sum(run.seconds for run in times.values())
    cost = seconds / _SECONDS_PER_HOUR * price(STUDIO)
    lines += ["", f"All of them: {seconds / 60:.0f} minutes of computing; on an {STUDIO} ({REGION}), ${cost:.2f}."]
    return "\n".join(lines)


def renewed(readme: str, labs: Sequence[Path]) -> str:
    """A README with its table made anew.

    Raises:
        InputError: it has no place for the table.
    """
    if BEGIN not in readme or END not in readme:
        raise InputError(f"labs/README.md lacks the lines {BEGIN} and {END}; put them around its table of contents.")
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{contents(labs)}\n{END}", readme, flags=re.DOTALL)


def _figures(run: Measured) -> list[str]:
    return [f"{run.seconds:.0f} s", f"{run.peak_mb / 1000:.1f} GB"]
