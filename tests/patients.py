"""The real patients that some tests run on. They are no part of the project: where they are absent, a test says so."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def patients(folder: str) -> Path:
    """A data set under ``../shared/data``; skips the running test where it is absent."""
    if not (SHARED_DATA / folder).is_dir():
        pytest.skip("no real patients: ../shared/data/" + folder + " is not there")
    return SHARED_DATA / folder
