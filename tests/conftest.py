"""Tiny data that every room's tests share: real NIfTI files, none of whose grids is the identity."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import write_decathlon

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests out of the user's cache folder."""
    monkeypatch.setenv("BRATS_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def tiny_decathlon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Decathlon folder of 8 labelled and 2 unlabelled cases, 24x28x20 voxels of 2 x 2 x 3 mm, LPS. Do not write to it."""
    return write_decathlon(tmp_path_factory.mktemp("data") / "Task01_Tiny", cases=8, unlabelled=2)
