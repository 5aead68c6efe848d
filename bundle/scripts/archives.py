"""Unpacking a tar file from the internet: plain files and folders, below one folder, and nothing else."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from tqdm import tqdm

from scripts.errors import InputError
from scripts.files import unwritable


def extract_tar(archive: Path, target: Path, top: str) -> None:
    """Unpack the folder ``top`` of an uncompressed tar file to ``target / top``.

    Every member is judged before the first one is written. Only the bytes of a file are taken over: Python's own
    extraction filters are missing from early 3.10 and 3.11 releases, and owner, mode and links of a stranger's archive
    are of no use here. Resource forks of macOS (``._name``) are left out.

    Args:
        archive: the tar file.
        target: an empty folder that the caller throws away when this fails.
        top: the one folder that all members lie in.

    Raises:
        InputError: the archive is truncated or no tar file, lacks ``top``, holds a link, a device, a path outside of
            ``top``, or more than the disk takes.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            members = [member for member in tar if not _is_fork(member)]
            _require_end(archive, tar.offset)
            for member in members:
                _refuse_unsafe(member, top, archive)
            if not any(member.isfile() and "/" in member.name for member in members):
                raise InputError(f"{archive}: holds no file in {top}/; download it again.")
            require_space(target, sum(member.size for member in members), f"the files of {archive.name}")
            _write(tar, members, target)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(
            f"{archive}: is truncated or no tar file ({error}); delete it and download it again."
        ) from error


def require_space(folder: Path, n_bytes: int, what: str) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        InputError: less than ``n_bytes`` are free on the disk of ``folder``.
    """
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise InputError(
            f"{folder}: {free / 1e9:.1f} GB are free and {what} need {n_bytes / 1e9:.1f} GB; "
            "free some space or choose a folder on another disk."
        )


def _write(tar: tarfile.TarFile, members: Iterable[tarfile.TarInfo], target: Path) -> None:
    """Copy the members' bytes to files below ``target``."""
    for member in tqdm(list(members), desc="unpacking", unit="file"):
        path = target.joinpath(*PurePosixPath(member.name).parts)
        try:
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            # extractfile returns None only for members that are no files, which _refuse_unsafe keeps out.
            assert content is not None
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file)
        except OSError as error:
            raise unwritable(path, error) from error
        if path.stat().st_size != member.size:
            raise tarfile.ReadError(f"{member.name} ends early")


def _require_end(archive: Path, offset: int) -> None:
    """Refuse an archive that stops inside a member's header, which tarfile takes for its end.

    A whole one has blocks of zeros after its last member (POSIX.1-2017, pax, ustar interchange format).
    """
    with archive.open("rb") as file:
        file.seek(offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it has no end mark")


def _is_fork(member: tarfile.TarInfo) -> bool:
    return PurePosixPath(member.name).name.startswith("._")


def _refuse_unsafe(member: tarfile.TarInfo, top: str, archive: Path) -> None:
    """Refuse a member that is no plain file or folder below ``top``, read as a POSIX or as a Windows path."""
    parts = PurePosixPath(member.name).parts
    if not member.isfile() and not member.isdir():
        kind = "link" if member.issym() or member.islnk() else "device or another special file"
        problem = f"is a {kind}"
    elif ".." in parts or parts[:1] != (top,) or "\\" in member.name or PureWindowsPath(member.name).drive:
        problem = f"does not lie in {top}/"
    else:
        return
    raise InputError(
        f"{archive}: its member '{member.name}' {problem}, where only plain files in {top}/ are wanted; nothing was "
        "unpacked, so download the archive from the data set's own address."
    )
