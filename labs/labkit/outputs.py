"""What an executed lab has to show: every cell run, every figure there and described, no noise."""

from __future__ import annotations

from collections.abc import Iterator

from nbformat import NotebookNode

FIGURE = "figure"
# A kernel alone takes longer to start: below it nothing was run (pytorch/tutorials' "ran in 0.000 s" rule).
LEAST_SECONDS = 1.0
_PICTURES = ("image/png", "image/svg+xml")
_FRAME = "<iframe"


def problems(notebook: NotebookNode, seconds: float) -> Iterator[str]:
    """What is wrong with an executed lab, a sentence each.

    Args:
        notebook: with outputs.
        seconds: how long it ran.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    ran = [cell for cell in cells if cell.execution_count is not None]
    if seconds < LEAST_SECONDS or not ran:
        yield f"it ran {len(ran)} cells in {seconds:.1f} s, which is no run"
    for cell in cells:
        name = f"cell {cell.execution_count or '-'} ({_first_line(cell)})"
        if cell.source.strip() and cell.execution_count is None:
            yield f"{name} was not run"
        if FIGURE in cell.metadata.get("tags", []) and not any(_is_picture(output) for output in cell.outputs):
            yield f"{name} shows no figure, and one is due"
        for output in cell.outputs:
            yield from (f"{name} {problem}" for problem in _output_problems(output))


def _output_problems(output: NotebookNode) -> Iterator[str]:
    if output.output_type == "stream" and output.name == "stderr":
        yield f"writes to stderr: {(output.text.strip().splitlines() or ['an empty line'])[-1][:200]}"
    data = output.get("data", {})
    framed = _FRAME in data.get("text/html", "")
    for kind in _PICTURES:
        # A viewer's page speaks for itself; its picture is what shows where pages do not.
        if kind in data and not framed and not output.metadata.get(kind, {}).get("alt"):
            yield "shows a figure without words for those who cannot see it; show it by labkit.figures.show"


def _is_picture(output: NotebookNode) -> bool:
    data = output.get("data", {})
    return any(kind in data for kind in _PICTURES) or _FRAME in data.get("text/html", "")


def _first_line(cell: NotebookNode) -> str:
    return next((line for line in cell.source.splitlines() if line.strip()), "empty")[:60]
