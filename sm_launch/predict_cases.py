"""The cases of a folder, the names of their answers, and the record of what has been answered."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.serving import MB, PAYLOAD_BYTES

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
# A mode that takes more, for the message.
_LARGER = {"serverless": "a real-time endpoint", "realtime": "an async endpoint", "batch": "an async endpoint"}
RECORD = ".predictions.json"
CHUNK_BYTES = 1 << 20


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
        return Case(name, files, files[0].stat().st_size, _sha256(files[0]))
    content = _content(files, name)
    return Case(name, files, len(content), hashlib.sha256(content).hexdigest())


def check_sizes(cases: Sequence[Case], mode: str) -> None:
    """Refuse, before anything is sent, what the mode does not take.

    Raises:
        LaunchError: a case is too large.
    """
    limit = PAYLOAD_BYTES[mode]
    if large := [case for case in cases if case.size > limit]:
        worst = max(large, key=lambda case: case.size)
        advice = f"use {_LARGER[mode]}" if mode in _LARGER else "compress them"
        raise LaunchError(
            f"{len(large)} of {len(cases)} cases are too large for {mode} inference, which takes {limit // MB} MB: "
            f"{worst.files[0].name} has {worst.size / MB:.1f} MB; {advice}."
        )


def answer_name(case: str, content: bytes) -> str:
    """The file that an answer is written to: a label volume's as local inference names it, or JSON."""
    return case + next((ending for magic, ending in _ENDINGS if content.startswith(magic)), _OTHER_ENDING)


class Record:
    """What has been answered, kept beside the answers; a case is not sent again while both files are what they were.

    Args:
        folder: of the answers, made if absent.

    Raises:
        LaunchError: the folder cannot be made, or its record is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = (folder / RECORD).read_text(encoding="utf-8") if (folder / RECORD).exists() else "{}"
            self._entries: dict[str, dict[str, Any]] = dict(json.loads(text))
        except OSError as error:
            raise LaunchError(f"{folder} cannot be used ({error.strerror}); choose another output folder.") from error
        except (ValueError, TypeError) as error:
            raise LaunchError(f"{folder / RECORD} is damaged ({error}); remove it to send every case again.") from error

    def is_answered(self, case: Case) -> bool:
        """Whether this very file was answered, and the answer is there unchanged."""
        entry = self._entries.get(case.name, {})
        output = self.folder / str(entry.get("output", ""))
        return (
            entry.get("input_sha256") == case.sha256
            and output.is_file()
            and _sha256(output) == entry.get("output_sha256")
        )

    def waiting(self, case: Case) -> Mapping[str, Any]:
        """Where an earlier run, which was stopped, had this very file answered to; empty if nowhere."""
        entry = self._entries.get(case.name, {})
        return entry.get("waiting", {}) if entry.get("input_sha256") == case.sha256 else {}

    def expect(self, case: Case, where: Mapping[str, Any]) -> None:
        """Note where the answer will be."""
        self._entries[case.name] = {"input_sha256": case.sha256, "waiting": dict(where)}
        self._save()

    def forget(self, case: Case) -> None:
        """Note that no answer will come."""
        self._entries.pop(case.name, None)
        self._save()

    def write(self, case: Case, content: bytes) -> Path:
        """Write an answer, whole or not at all, and note it."""
        target = self.folder / answer_name(case.name, content)
        _write_aside(target, content)
        digest = hashlib.sha256(content).hexdigest()
        self._entries[case.name] = {
            "input_sha256": case.sha256, "output": target.name, "output_sha256": digest,
        }  # fmt: skip
        self._save()
        return target

    def _save(self) -> None:
        _write_aside(self.folder / RECORD, json.dumps(self._entries, indent=1, sort_keys=True).encode())


def _write_aside(target: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=".part-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp makes files that are the user's alone, as answers about patients should be.
        os.replace(name, target)
    except OSError as error:
        raise LaunchError(f"{target} cannot be written ({error.strerror}); free some space.") from error
    finally:
        Path(name).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
