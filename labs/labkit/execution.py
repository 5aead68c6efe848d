"""One lab, run by papermill: its notebook with outputs, how long it took, how much memory, and what went wrong."""

from __future__ import annotations

import logging
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from scripts.files import write_aside

from .commands import CONTROL
from .outputs import problems
from .processes import BYTES_PER_MB, Watch, children
from .project import LABS

# No lab takes longer as a whole; a single cell never should.
CELL_TIMEOUT_S = 600


@dataclass(frozen=True)
class Outcome:
    """How a lab ended.

    Attributes:
        number: the lab's, such as ``"03"``.
        seconds: wall time, the kernel's start included.
        peak_mb: most memory at once, of kernel and commands, in MB (10^6 bytes).
        problems: a sentence each; none where all is well.
        failure: the failed cell and its traceback, or nothing.
    """

    number: str
    seconds: float
    peak_mb: float
    problems: tuple[str, ...] = field(default=())
    failure: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ran to its end and showed what it had to."""
        return not self.problems and not self.failure


def execute(number: str, notebook: Path, target: Path, values: Mapping[str, Any]) -> Outcome:
    """Run a notebook in the labs' folder and judge its outputs.

    Args:
        number: the lab's.
        notebook: what to run.
        target: the executed notebook; up to the failed cell where one fails.
        values: parameters.
    """
    logging.getLogger("papermill").setLevel(logging.ERROR)
    began = time.monotonic()
    # papermill writes after each cell, which an interrupted run would leave half done.
    with tempfile.TemporaryDirectory(prefix="lab-") as passing:
        running = Path(passing) / target.name
        with Watch(children) as watch:
            failure = _failure(notebook, running, values)
        seconds = time.monotonic() - began
        executed = nbformat.read(running, as_version=4) if running.is_file() else NotebookNode(cells=[], metadata={})
    _forget_the_machine(executed)
    with write_aside(target) as aside:
        nbformat.write(executed, aside)
    found = () if failure else tuple(problems(executed, seconds))
    return Outcome(number, seconds, watch.peak / BYTES_PER_MB, found, failure)


def _failure(notebook: Path, target: Path, values: Mapping[str, Any]) -> str:
    """Run a notebook by papermill; returns the failed cell and its traceback, or nothing."""
    try:
        papermill.execute_notebook(
            str(notebook), str(target), parameters=dict(values), kernel_name="python3", cwd=str(LABS),
            progress_bar=False, execution_timeout=CELL_TIMEOUT_S,
        )  # fmt: skip
    except PapermillExecutionError as error:
        return f"cell {error.exec_count}:\n{error.source}\n\n" + CONTROL.sub("", "\n".join(error.traceback))
    except Exception:
        # A dead kernel or a cell that never ends is the lab's failure, not the runner's.
        return traceback.format_exc(limit=3)
    return ""


def _forget_the_machine(notebook: NotebookNode) -> None:
    """Remove what papermill keeps of paths and parameters, and widget states, which no exported page can show."""
    for name in ("papermill", "widgets"):
        notebook.metadata.pop(name, None)
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
