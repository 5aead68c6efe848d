"""The report's page: plain HTML in one file, without anything to fetch and without scripts but those of its frames.

Every text that comes from data goes through ``html.escape``; the page's own policy keeps the browser from loading
anything and from running any script whose hash it does not name.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

STYLE = """
:root { color-scheme: light dark; --ink: #1b1d1f; --soft: #5c6166; --line: #d8dbde; --paper: #fff; --tint: #f4f5f6; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e7e8; --soft: #a0a5aa; --line: #3a3e42; --paper: #17191b; --tint: #212427; }
}
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
p { margin: .5rem 0; max-width: 46rem; }
.state { color: var(--soft); margin-top: .25rem; }
.notice { border-left: 4px solid #E69F00; padding: .4rem .8rem; background: var(--tint); font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; margin: .75rem 0; }
caption { caption-side: bottom; text-align: left; color: var(--soft); font-size: .85rem; padding-top: .4rem; }
th, td { padding: .28rem .8rem; text-align: right; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; border-bottom: 2px solid var(--line); vertical-align: bottom; }
th, .numbers td { white-space: nowrap; }
thead th { white-space: normal; }
th:first-child, .words th, .words td { text-align: left; }
.words td, .words tbody th { vertical-align: top; }
.words td { overflow-wrap: anywhere; }
tbody th { font-weight: 500; }
pre { background: var(--tint); padding: .7rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem;
  margin: .5rem 0; }
figure { margin: 1rem 0; }
img { display: block; max-width: 100%; height: auto; background: #fff; }
summary { cursor: pointer; }
iframe { display: block; margin-top: .5rem; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .4rem; max-width: 46rem; }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --tint: #f4f4f4; }
  body { padding: 0; font-size: 10.5pt; max-width: none; }
  figure, pre, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  img { max-height: 15cm; width: auto; }
  .wide { overflow: visible; }
  details { display: none; }
  th, td { padding: .12rem .4rem; }
  table { font-size: 8.5pt; }
}
"""


def page(
    title: str, state: str, notices: Iterable[str], sections: Iterable[str], script_hashes: Iterable[str] = ()
) -> str:
    """The whole document.

    Args:
        title: heading and name of the window.
        state: the line below it.
        notices: warnings that stand first.
        sections: HTML as :func:`section` makes it; empty ones are left out.
        script_hashes: ``'sha256-...'`` of the scripts that frames in it may run: they inherit the page's policy.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if hashes := " ".join(script_hashes):
        policy += f"; script-src {hashes}"
    banners = "\n".join(f'<p class="notice">{escape(notice)}</p>' for notice in notices)
    body = "\n".join(part for part in sections if part)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="state">{escape(state)}</p>
{banners}
</header>
<main>
{body}
</main>
</body>
</html>
"""


def section(heading: str, *parts: str) -> str:
    """A heading with its parts, or nothing where all parts are empty."""
    filled = [part for part in parts if part]
    return "\n".join(["<section>", f"<h2>{escape(heading)}</h2>", *filled, "</section>"]) if filled else ""


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def preformatted(text: str) -> str:
    """A command, as it is typed."""
    return f"<pre>{escape(text)}</pre>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", words: bool = False) -> str:
    """A table of texts.

    Args:
        header: a title a column.
        rows: cells; the first of a row is its heading.
        caption: a line below.
        words: columns hold words, not numbers: set them to the left.
    """
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    body = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for first, *cells in rows
    )
    below = f"<caption>{escape(caption)}</caption>" if caption else ""
    kind = "words" if words else "numbers"
    filled = f"{below}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return f'<div class="wide"><table class="{kind}">{filled}</table></div>'


def picture(file: Path, alternative: str, caption: str) -> str:
    """A PNG carried inside the page.

    Args:
        file: the PNG.
        alternative: what it shows, for those who cannot see it.
        caption: the line below.
    """
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(alternative)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def folded(summary: str, content: str) -> str:
    """HTML that is opened by a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def number(value: float | None, digits: int) -> str:
    """A number with fixed digits; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"
