"""The record of what has been answered, kept beside the answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.files import sha256_of, write_aside
from sm_launch.predict_cases import Case, answer_name

RECORD = ".predictions.json"


class Record:
    """What has been answered, kept beside the answers; a case is not sent again while both files are what they were.

    Args:
        folder: of the answers, made if absent.
        answered_by: what answers now; entries of anything else do not count.

    Raises:
        LaunchError: the folder cannot be made, or its record is damaged.
    """

    def __init__(self, folder: Path, answered_by: str) -> None:
        self.folder, self._answered_by = folder, answered_by
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = (folder / RECORD).read_text(encoding="utf-8") if (folder / RECORD).exists() else "{}"
            self._entries: dict[str, dict[str, Any]] = dict(json.loads(text))
        except OSError as error:
            raise LaunchError(f"{folder} cannot be used ({error.strerror}); choose another output folder.") from error
        except (ValueError, TypeError) as error:
            raise LaunchError(f"{folder / RECORD} is damaged ({error}); remove it to send every case again.") from error

    def is_answered(self, case: Case) -> bool:
        """Whether this very file was answered by this model, and the answer is there unchanged."""
        entry = self._entry(case)
        output = self.folder / str(entry.get("output", ""))
        return output.is_file() and sha256_of(output) == entry.get("output_sha256")

    def waiting(self, case: Case) -> Mapping[str, Any]:
        """Where an earlier run, which was stopped, had this very file answered to; empty if nowhere."""
        return self._entry(case).get("waiting", {})

    def _entry(self, case: Case) -> Mapping[str, Any]:
        """What is noted of this very file and this very model; empty if nothing is."""
        entry = self._entries.get(case.name, {})
        same = (entry.get("input_sha256"), entry.get("answered_by")) == (case.sha256, self._answered_by)
        return entry if same else {}

    def expect(self, case: Case, where: Mapping[str, Any]) -> None:
        """Note where the answer will be."""
        self._entries[case.name] = {
            "input_sha256": case.sha256, "answered_by": self._answered_by, "waiting": dict(where),
        }  # fmt: skip
        self._save()

    def forget(self, case: Case) -> None:
        """Note that no answer will come."""
        self._entries.pop(case.name, None)
        self._save()

    def write(self, case: Case, content: bytes) -> Path:
        """Write an answer, whole or not at all, and note it."""
        target = self.folder / answer_name(case.name, content)
        self._write_aside(target, content)
        digest = hashlib.sha256(content).hexdigest()
        self._entries[case.name] = {
            "input_sha256": case.sha256, "answered_by": self._answered_by, "output": target.name,
            "output_sha256": digest,
        }  # fmt: skip
        self._save()
        return target

    def _save(self) -> None:
        self._write_aside(self.folder / RECORD, json.dumps(self._entries, indent=1, sort_keys=True).encode())

    @staticmethod
    def _write_aside(target: Path, content: bytes) -> None:
        try:
            write_aside(target, content)
        except OSError as error:
            raise LaunchError(f"{target} cannot be written ({error.strerror}); free some space.") from error
