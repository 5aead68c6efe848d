"""W&B's offline run file, read without W&B's service: protobuf records in LevelDB's log format.

The format is that of leveldb/doc/log_format.md, after W&B's own header of seven bytes. ``wandb sync`` reads it too.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.errors import InputError

HEADER = b":W&B"
HEADER_BYTES, BLOCK, RECORD_HEADER = 7, 32768, 7
FULL, LAST = 1, 4


def payloads(content: bytes) -> Iterator[bytes]:
    """The records of a log, put together from their parts; one that was cut off at the end is left out."""
    part, at = b"", HEADER_BYTES
    while at + RECORD_HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < RECORD_HEADER:
            # No header fits into what is left of a block: it is filled with zeros.
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        at += RECORD_HEADER
        if at + length > len(content):
            return
        part += content[at : at + length]
        at += length
        if kind in (FULL, LAST):
            yield part
            part = b""


class WandbRun:
    """What an offline run file tells.

    Args:
        file: ``run-ID.wandb``.

    Attributes:
        run_id, project, name: the run's.
        config: knob to value.
        history: step to what was logged at it.
        files: paths of the files to upload.
        exit_code: with which the run ended, None while it has not.

    Raises:
        InputError: it is no such file.
    """

    def __init__(self, file: Path) -> None:
        from wandb.proto.wandb_internal_pb2 import Record

        content = file.read_bytes()
        if not content.startswith(HEADER):
            raise InputError(f"{file}: begins with {content[:4]!r}, not {HEADER!r}; give an offline run file of W&B.")
        self.run_id = self.project = self.name = ""
        self.config: dict[str, Any] = {}
        self.history: dict[int, dict[str, Any]] = {}
        self.files: set[str] = set()
        self.exit_code: int | None = None
        for payload in payloads(content):
            self._take(Record.FromString(payload))

    def _take(self, record: Any) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.run_id, self.project, self.name = record.run.run_id, record.run.project, record.run.display_name
            self.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            items = record.history.item
            values = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
            self.history.setdefault(record.history.step.num, {}).update(values)
        elif kind == "files":
            self.files |= {item.path for item in record.files.files}
        elif kind == "exit":
            self.exit_code = record.exit.exit_code
