"""The viewer's page: one HTML file with everything in it, which can fetch nothing and run no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# One script of several files, in this order.
SCRIPTS = ("volume.js", "draw.js", "controls.js", "viewer.js")
STYLE = "viewer.css"


@lru_cache(maxsize=1)
def script() -> str:
    """The viewer's code."""
    return "".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)


@lru_cache(maxsize=1)
def style() -> str:
    """The viewer's style sheet."""
    return (HERE / STYLE).read_text(encoding="utf-8")


def source_hash(text: str) -> str:
    """``'sha256-...'`` of an inline script or style, for a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def page(payload: Mapping[str, Any]) -> str:
    """A complete document.

    Args:
        payload: what :func:`scripts.viewer.payload.payload` gives.
    """
    # Data are no script to the browser, but a title may hold "</script>".
    data = json.dumps(payload, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    policy = f"default-src 'none'; script-src {source_hash(script())}; style-src {source_hash(style())}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(str(payload["title"]) or "Case")}</title>
<style>{style()}</style>
</head>
<body>
<main id="viewer">Loading the case. It needs a browser that runs scripts.</main>
<script type="application/json" id="case">{data}</script>
<script>{script()}</script>
</body>
</html>
"""


def notebook_output(html: str, still: bytes, title: str, height: int) -> str:
    """A frame with a still picture in its place where a notebook is not trusted.

    JupyterLab prefers HTML to a picture even then, but takes frames and style sheets out of it: what the style sheet
    here hides is what is left.

    Args:
        html: the document.
        still: a PNG.
        title: of the case.
        height: of the frame, in pixels.
    """
    picture = base64.b64encode(still).decode("ascii")
    return (
        f"<div><style>iframe + .case-still {{ display: none; }}</style>{frame(html, f'Viewer of {title}', height)}"
        f'<img class="case-still" src="data:image/png;base64,{picture}" alt="{escape(title)} in three planes"></div>'
    )


def frame(html: str, title: str, height: int) -> str:
    """A document inside another one: a sandboxed ``<iframe>`` that carries it.

    Args:
        html: the document.
        title: what the frame is called for those who cannot see it.
        height: in pixels.
    """
    return (
        f'<iframe srcdoc="{escape(html)}" sandbox="allow-scripts" title="{escape(title)}" width="100%" '
        f'height="{height}" style="border: 0"></iframe>'
    )
