"""The line under a lab's title: how long it takes, what it needs and costs, and the way to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.files import read_json, write_json

from .costs import REGION, price
from .project import LABS

TIMES = LABS / "times.json"
# Two cores and 8 GB, as where the times are measured.
STUDIO = "ml.m5.large"
CONTENTS = "README.md"
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Measured:
    """One run of a lab.

    Attributes:
        seconds: wall time on two CPU cores, the kernel's start included.
        peak_mb: most memory at once, of kernel and commands, in MB (10^6 bytes).
        date: of the run.
    """

    seconds: float
    peak_mb: float
    date: str


def measured() -> dict[str, Measured]:
    """What was recorded last, by the lab's number."""
    found = read_json(TIMES, "file of measured times") if TIMES.is_file() else {}
    return {number: Measured(**row) for number, row in found.items()}


def record(runs: dict[str, Measured]) -> None:
    """Add runs to the record; labs that did not run keep theirs."""
    rows = {number: asdict(run) for number, run in {**measured(), **runs}.items()}
    write_json(TIMES, dict(sorted(rows.items())))


def title(markdown: str) -> str:
    """A lab's name, which its first line holds: ``# 03 · How samples reach the network``."""
    return markdown.splitlines()[0].lstrip("# ")


def facts(run: Measured | None) -> str:
    """Time, memory and what a cloud notebook of that time costs."""
    if run is None:
        return "not measured yet"
    cost = run.seconds / _SECONDS_PER_HOUR * price(STUDIO)
    return (
        f"**{run.seconds:.0f} s** on 2 CPU cores, {run.peak_mb / 1000:.1f} GB of memory ({run.date}) · **cloud cost** "
        f"none here; in a notebook on {STUDIO} ({REGION}) {run.seconds:.0f} s x ${price(STUDIO)}/h = ${cost:.4f}"
    )


def header(file: Path, labs: Sequence[Path], markdown: str) -> str:
    """The first cell with its line of facts and links below the title.

    Args:
        file: the lab's source.
        labs: all sources, in order.
        markdown: the first cell.
    """
    at = list(labs).index(file)
    previous = f"[← {labs[at - 1].stem[:2]}]({labs[at - 1].stem}.ipynb) · " if at else ""
    following = f" · [{labs[at + 1].stem[:2]} →]({labs[at + 1].stem}.ipynb)" if at + 1 < len(labs) else ""
    first, _, rest = markdown.partition("\n")
    links = f"{previous}[contents]({CONTENTS}){following}"
    return f"{first}\n\n> {facts(measured().get(file.name[:2]))}\n>\n> {links}\n{rest}"
