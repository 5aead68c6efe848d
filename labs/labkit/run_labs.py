"""Run labs as CI does: ``python -m labs.labkit.run_labs [NUMBER ...] [--data WHERE] [--site DIR]``.

Each lab goes from its source through papermill to a page of HTML, two at a time; the exit code is 1 where one failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
from scripts.errors import one_sentence

from .execution import Outcome, execute
from .header import Measured, measured, record, title
from .notebooks import read_lab, sources
from .parameters import chosen, parsed
from .project import LABS, WORK_VARIABLE
from .site import write_index, write_page

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
        InputError: no lab has such a parameter.
    """
    site.mkdir(parents=True, exist_ok=True)
    labs = {file.name[:2]: read_lab(file) for file in files}
    inputs = {number: site / f"{file.stem}.input.ipynb" for number, file in zip(labs, files, strict=True)}
    for number, lab in labs.items():
        nbformat.write(lab, inputs[number])
    takes = chosen(inputs, values)
    times = measured()
    # The longest first, or it runs alone at the end.
    order = sorted(files, key=lambda file: -times[file.name[:2]].seconds if file.name[:2] in times else 0)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    outcomes = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _prepare, (str(work), threads)) as pool:
        running = {
            pool.submit(_run_one, file.name[:2], inputs[file.name[:2]], file.stem, site, takes[file.name[:2]]): file
            for file in order
        }
        for future in as_completed(running):
            outcome = future.result()
            outcomes[outcome.number] = outcome
            sys.stdout.write(_told(outcome, running[future].stem))
            sys.stdout.flush()
    every = [(file, title(read_lab(file).cells[0].source)) for file in sources()]
    write_index(site, every, outcomes.values())
    return [outcomes[number] for number in labs]


def _prepare(work: str, threads: int) -> None:
    """In a new worker: what the kernels that it starts inherit."""
    os.environ.update({WORK_VARIABLE: work, "OMP_NUM_THREADS": str(threads)})


def _run_one(number: str, notebook: Path, stem: str, site: Path, values: Mapping[str, Any]) -> Outcome:
    target = site / f"{stem}.ipynb"
    outcome = execute(number, notebook, target, values)
    notebook.unlink()
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
