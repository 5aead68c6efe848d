"""What a run wrote about itself, read back: its metrics, and the notes of its training and its evaluation."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.files import read_json

logger = logging.getLogger(__name__)

TIME_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """What a training or an evaluation noted about itself; entries are empty where it did not run.

    Attributes:
        folder: the run's folder, or that of an evaluation in it, such as ``test``.
        config: the merged config.
        datalist: the data it used.
        versions: package to version.
        command: as it was typed.
        started: time of the first line of its log, ``YYYY-MM-DD HH:MM:SS``.
        ended: time of the last.
    """

    folder: Path
    config: dict[str, Any]
    datalist: dict[str, Any]
    versions: dict[str, str]
    command: str
    started: str
    ended: str

    @classmethod
    def read(cls, folder: Path) -> Stage:
        """Read the notes that are there.

        Raises:
            InputError: one of them is not valid JSON.
        """
        times = TIME_STAMP.findall(_text(folder / "log.txt")) or [""]
        return cls(
            folder=folder,
            config=optional_json(folder / "config.json", "config"),
            datalist=optional_json(folder / "datalist.json", "datalist"),
            versions=optional_json(folder / "versions.json", "versions"),
            command=_text(folder / "command.txt").strip(),
            started=times[0],
            ended=times[-1],
        )

    @property
    def dataset_dir(self) -> str:
        """The folder that was used, or what the knob said where no datalist tells."""
        return str(self.datalist.get("dataset_dir") or self.config.get("dataset_dir") or "")

    @property
    def is_phantom(self) -> bool:
        """Whether the data are synthetic."""
        return Path(self.dataset_dir).name.startswith("phantom")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read metrics.jsonl, one record an epoch.

    A line that a killed run left half-written is passed over. Where a resumed run did epochs again, the later records
    replace the earlier ones.

    Args:
        path: the file.

    Returns:
        The records in order of their epochs.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot read the metrics ({error.strerror}); check the path.") from error
    records: list[dict[str, Any]] = []
    for position, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            epoch = int(record["epoch"])
        except (ValueError, TypeError, KeyError):
            logger.warning("%s: line %d is not a whole record and is passed over", path, position)
            continue
        while records and records[-1]["epoch"] >= epoch:
            records.pop()
        records.append(record)
    return records


def optional_json(file: Path, what: str) -> dict[str, Any]:
    """Content of a JSON file, empty where there is none.

    Raises:
        InputError: it cannot be read, or holds no object.
    """
    content = read_json(file, what) if file.is_file() else {}
    if not isinstance(content, dict):
        raise InputError(f"{file}: the {what} is no JSON object; mend or remove the file.")
    return content


def plain_knobs(config: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs of a merged config that hold a plain value; objects and expressions are left out."""
    about = config.get("_desc_") or {}
    return {key: value for key, value in config.items() if (key in about or not about) and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    """Whether a config value is a number, a text that is no expression, or a list of such."""
    if isinstance(value, list):
        return all(_is_plain(entry) for entry in value)
    return not isinstance(value, dict) and not str(value).startswith(("$", "@", "%"))


def _text(file: Path) -> str:
    """Content of a text file, empty where there is none."""
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
