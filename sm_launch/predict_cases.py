"""The cases of a folder, the names of their answers, and the record of what has been answered."""

from __future__ import annotations

import hashlib
import json
import os
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
}  # fmt: skip
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
    """One file to send.

    Attributes:
        name: of the case: the file's, without ending.
        path: the file.
        size: bytes.
        sha256: of its bytes.
    """

    name: str
    path: Path
    size: int
    sha256: str

    @property
    def ending(self) -> str:
        """The file's ending, one of ``CONTENT_TYPES``."""
        return ending_of(self.path)

    @property
    def content_type(self) -> str:
        """What the file is sent as."""
        return CONTENT_TYPES[self.ending]

    @property
    def key(self) -> str:
        """Name of the case's object in S3: a checksum, since a patient's file name has no business there."""
        return hashlib.sha256(f"{self.sha256} {self.name}".encode()).hexdigest() + self.ending


def ending_of(path: Path) -> str:
    """The ending of an image's name; empty for other files."""
    return next((ending for ending in CONTENT_TYPES if path.name.lower().endswith(ending)), "")


def find_cases(folder: Path) -> list[Case]:
    """The images that lie in a folder, by name; hidden files are left out.

    Raises:
        LaunchError: there is no such folder, no image in it, or two of one name.
    """
    if not folder.is_dir():
        raise LaunchError(f"{folder} is no folder; give the one that holds the cases.")
    cases: dict[str, Case] = {}
    for path in sorted(folder.iterdir()):
        ending = ending_of(path)
        if not ending or path.name.startswith(".") or not path.is_file():
            continue
        name = path.name[: -len(ending)]
        if name in cases:
            raise LaunchError(f"{path} and {cases[name].path.name} are both named {name}; rename one of them.")
        cases[name] = Case(name, path, path.stat().st_size, _sha256(path))
    if not cases:
        raise LaunchError(
            f"{folder} holds no {', '.join(CONTENT_TYPES)} file; give the folder of the images themselves, such as "
            "imagesTs, each a file with all its channels."
        )
    return list(cases.values())


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
            f"{worst.path.name} has {worst.size / MB:.1f} MB; {advice}."
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
