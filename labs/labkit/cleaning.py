"""Lab 11: what lies on this disk, removing it and looking again; and what goes on billing in an account."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.files import cache_dir

from sm_launch.cost import HOURS_PER_DAY
from sm_launch.manifest import GONE, all_runs, home
from sm_launch.prices import HOURS_PER_MONTH, TablePrices
from sm_launch.resources import KINDS

from .checks import answered, require, right
from .costs import REGION, TOLERANCE, price
from .project import BUNDLE, WORK

# AWS's published notebooks: 2,400 GiB of SSD, PERSISTENT_1 with 200 MB/s a TiB; the price table has today's nearest.
PUBLISHED_FSX_GIB, FSX_KIND, FSX_THROUGHPUT = 2400, "PERSISTENT_2", 250
AVAILABLE = "AVAILABLE"
# Lifecycle of a file system (FSx API reference, FileSystem) and whether a training may read it then.
LIFECYCLES = {"CREATING": False, AVAILABLE: True, "FAILED": False, "DELETING": False, "MISCONFIGURED": False}


@dataclass(frozen=True)
class Place:
    """What lies below a folder.

    Attributes:
        path: the folder.
        files: regular files in it.
        links: symbolic links in it, which are not followed.
        size: bytes of the files.
    """

    path: Path
    files: int
    links: int
    size: int

    def row(self, name: str | None = None) -> list[Any]:
        """For a table: name, files, links and MB."""
        return [name or self.path.name, self.files, self.links, f"{self.size / 1e6:.1f} MB"]


def look(folder: Path) -> Place:
    """Count what lies below a folder; one that is absent holds nothing, and what vanishes meanwhile is not counted."""
    files = links = size = 0
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(root, name)
            if os.path.islink(path):
                links += 1
            elif name in names:
                try:
                    size += os.stat(path).st_size
                    files += 1
                except FileNotFoundError:
                    continue
    return Place(folder, files, links, size)


def inventory(folder: Path = WORK) -> list[Place]:
    """The folders right below a folder, by name, each with what it holds."""
    if not folder.is_dir():
        return []
    return [look(path) for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink()]


def elsewhere() -> list[tuple[str, Place, str]]:
    """What the labs and the bundle leave outside the work folder: what it is, what it holds, what it is good for."""
    return [
        (f"cache: {cache_dir()}", look(cache_dir()), "phantom and results of checks, made again when missing"),
        ("bundle/runs", look(BUNDLE / "runs"), "run folders of trainings that you started by hand"),
        ("bundle/models", look(BUNDLE / "models"), "weights of such trainings"),
        ("manifests of runs", look(home()), "keep them until 'down' has said that nothing is left"),
    ]


def remove(folder: Path, within: Path = WORK) -> Place:
    """Delete a folder of the labs with all that is in it; links go, what they point at stays.

    Args:
        folder: to delete.
        within: the folder that it must lie in.

    Returns:
        What it held.

    Raises:
        InputError: it lies elsewhere, or something of it could not be deleted.
    """
    place, root = folder.resolve(), within.resolve()
    if folder.is_symlink() or root not in place.parents:
        raise InputError(f"{folder}: does not lie in {within}; delete it yourself, if it is yours.")
    held = look(folder)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise InputError(f"{folder}: could not be deleted whole; look at what is left, {look(folder).files} files.")
    return held


def runs_on_record() -> list[list[Any]]:
    """Runs that this machine launched, by their manifests, without asking AWS: run, made, things that are not gone."""
    return [
        [
            run.run,
            run.created,
            ", ".join(f"{one.kind} {one.name}" for one in run.entries if one.state != GONE) or "none",
        ]
        for run in all_runs()
    ]


def order_of_removal() -> list[list[str]]:
    """Kinds of things that a run makes, in the order in which ``down`` removes them, and what each costs meanwhile."""
    return [
        [name, "deleted", kind.costs or "nothing"]
        if kind.delete
        else [name, "stopped; its record stays", "its machines while it runs"]
        for name, kind in KINDS.items()
    ]


def fsx_month(gib: int = PUBLISHED_FSX_GIB, region: str = REGION) -> float:
    """USD a month of a file system of the published size, at the nearest price that the table has."""
    return gib * fsx_price(region)


def fsx_price(region: str = REGION) -> float:
    """USD of a GB of FSx for Lustre a month, PERSISTENT_2 with 250 MB/s a TiB.

    Raises:
        InputError: the table has no price for the region.
    """
    found = TablePrices(region).lustre_gb_month(FSX_KIND, FSX_THROUGHPUT)
    if found is None:
        raise InputError(f"{region}: no price of FSx for Lustre is known; see aws.amazon.com/fsx/lustre/pricing.")
    return found


def leftovers(region: str = REGION) -> dict[str, tuple[str, float]]:
    """What is usually forgotten: name to arithmetic and USD a day."""
    s3 = TablePrices(region).s3_gb_month()
    endpoint, notebook, pool = "ml.g5.xlarge", "ml.t3.medium", "ml.p4d.24xlarge"
    a_day = f"x {HOURS_PER_DAY} h / {HOURS_PER_MONTH} h"
    return {
        "endpoint": (
            f"1 x {endpoint}: ${price(endpoint, region)}/h x {HOURS_PER_DAY} h",
            price(endpoint, region) * HOURS_PER_DAY,
        ),
        "file system": (
            f"{PUBLISHED_FSX_GIB} GiB x ${fsx_price(region)} a month {a_day}",
            fsx_month(region=region) / HOURS_PER_MONTH * HOURS_PER_DAY,
        ),
        "notebook": (
            f"1 x {notebook}: ${price(notebook, region)}/h x {HOURS_PER_DAY} h",
            price(notebook, region) * HOURS_PER_DAY,
        ),
        "S3": (f"450 GB x ${s3} a month {a_day}", 450 * s3 / HOURS_PER_MONTH * HOURS_PER_DAY),
        "warm pool": (
            f"2 x {pool}: ${price(pool, region)}/h, for 1 h at most",
            2 * price(pool, region),
        ),
    }


def check_may_train(may_train: Callable[[str], Any]) -> None:
    """Exercise: a wait for a file system that does not take a failure for success.

    Args:
        may_train: takes a Lifecycle, returns whether a training may begin.

    Raises:
        NotYet: it returns nothing, or the wrong answer for a state.
    """
    said = {state: may_train(state) for state in LIFECYCLES}
    answered(next(iter(said.values())), "may_train")
    require(None not in said.values(), "may_train returns nothing yet; write its body.")
    require(bool(said[AVAILABLE]), "The file system is ready in one of these states, and yours waits for ever.")
    early = [state for state, fits in LIFECYCLES.items() if said[state] and not fits]
    require(not early, f"Yours trains on a file system that is {', '.join(early)}. Name the good state instead.")
    right("Name the one state that is good: 'no longer CREATING' takes FAILED for ready, and the job fails, billed.")


def check_month(dollars: Any, region: str = REGION) -> None:
    """Exercise: what the published file system costs in a month in which nobody reads it.

    Args:
        dollars: the answer.
        region: whose prices.

    Raises:
        NotYet: there is no answer, or it is another sum.
    """
    month = answered(dollars, "month")
    require(isinstance(month, int | float) and not isinstance(month, bool), "Write a number of dollars.")
    each, whole = fsx_price(region), fsx_month(region=region)
    require(not math.isclose(month, each, rel_tol=TOLERANCE), "That is the price of one GB. How many are there?")
    require(math.isclose(month, whole, rel_tol=TOLERANCE), "Capacity times the price of a GB a month; used or not.")
    right(f"{PUBLISHED_FSX_GIB} x ${each} = ${whole:,.0f} a month, and no cell of the samples deletes it.")
