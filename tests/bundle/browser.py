"""A headless Chromium without network for tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Watched:
    """A page, and all that it asked for or complained about.

    Attributes:
        page: playwright's.
        requests: addresses other than that of the page itself.
        messages: of the console, and uncaught errors.
    """

    page: object
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


@contextmanager
def browser() -> Iterator[object]:
    """A browser; skips the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: neither chromium nor google-chrome is on the path")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -r requirements/test.txt")
    with sync_api.sync_playwright() as playwright:
        # Containers run as root and lack the namespaces of Chromium's own sandbox.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def opened(chromium: object, file: Path, **options: object) -> Iterator[Watched]:
    """Open a file in a window of its own, offline."""
    context = chromium.new_context(**{"viewport": {"width": 900, "height": 700}, **options})
    context.set_offline(True)
    watched = Watched(context.new_page())
    address = file.resolve().as_uri()
    watched.page.on("request", lambda request: request.url == address or watched.requests.append(request.url))
    watched.page.on("console", lambda message: watched.messages.append(message.text))
    watched.page.on("pageerror", lambda error: watched.messages.append(str(error)))
    watched.page.goto(address)
    yield watched
    context.close()
