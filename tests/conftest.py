"""Tiny data that every room's tests share: real NIfTI files, none of whose grids is the identity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import write_decathlon

# The files that take minutes: begun last, one of them would keep one process busy after the others have ended.
LONG = (
    "test_labs.py", "test_end_to_end.py", "test_resume.py", "test_readme.py", "test_slurm.py", "test_tune_ray.py",
    "test_hosts.py", "test_model_card.py", "test_commands.py", "test_distributed.py", "test_inference_page.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; all else stays in its order."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRATS_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def tiny_decathlon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Decathlon folder of 8 labelled and 2 unlabelled cases, 24x28x20 at 2 x 2 x 3 mm, LPS. Do not write to it."""
    return write_decathlon(tmp_path_factory.mktemp("data") / "Task01_Tiny", cases=8, unlabelled=2)
