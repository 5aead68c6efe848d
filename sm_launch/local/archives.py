"""model.tar.gz and output.tar.gz, packed and unpacked."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from sm_launch.errors import LaunchError


def merge(folders: Sequence[Path], target: Path) -> bool:
    """Gather the files of several nodes' folders, as the platform does; of one name, the first node's file stays.

    Returns:
        Whether there is any file.
    """
    for folder in reversed([folder for folder in folders if folder.is_dir()]):
        shutil.copytree(folder, target, dirs_exist_ok=True)
    return target.is_dir() and any(path.is_file() for path in target.rglob("*"))


def pack(folder: Path, archive: Path) -> Path:
    """Write the content of ``folder`` as a gzipped tar; returns ``archive``."""
    aside = archive.with_name(f".{archive.name}")
    with tarfile.open(aside, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
    aside.replace(archive)
    return archive


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a gzipped tar; members that lead out of ``folder`` are refused.

    Raises:
        LaunchError: it is absent, no such archive, or has such members.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(folder, filter="data")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise LaunchError(f"{archive}: cannot be unpacked ({error}); give the model.tar.gz of a training.") from error
