"""Data of the skin lesion bundle's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def private_skin_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the synthetic set out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKIN_LESIONS_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "skin-cache"))
        yield
