"""Run labs as CI does: ``python -m labs.labkit.run_labs [NUMBER ...] [--data WHERE] [--site DIR]``.

Each lab goes from its source through papermill to a page of HTML, two at a time; the exit code is 1 where one failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
from scripts.errors import InputError, one_sentence
from scripts.files import refuse_unwritable

from .execution import Outcome, execute
from .header import Measured, measured, record, title
from .notebooks import read_lab, sources
from .parameters import chosen, parsed
from .project import LABS, WORK_VARIABLE
from .site import INDEX, PAGES, write_index, write_page
from .where import from_here

SITE = LABS / "_site"
JOBS = 2


def run_labs(
    files: Sequence[Path], values: Mapping[str, Any], site: Path, work: Path, jobs: int = JOBS
) -> list[Outcome]:
    """Run labs in parallel and write their pages.

    Args:
        files: sources.
        values: parameters for all labs that have them.
        site: folder of the executed notebooks and the pages.
        work: folder that the labs write to.
        jobs: labs at a time; the processor's cores are shared out among them.

    Returns:
        An outcome a lab, in the order of ``files``.

    Raises:
        InputError: no lab has such a parameter, a folder is not there or cannot be written to, or ``jobs`` is below 1.
    """
    _refuse_unusable(files, site, work, jobs)
    values = from_here(values)
    # Not in the site: an interrupted run would leave them among the pages.
    with tempfile.TemporaryDirectory(prefix="lab-inputs-") as passing:
        inputs = {file.name[:2]: Path(passing) / f"{file.stem}.ipynb" for file in files}
        for file in files:
            nbformat.write(read_lab(file), inputs[file.name[:2]])
        takes = chosen(inputs, values)
        site.mkdir(parents=True, exist_ok=True)
        outcomes = _run_all(files, inputs, takes, site, work, jobs)
    every = [(file, title(read_lab(file).cells[0].source)) for file in sources()]
    write_index(site, every, outcomes.values())
    return [outcomes[file.name[:2]] for file in files]


def _refuse_unusable(files: Sequence[Path], site: Path, work: Path, jobs: int) -> None:
    """Refuse what would end a run after minutes, or in the middle of it."""
    if jobs < 1:
        raise InputError(f"--jobs is {jobs}, 1 or more was wanted; give how many labs run at a time, such as {JOBS}.")
    pages = [INDEX, *(f"{Path(page).stem}.html" for page in PAGES)]
    refuse_unwritable(site, [*pages, *(f"{file.stem}{suffix}" for file in files for suffix in (".ipynb", ".html"))])
    refuse_unwritable(work, ())


def _run_all(
    files: Sequence[Path],
    inputs: Mapping[str, Path],
    takes: Mapping[str, Mapping[str, Any]],
    site: Path,
    work: Path,
    jobs: int,
) -> dict[str, Outcome]:
    """Run the labs, tell each as it ends, and return an outcome a number."""
    times = measured()
    # The longest first, or it runs alone at the end.
    order = sorted(files, key=lambda file: -times[file.name[:2]].seconds if file.name[:2] in times else 0)
    # A lab runs in another folder.
    settings = str(work.expanduser().resolve()), max(1, (os.cpu_count() or 1) // jobs)
    waiting, outcomes = deque(order), {}
    running: dict[Future[Outcome], Path] = {}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _prepare, settings) as pool:
        while waiting or running:
            # None is handed over early: the pool would run it to its end after an interruption.
            while waiting and len(running) < jobs:
                file = waiting.popleft()
                number = file.name[:2]
                running[pool.submit(_run_one, number, inputs[number], file.stem, site, takes[number])] = file
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                outcome = future.result()
                outcomes[outcome.number] = outcome
                sys.stdout.write(_told(outcome, running.pop(future).stem))
                sys.stdout.flush()
    return outcomes


def _prepare(work: str, threads: int) -> None:
    """In a new worker: what the kernels that it starts inherit."""
    os.environ.update({WORK_VARIABLE: work, "OMP_NUM_THREADS": str(threads)})


def _run_one(number: str, notebook: Path, stem: str, site: Path, values: Mapping[str, Any]) -> Outcome:
    target = site / f"{stem}.ipynb"
    outcome = execute(number, notebook, target, values)
    write_page(nbformat.read(target, as_version=4), site / f"{stem}.html")
    return outcome


def _told(outcome: Outcome, name: str) -> str:
    state = "ran" if outcome.ok else "FAILED"
    lines = [f"{name:<36} {outcome.seconds:6.1f} s  {outcome.peak_mb:7,.0f} MB  {state}"]
    lines += [f"    {problem}" for problem in outcome.problems]
    lines += [f"    {line}" for line in outcome.failure.splitlines()]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run labs and return 0 where all of them ran and showed what they had to."""
    parser = argparse.ArgumentParser(prog="python -m labs.labkit.run_labs", description=__doc__.splitlines()[0])
    parser.add_argument("labs", nargs="*", metavar="NUMBER", help="labs to run, such as 00 07; all by default")
    parser.add_argument("--data", help="the labs' DATA: embedded, a folder, or s3://bucket/prefix")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other parameters of the labs")
    parser.add_argument("--site", type=Path, default=SITE, help="folder of the pages (default %(default)s)")
    parser.add_argument("--work", type=Path, help="folder that the labs write to; a new one by default, removed after")
    parser.add_argument("--jobs", type=int, default=JOBS, help="labs at a time (default %(default)s)")
    parser.add_argument("--record", action="store_true", help="record times and memory; use it with --jobs 1")
    arguments = parser.parse_args(argv)

    def run() -> int:
        values = parsed(arguments.set) | ({"DATA": arguments.data} if arguments.data else {})
        with tempfile.TemporaryDirectory(prefix="labs-") as passing:
            outcomes = run_labs(
                sources(arguments.labs), values, arguments.site, arguments.work or Path(passing), arguments.jobs
            )
        if arguments.record:
            today = date.today().isoformat()
            record({one.number: Measured(round(one.seconds), round(one.peak_mb), today) for one in outcomes if one.ok})
        sys.stdout.write(f"{arguments.site / 'index.html'}\n")
        return 0 if all(outcome.ok for outcome in outcomes) else 1

    return one_sentence(run)


if __name__ == "__main__":
    sys.exit(main())
