"""The executed labs as pages that open without a network: one a lab, and the table of contents."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import mistune
import nbformat
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from scripts.files import write_aside
from traitlets.config import Config

from .execution import Outcome
from .header import title
from .project import LABS, ROOT

INDEX = "index.html"
PAGES = ("README.md", "errors.md")
PNG = "image/png"
# A page shows what it can show by itself: widgets need a kernel, and come after what stands in for them.
PRIORITY = ["text/html", "image/png", "image/svg+xml", "text/markdown", "text/plain"]
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse}th,td{padding:.3em .8em;text-align:left;border-bottom:1px solid #ccc}"
    "pre{background:#f4f4f4;padding:.6em;overflow-x:auto}"
)


def write_page(notebook: NotebookNode, target: Path) -> None:
    """Write an executed notebook as one HTML file that fetches nothing.

    Args:
        notebook: with outputs.
        target: the file.
    """
    config = Config({"HTMLExporter": {"display_data_priority": PRIORITY}})
    exporter = HTMLExporter(config=config, template_name="lab")
    # Each of these is a script on somebody else's server.
    for script in ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url", "widget_renderer_url"):
        setattr(exporter, script, "")
    linked = nbformat.from_dict(notebook)
    for cell in linked.cells:
        if cell.cell_type == "markdown":
            cell.source = _to_pages(cell.source, target.parent)
        for output in cell.get("outputs", []):
            _describe(output)
    logging.getLogger("traitlets").setLevel(logging.ERROR)
    page, _ = exporter.from_notebook_node(linked, resources={"metadata": {"name": title(linked.cells[0].source)}})
    with write_aside(target) as aside:
        aside.write_text(page, encoding="utf-8")


def write_index(folder: Path, labs: Sequence[tuple[Path, str]], outcomes: Iterable[Outcome]) -> Path:
    """Write the table of contents with what each lab took, and the pages beside it.

    Args:
        folder: of the pages.
        labs: source and title of each lab.
        outcomes: of the labs that ran.

    Returns:
        The file.
    """
    by_number = {outcome.number: outcome for outcome in outcomes}
    rows = []
    for file, name in labs:
        outcome = by_number.get(file.name[:2])
        cells = ["not run", "", ""] if outcome is None else [*_figures(outcome), "ran" if outcome.ok else "FAILED"]
        link = f'<a href="{file.stem}.html">{escape(name)}</a>' if outcome is not None else escape(name)
        rows.append("<tr><td>" + "</td><td>".join([link, *cells]) + "</td></tr>")
    head = "<tr><th>lab</th><th>seconds</th><th>memory</th><th></th></tr>"
    links = " · ".join(f'<a href="{Path(page).stem}.html">{Path(page).stem}</a>' for page in PAGES)
    _write(folder / INDEX, "The labs", f"<h1>The labs</h1><p>{links}</p><table>{head}{''.join(rows)}</table>")
    for page in PAGES:
        text = (LABS / page).read_text(encoding="utf-8")
        body = mistune.create_markdown(plugins=["table"])(_to_pages(text, folder))
        _write(folder / f"{Path(page).stem}.html", Path(page).stem, body)
    return folder / INDEX


def _figures(outcome: Outcome) -> list[str]:
    return [f"{outcome.seconds:.0f} s", f"{outcome.peak_mb / 1000:.1f} GB"]


def _write(target: Path, name: str, body: str) -> None:
    head = f'<meta charset="utf-8"><title>{escape(name)}</title><style>{_STYLE}</style>'
    with write_aside(target) as aside:
        aside.write_text(f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}</body></html>', "utf-8")


def _describe(output: NotebookNode) -> None:
    """Let a picture keep its words: nbconvert's page of JupyterLab's look leaves them out."""
    data = output.get("data", {})
    alt = output.get("metadata", {}).get(PNG, {}).get("alt")
    if alt and PNG in data and "text/html" not in data:
        data["text/html"] = f'<img alt="{escape(alt)}" style="max-width:100%" src="data:{PNG};base64,{data.pop(PNG)}">'


def _to_pages(markdown: str, folder: Path) -> str:
    """Links between notebooks and documents as links between pages, and those to the project's files from the pages."""
    markdown = re.sub(r"\]\(([0-9]{2}_\w+)\.ipynb\)", r"](\1.html)", markdown)
    markdown = markdown.replace("](README.md", f"]({INDEX}").replace("](errors.md", "](errors.html")
    up = Path(os.path.relpath(ROOT, folder)).as_posix()
    return markdown.replace("](../", f"]({up}/")
