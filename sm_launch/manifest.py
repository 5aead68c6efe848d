"""The run manifest: all that a run asked AWS to make, noted before it was asked, so that ``down`` misses nothing.

A file a run, in $SM_LAUNCH_HOME (default ~/.sm-launch); ``apply`` also leaves a copy beside the run's files in S3.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.files import write_aside

logger = logging.getLogger(__name__)

HOME = "SM_LAUNCH_HOME"
FORMAT = 1
# States of an entry. A thing that was asked for may exist even where the answer never came.
ASKED, MADE, GONE = "asked", "made", "gone"


@dataclass
class Entry:
    """One thing that a run made, or may have made.

    Attributes:
        kind: as in ``resources.py``.
        name: in the plan.
        state: asked, made or gone.
        facts: what ``down``, ``follow`` and ``ls`` need of the request and of AWS's answer: ids, types, counts.
    """

    kind: str
    name: str
    state: str = ASKED
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Manifest:
    """A run.

    Attributes:
        run: its id.
        region: AWS region.
        bucket: of its files.
        folder: key prefix of its files in the bucket.
        profile: standard or phi.
        created: ISO time in UTC.
        account: AWS account that it was made in; empty where an earlier version made it.
        entries: in the order in which they were asked for.
        copies: s3://BUCKET/PREFIX/ of folders that the run copied to S3; runs share them, so ``down`` leaves them.
        path: the file; None while it is only in memory.
    """

    run: str
    region: str
    bucket: str
    folder: str
    profile: str
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    entries: list[Entry] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    account: str = ""
    path: Path | None = None

    def entry(self, kind: str, name: str) -> Entry:
        """The entry of a thing, added if it is not there."""
        for one in self.entries:
            if (one.kind, one.name) == (kind, name):
                return one
        self.entries.append(Entry(kind, name))
        return self.entries[-1]

    def text(self) -> str:
        """The manifest as JSON."""
        content = {"format": FORMAT, **asdict(self)}
        del content["path"]
        return json.dumps(content, indent=2, default=str) + "\n"

    def save(self) -> None:
        """Write it, whole or not at all."""
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_aside(self.path, self.text().encode())
        except OSError as error:
            raise LaunchError(
                f"{self.path}: cannot be written ({error.strerror}), so what the run has is not noted; free some "
                f"space, or set {HOME} to a folder that can."
            ) from error


def home() -> Path:
    """The folder of the manifests."""
    return Path(os.environ.get(HOME) or Path.home() / ".sm-launch")


def path_of(run: str) -> Path:
    """The file of a run."""
    return home() / f"{run}.json"


def load(run: str) -> Manifest:
    """The manifest of a run.

    Args:
        run: its id, or the path of a manifest file.

    Raises:
        LaunchError: there is none, or it is broken.
    """
    file = Path(run) if run.endswith(".json") else path_of(run)
    try:
        return parse(json.loads(file.read_text(encoding="utf-8")), file)
    except FileNotFoundError as error:
        known = ", ".join(sorted(one.stem for one in home().glob("*.json"))) or "none yet"
        raise LaunchError(f"{file}: there is no such manifest; runs of this machine: {known}.") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LaunchError(f"{file}: is no run manifest ({error}); take the copy in the run's folder in S3.") from error


def parse(content: Mapping[str, Any], path: Path | None = None) -> Manifest:
    """A manifest from its JSON.

    Raises:
        KeyError, TypeError, ValueError: it is of another form.
    """
    values = dict(content)
    if values.pop("format") != FORMAT:
        raise ValueError(f"format {content['format']}, wanted {FORMAT}")
    entries = [Entry(**entry) for entry in values.pop("entries")]
    return Manifest(**values, entries=entries, path=path)


def all_runs() -> Iterator[Manifest]:
    """Every readable manifest of this machine, oldest first; one that is broken is noted, and hides no other."""
    found = []
    for file in home().glob("*.json"):
        try:
            found.append(load(str(file)))
        except LaunchError as error:
            logger.warning("%s", error)
    return iter(sorted(found, key=lambda manifest: manifest.created))
