"""A case of one file a modality, as a tar of the files: read here, in its plainest form (POSIX.1-1988, "ustar").

Python's ``tarfile`` also reads links, sparse files and extended headers of any length; none of them has a place in the
body of a request.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from .errors import Refusal

BLOCK_BYTES = 512
# Offsets and lengths of a header's fields.
_NAME, _SIZE, _KIND, _MAGIC = slice(0, 100), slice(124, 136), slice(156, 157), slice(257, 262)
USTAR, PLAIN = b"ustar", (b"0", b"\0")
HEAD_BYTES = _MAGIC.stop
MAX_FILES = 16
_FILE = re.compile(r"(?P<stem>[\w.+-]+?)(?P<ending>\.nii(\.gz)?)", re.ASCII)
_JOINTS = "_-."
CHUNK_BYTES = 1 << 20


def is_tar(head: bytes) -> bool:
    """Whether a file begins as a tar does."""
    return head[_MAGIC] == USTAR


def unpack(body: Path, folder: Path, case: str) -> list[Path]:
    """Unpack the files of one case, in the archive's order.

    What all names begin with is the patient's name and is replaced: ``X_00006_t1.nii.gz`` becomes ``case_t1.nii.gz``.

    Args:
        body: the archive.
        folder: where to; made here.
        case: what the files are called instead.

    Raises:
        Refusal: 400, it is no such archive.
    """
    folder.mkdir(parents=True)
    names, files = [], []
    with body.open("rb") as content:
        while (header := content.read(BLOCK_BYTES)).strip(b"\0"):
            if len(header) < BLOCK_BYTES or not is_tar(header) or header[_KIND] not in PLAIN:
                raise Refusal(400, "The tar holds something else than plain files; write it in the ustar format.")
            if len(files) == MAX_FILES:
                raise Refusal(400, f"The tar holds more than the {MAX_FILES} files that one case may have.")
            names.append(header[_NAME].rstrip(b"\0").decode("ascii", "replace").rpartition("/")[2])
            files.append(folder / str(len(files)))
            size = _size(header[_SIZE])
            with files[-1].open("wb") as file:
                left = size
                while left and (chunk := content.read(min(left, CHUNK_BYTES))):
                    file.write(chunk)
                    left -= len(chunk)
            if left:
                raise Refusal(400, "The tar is truncated; send the whole file.")
            content.seek(-size % BLOCK_BYTES, os.SEEK_CUR)
    return [file.rename(folder / f"{case}{rest}") for file, rest in zip(files, _rests(names), strict=True)]


def _size(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]{1,11}", digits):
        raise Refusal(400, "The tar has a file of no sound size; write it in the ustar format.")
    return int(digits, 8)


def _rests(names: Sequence[str]) -> list[str]:
    """What is left of the names without what they all begin with, up to the last ``_``, ``-`` or ``.`` of it."""
    matches = [_FILE.fullmatch(name) for name in names]
    stems = [match["stem"] for match in matches if match]
    common = os.path.commonprefix(stems)
    cut = max(common.rfind(joint) for joint in _JOINTS)
    rests = [stem[cut:] for stem in stems]
    if len(names) < 2 or len(stems) < len(names) or cut < 1 or len(set(rests)) < len(rests) or "" in rests:
        raise Refusal(
            400, "The tar is not one case of several NIfTI files, such as X_t1.nii.gz and X_t2.nii.gz; mend its names."
        )
    return [f"{rest}{match['ending']}" for rest, match in zip(rests, matches, strict=True)]
