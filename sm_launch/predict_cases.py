"""The cases of a folder, and the names of their answers."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sm_launch.errors import LaunchError
from sm_launch.files import sha256_of
from sm_launch.serving import check_payload

NIFTI, ANY = "application/x-nifti", "application/octet-stream"
CONTENT_TYPES = {
    ".nii.gz": NIFTI, ".nii": NIFTI, ".jpeg": "image/jpeg", ".jpg": "image/jpeg", ".png": "image/png",
    ".tar": "application/x-tar",
}  # fmt: skip
TAR = ".tar"
# Endings of files that hold a case's label, and what its files are called on their way.
LABELS, ANONYMOUS = ("_seg", "-seg"), "case"
# What an answer is, by its first bytes, and how local inference would name it.
_GZIP, _JSON = b"\x1f\x8b", (b"{", b"[")
_ENDINGS = ((_GZIP, "_seg.nii.gz"), (b"{", ".json"), (b"[", ".json"))
_OTHER_ENDING = "_seg.nii"


@dataclass(frozen=True)
class Case:
    """One case to send.

    Attributes:
        name: of the case: the file's, without ending; of several files what their names begin with.
        files: the file, or one a modality.
        size: bytes to send.
        sha256: of those bytes.
    """

    name: str
    files: tuple[Path, ...]
    size: int
    sha256: str

    @property
    def ending(self) -> str:
        """Of the name of what is sent, one of ``CONTENT_TYPES``."""
        return ending_of(self.files[0]) if len(self.files) == 1 else TAR

    @property
    def content_type(self) -> str:
        """What the case is sent as."""
        return CONTENT_TYPES[self.ending]

    @property
    def key(self) -> str:
        """Name of the case's object in S3: a checksum, since a patient's file name has no business there."""
        return hashlib.sha256(f"{self.sha256} {self.name}".encode()).hexdigest() + self.ending

    def content(self) -> bytes:
        """The bytes to send."""
        return _content(self.files, self.name)


def _content(files: Sequence[Path], name: str) -> bytes:
    """The file itself; of several files a tar, in which the case's name is replaced."""
    if len(files) == 1:
        return files[0].read_bytes()
    buffer = io.BytesIO()
    # The container reads no other format, and the same files make the same bytes.
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in files:
            entry = tarfile.TarInfo(ANONYMOUS + path.name[len(name) :])
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return buffer.getvalue()


def ending_of(path: Path) -> str:
    """The ending of an image's name; empty for other files."""
    return next((ending for ending in CONTENT_TYPES if ending != TAR and path.name.lower().endswith(ending)), "")


def find_cases(folder: Path) -> list[Case]:
    """The cases of a folder, by name; hidden files are left out.

    A case is an image that lies in the folder, or a subfolder of NIfTI files of one case as BraTS has them
    (``X_t1.nii.gz``, ``X_t2.nii.gz``; a label ``X_seg`` is not sent).

    Raises:
        LaunchError: there is no such folder, no image in it, or two of one name.
    """
    if not folder.is_dir():
        raise LaunchError(f"{folder} is no folder; give the one that holds the cases.")
    found: dict[str, tuple[Path, ...]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        name, files = _of_folder(path) if path.is_dir() else (path.name[: -len(ending_of(path)) or None], (path,))
        if not files or not ending_of(files[0]):
            continue
        if name in found:
            raise LaunchError(f"{files[0]} and {found[name][0].name} are both of a case {name}; rename one of them.")
        found[name] = files
    if not found:
        raise LaunchError(
            f"{folder} holds no {', '.join(CONTENT_TYPES)} file and no folder of a case; give the folder of the images "
            "themselves, such as imagesTs."
        )
    return [_case(name, files) for name, files in found.items()]


def _of_folder(folder: Path) -> tuple[str, tuple[Path, ...]]:
    """Name and files of the one case in a folder; no files where it holds anything else."""
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and CONTENT_TYPES.get(ending_of(path)) == NIFTI
    ]
    stems = [path.name[: -len(ending_of(path))] for path in files]
    chosen = [path for path, stem in zip(files, stems, strict=True) if not stem.lower().endswith(LABELS)]
    common = os.path.commonprefix([path.name for path in chosen])
    cut = max((common.rfind(joint) for joint in "_-"), default=-1)
    return (common[:cut], tuple(chosen)) if len(chosen) > 1 and cut > 0 else ("", ())


def _case(name: str, files: tuple[Path, ...]) -> Case:
    if len(files) == 1:
        return Case(name, files, files[0].stat().st_size, sha256_of(files[0]))
    content = _content(files, name)
    return Case(name, files, len(content), hashlib.sha256(content).hexdigest())


def check_sizes(cases: Sequence[Case], mode: str) -> None:
    """Refuse, before anything is sent, what the mode does not take.

    Raises:
        LaunchError: a case is too large.
    """
    if cases:
        largest = max(cases, key=lambda case: case.size)
        check_payload(mode, largest.size, str(largest.files[0]))


def answer_name(case: str, content: bytes) -> str:
    """The file that an answer is written to: a label volume's as local inference names it, or JSON."""
    return case + next((ending for magic, ending in _ENDINGS if content.startswith(magic)), _OTHER_ENDING)
