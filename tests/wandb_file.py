"""Reader of W&B's offline run file: records of protobuf in LevelDB's log format (leveldb/doc/log_format.md)."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

HEADER = b":W&B"
HEADER_BYTES, BLOCK, RECORD_HEADER = 7, 32768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(file: Path) -> list[Any]:
    """Every record of a ``run-ID.wandb`` file, as W&B's own protobuf messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = file.read_bytes()
    assert content.startswith(HEADER)
    found, part, at = [], b"", HEADER_BYTES
    while at + RECORD_HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < RECORD_HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + RECORD_HEADER])
        part += content[at + RECORD_HEADER : at + RECORD_HEADER + length]
        at += RECORD_HEADER + length
        if at > len(content):
            break
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(part)
            found.append(record)
            part = b""
    return found


class WandbRun:
    """What an offline run file tells.

    Attributes:
        run_id, project, name: the run's.
        config: knob to value.
        history: step to what was logged at it.
        files: paths of the files to upload.
        exit_code: with which the run ended, None if it did not.
    """

    def __init__(self, file: Path) -> None:
        self.config: dict[str, Any] = {}
        self.history: dict[int, dict[str, Any]] = {}
        self.files: set[str] = set()
        self.exit_code: int | None = None
        for record in records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.run_id, self.project, self.name = record.run.run_id, record.run.project, record.run.display_name
                self.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "history":
                items = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }
                self.history.setdefault(record.history.step.num, {}).update(items)
            elif kind == "files":
                self.files |= {item.path for item in record.files.files}
            elif kind == "exit":
                self.exit_code = record.exit.exit_code
