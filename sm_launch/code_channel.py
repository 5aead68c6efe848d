"""The code channel of a job: the bundle's files as they are, the entry that starts them, and what it shall do."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.frame import Frame
from sm_launch.steps import Copy, Source, Upload

CONTAINER = Path(__file__).parent / "container"
ENTRY = "entry.py"
JOB_FILE = "job.json"
REQUIREMENTS = "requirements.txt"


def code_channel(frame: Frame, channel: str, job: Mapping[str, Any], packages: Sequence[str]) -> tuple[Upload, ...]:
    """Everything that a job finds in its code channel.

    Args:
        frame: the run.
        channel: folder of the run that becomes the channel.
        job: content of job.json, see ``container/entry.py``.
        packages: pip requirements, installed at start; none if the image has all.
    """
    uploads = [
        Upload(frame.uri(channel, "bundle", file.name), file.size, file.sha256, path=file.path)
        for file in frame.bundle.files
    ]
    for path in sorted(CONTAINER.glob("*.py")):
        uploads.append(_made(frame.uri(channel, path.name), path.read_bytes(), path))
    uploads.append(_made(frame.uri(channel, JOB_FILE), (json.dumps(job, indent=2) + "\n").encode()))
    if packages:
        uploads.append(_made(frame.uri(channel, REQUIREMENTS), "".join(f"{line}\n" for line in packages).encode()))
    return tuple(uploads)


def folder_copy(folder: str, uri: str, what: str) -> Copy:
    """A folder of this machine to be copied, its files listed but not read.

    Raises:
        LaunchError: it is absent or holds no file.
    """
    root = Path(folder)
    if not root.is_dir():
        raise LaunchError(f"{root}: there is no such folder; set {what} to a folder or to s3://BUCKET/PREFIX.")
    found = sorted(_visible_files(root))
    if not found:
        raise LaunchError(f"{root}: holds no file; set {what} to the folder that holds the cases.")
    return Copy(root, uri.rstrip("/") + "/", tuple(_source(path, root) for path in found))


def _source(path: Path, root: Path) -> Source:
    look = path.stat()
    return Source(path.relative_to(root).as_posix(), look.st_size, look.st_mtime_ns)


def _visible_files(root: Path) -> Iterator[Path]:
    """Files that are not hidden nor in hidden folders; folders that are links are gone into, once."""
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        seen.add(os.path.realpath(folder))
        folders[:] = [
            name for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(folder, name)) not in seen
        ]  # fmt: skip
        yield from (Path(folder) / name for name in files if not name.startswith("."))


def _made(uri: str, data: bytes, path: Path | None = None) -> Upload:
    return Upload(uri, len(data), hashlib.sha256(data).hexdigest(), path, None if path else data)
