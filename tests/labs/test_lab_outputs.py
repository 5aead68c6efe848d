"""An executed lab that shows too little, or too much noise, is found out."""

from __future__ import annotations

from labkit.outputs import problems
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output


def executed(*outputs: NotebookNode, tags: tuple[str, ...] = (), count: int | None = 1) -> NotebookNode:
    cell = new_code_cell("draw()", execution_count=count, outputs=list(outputs), metadata={"tags": list(tags)})
    return new_notebook(cells=[cell])


def picture(**metadata: dict[str, str]) -> NotebookNode:
    return new_output("display_data", data={"image/png": "", "text/plain": ""}, metadata=dict(metadata))


def found(notebook: NotebookNode, seconds: float = 9.0) -> list[str]:
    return list(problems(notebook, seconds))


def test_a_described_figure_is_what_is_wanted() -> None:
    described = picture(**{"image/png": {"alt": "a brain"}})
    assert found(executed(described, tags=("figure",))) == []


def test_a_figure_that_is_due_and_not_there() -> None:
    (problem,) = found(executed(new_output("stream", name="stdout", text="Figure(400x300)"), tags=("figure",)))
    assert problem == "cell 1 (draw()) shows no figure, and one is due"


def test_a_viewer_is_a_figure_that_describes_itself() -> None:
    viewer = new_output("display_data", data={"text/html": "<iframe srcdoc=''></iframe>", "image/png": ""})
    assert found(executed(viewer, tags=("figure",))) == []


def test_a_figure_without_words() -> None:
    (problem,) = found(executed(picture()))
    assert "without words" in problem


def test_noise() -> None:
    (problem,) = found(executed(new_output("stream", name="stderr", text="a\nUserWarning: old\n")))
    assert problem == "cell 1 (draw()) writes to stderr: UserWarning: old"
    (problem,) = found(executed(new_output("stream", name="stderr", text="\n")))
    assert problem == "cell 1 (draw()) writes to stderr: an empty line"


def test_no_run() -> None:
    assert found(executed(count=None)) == ["it ran 0 cells in 9.0 s, which is no run", "cell - (draw()) was not run"]
    assert found(executed(), seconds=0.0) == ["it ran 1 cells in 0.0 s, which is no run"]
