"""Where a lab's data lie and its jobs run: what DATA, IMAGES and COMPUTE may say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from skin_lesions import synthetic

EMBEDDED = "embedded"
S3 = "s3://"
LOCAL, SAGEMAKER = "local", "sagemaker"
# Parameters that name a folder, and the word that stands for data made here.
FOLDERS = {"DATA": EMBEDDED, "IMAGES": synthetic.WORD}


def runs_in_account(compute: str) -> bool:
    """Whether a lab's ``COMPUTE`` asks for the learner's account, which costs money, or for this machine.

    Raises:
        InputError: it is neither word. Taken for local, a lab would have shown nothing of what was asked for.
    """
    if compute not in (LOCAL, SAGEMAKER):
        raise InputError(
            f"COMPUTE is {compute!r}, {LOCAL} or {SAGEMAKER} was wanted; write one of them in the cell of parameters, "
            "and run the lab from there."
        )
    return compute == SAGEMAKER


def from_here(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with their folders as absolute paths, since labs run in another folder than the command.

    Args:
        values: name to value.

    Raises:
        InputError: there is no such folder.
    """
    return {
        name: _absolute(name, value) if name in FOLDERS and isinstance(value, str) else value
        for name, value in values.items()
    }


def _absolute(name: str, value: str) -> str:
    if value == FOLDERS[name] or value.startswith(S3):
        return value
    folder = Path(value).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(
            f"{name} is {value}, but there is no folder {folder}; give one that is there, or {FOLDERS[name]}."
        )
    return str(folder)
