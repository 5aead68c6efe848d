"""One large file over HTTP: resumed where it stopped, checked by MD5 as it arrives, whole or absent."""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from scripts.archives import require_space
from scripts.errors import InputError
from scripts.files import unwritable, write_json

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60
# Attempts in a row that bring not one byte; an attempt that brings some does not count.
ATTEMPTS = 5
FIRST_PAUSE_S = 1.0


class Partial:
    """The part of a file that has arrived: ``<name>.part``, and beside it what the server said about the whole.

    Attributes:
        path: the part.
        size: bytes in it.
        md5: their running MD5.
        etag: the server's name for this version of the file, if it gave one.
        total: bytes of the whole file, if the server said.
    """

    def __init__(self, target: Path, url: str) -> None:
        self.url = url
        self.path = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            note = json.loads(self._note.read_text(encoding="utf-8"))
            resumable = note["url"] == url and self.path.is_file()
        except FileExistsError as error:
            raise unwritable(target, error) from error
        except (OSError, ValueError, KeyError, TypeError):
            resumable = False
        self.restart()
        if resumable:
            self.etag, self.total = note.get("etag"), note.get("total")
            self._hash_what_is_there()

    def restart(self) -> None:
        """Forget what has arrived; the file itself is emptied by the next :meth:`open`."""
        self.size, self.md5, self.etag, self.total = 0, hashlib.md5(usedforsecurity=False), None, None

    def remember(self, etag: str | None, total: int | None) -> None:
        """Note which version of the file the bytes belong to."""
        self.etag, self.total = etag, total
        write_json(self._note, {"url": self.url, "etag": etag, "total": total})

    def receive(self, response: http.client.HTTPResponse) -> None:
        """Append the response's body, a progress bar showing how far it is."""
        try:
            file = self.path.open("r+b" if self.path.exists() else "wb")
        except OSError as error:
            raise unwritable(self.path, error) from error
        bar = tqdm(desc=self.path.stem, total=self.total, initial=self.size, unit="B", unit_scale=True)
        with file, bar:
            file.truncate(self.size)
            file.seek(self.size)
            while chunk := response.read(CHUNK_BYTES):
                try:
                    file.write(chunk)
                    file.flush()
                except OSError as error:
                    raise unwritable(self.path, error) from error
                self.md5.update(chunk)
                self.size += len(chunk)
                bar.update(len(chunk))

    def discard(self) -> None:
        """Remove the part and its note."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self.restart()

    def become(self, target: Path) -> None:
        """Take the final name."""
        try:
            os.replace(self.path, target)
        except OSError as error:
            raise unwritable(target, error) from error
        self._note.unlink(missing_ok=True)

    def _hash_what_is_there(self) -> None:
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                self.md5.update(chunk)
                self.size += len(chunk)


def fetch(url: str, target: Path, md5: str, space_factor: float = 1.0) -> None:
    """Download ``url`` to ``target``, going on where an earlier attempt stopped.

    Args:
        url: http or https.
        target: the file; it appears under this name only when its MD5 is right.
        md5: of the whole file, hexadecimal.
        space_factor: disk space wanted, in sizes of the file (2 leaves room for unpacking it beside).

    Raises:
        InputError: the server cannot be reached or refuses, the disk is too small, or the MD5 is another one.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url}: is no http or https address; give one by --url.")
    partial = Partial(target, url)
    if partial.size:
        logger.info("going on after %.2f GB of an earlier attempt", partial.size / 1e9)
    failures = 0
    while True:
        before = partial.size
        try:
            _attempt(partial, space_factor)
            break
        except (OSError, http.client.HTTPException) as error:
            failures = failures + 1 if partial.size <= before else 0
            reason = getattr(error, "reason", None) or error
            if failures == ATTEMPTS:
                raise InputError(
                    f"{url}: no more data arrives ({reason}); check the network and run the same command again, which "
                    f"goes on after the {partial.size / 1e9:.2f} GB that are there."
                ) from error
            pause = FIRST_PAUSE_S * 2**failures
            logger.warning("connection lost (%s); trying again in %.0f s", reason, pause)
            time.sleep(pause)
    found = partial.md5.hexdigest()
    if found != md5.lower():
        partial.discard()
        raise InputError(
            f"{url}: the file that arrived has MD5 {found} where {md5} is wanted; it was removed, so run the same "
            "command again, or give --md5 with --url if it is another file that you want."
        )
    partial.become(target)


def _attempt(partial: Partial, space_factor: float) -> None:
    """Ask for what is missing and append it.

    Raises:
        OSError, http.client.HTTPException: worth another attempt.
        InputError: not worth one.
    """
    if partial.size and partial.size == partial.total:
        return
    request = urllib.request.Request(partial.url, headers={"User-Agent": "monai-brats"})
    if partial.size:
        request.add_header("Range", f"bytes={partial.size}-")
        # If-Range takes a strong validator only (RFC 9110, 13.1.5).
        if partial.etag and not partial.etag.startswith("W/"):
            request.add_header("If-Range", partial.etag)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # there is nothing at that offset: another file than the one begun
            partial.restart()
        elif error.code < 500 and error.code not in (408, 429):
            raise InputError(
                f"{partial.url}: the server answers {error.code} {error.reason}; check the address, or give another "
                "one by --url."
            ) from error
        raise
    with response:
        etag, total, start = response.headers.get("ETag"), *_whole_and_start(response)
        changed = partial.total not in (None, total) or partial.etag not in (None, etag)
        if start != partial.size or changed:
            partial.restart()
            if start:
                raise http.client.HTTPException("the file on the server has changed")
        partial.remember(etag, total)
        if total is not None:
            require_space(partial.path.parent, int(total * space_factor) - partial.size, "download and unpacking")
        partial.receive(response)
    if total is not None and partial.size != total:
        raise http.client.HTTPException(f"the connection closed after {partial.size} of {total} bytes")


def _whole_and_start(response: http.client.HTTPResponse) -> tuple[int | None, int]:
    """Bytes of the whole file, if the server says, and the offset that this response's body begins at."""
    if response.status == 206:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if span is None:
            raise http.client.HTTPException("a partial answer without a usable Content-Range")
        return (None if span[2] == "*" else int(span[2])), int(span[1])
    # A server that ignores Range sends the file from its beginning.
    length = response.headers.get("Content-Length")
    return (int(length) if length else None), 0
