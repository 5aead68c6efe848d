"""The report's page: plain HTML in one file, with nothing to fetch and nothing to run.

Every text that comes from data goes through ``html.escape``; the page's own policy keeps a browser from loading or
running anything all the same.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
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
tbody th { font-weight: 500; }
th:first-child { text-align: left; }
td { white-space: nowrap; }
figure { margin: 1rem 0; }
img { display: block; max-width: 100%; height: auto; background: #fff; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .4rem; max-width: 46rem; overflow-wrap: anywhere; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: 1rem; }
.gallery figure { margin: 0; }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --tint: #f4f4f4; }
  body { padding: 0; font-size: 10.5pt; max-width: none; }
  figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  .wide { overflow: visible; }
  th, td { padding: .12rem .4rem; }
}
"""


def page(title: str, state: str, notices: Iterable[str], sections: Iterable[str]) -> str:
    """The whole document.

    Args:
        title: heading and name of the window.
        state: the line below it.
        notices: warnings that stand first.
        sections: HTML as :func:`section` makes it.
    """
    banners = "\n".join(f'<p class="notice">{escape(notice)}</p>' for notice in notices)
    body = "\n".join(sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
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
    """A heading with its parts."""
    return "\n".join(["<section>", f"<h2>{escape(heading)}</h2>", *parts, "</section>"])


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str,
    shades: Sequence[Sequence[float]] | None = None,
) -> str:
    """A table of texts.

    Args:
        header: a title a column.
        rows: cells; the first of a row is its heading.
        caption: a line below.
        shades: how dark a cell is, 0 to 1, for all cells but the first of each row; None leaves them plain.
    """
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    lines = []
    for number, (first, *cells) in enumerate(rows):
        styles = [""] * len(cells) if shades is None else [_shade(value) for value in shades[number]]
        filled = "".join(f"<td{style}>{escape(cell)}</td>" for style, cell in zip(styles, cells, strict=True))
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{filled}</tr>')
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def picture(content: bytes, kind: str, alternative: str, caption: str) -> str:
    """A picture carried inside the page.

    Args:
        content: the file's bytes.
        kind: ``png`` or ``jpeg``.
        alternative: what it shows, for those who cannot see it.
        caption: the line below.
    """
    data = base64.b64encode(content).decode("ascii")
    return (
        f'<figure><img src="data:image/{kind};base64,{data}" alt="{escape(alternative)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def gallery(pictures: Iterable[str]) -> str:
    """Pictures side by side."""
    return '<div class="gallery">' + "\n".join(pictures) + "</div>"


def _shade(value: float) -> str:
    # Half transparent at most, so that the ink stays readable on light and dark paper.
    return f' style="background: rgba(0, 114, 178, {value / 2:.3f})"'
