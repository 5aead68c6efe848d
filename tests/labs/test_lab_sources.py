"""Every lab has the form that a learner counts on, and its notebook is the one made from its source."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from labkit.contents import renewed
from labkit.header import title
from labkit.notebooks import SOLUTION, exercise, put_back, read_lab, sources, text_of
from nbformat import NotebookNode
from scripts.errors import InputError

LABS = sources()
LINES = 15
PROMISE = "**After this lab you can**"
ANSWER = "## What to take away"
TYPES = {"str": str, "int": int, "float": (int, float), "bool": bool}
every_lab = pytest.mark.parametrize("file", LABS, ids=lambda file: file.stem)


def bullets(markdown: str, heading: str) -> list[str]:
    """The points of the list that follows a heading."""
    after = markdown[markdown.index(heading) + len(heading) :].lstrip("\n")
    return re.findall(r"^- ", re.split(r"\n\n(?!- )", after)[0], flags=re.MULTILINE)


def calls(lab: NotebookNode, name: str) -> int:
    """How often the code calls functions whose name begins so."""
    code = "\n".join(cell.source for cell in lab.cells if cell.cell_type == "code")
    found = [node.func for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return sum(isinstance(function, ast.Name) and function.id.startswith(name) for function in found)


def markdown(lab: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in lab.cells if cell.cell_type == "markdown")


@every_lab
def test_notebook_is_made_from_its_source(file: Path) -> None:
    lab = read_lab(file)
    assert file.with_suffix(".ipynb").read_text(encoding="utf-8") == text_of(exercise(lab)), (
        "run python -m labs.labkit.notebooks"
    )


@every_lab
def test_solutions_put_back_make_the_lab(file: Path) -> None:
    learner = nbformat.read(file.with_suffix(".ipynb"), as_version=4)
    lab = read_lab(file)
    code = "\n".join(cell.source for cell in learner.cells if cell.cell_type == "code")
    assert "# solution" not in code and "..." in code
    assert [cell.source for cell in put_back(learner, lab).cells] == [cell.source for cell in lab.cells]
    assert all(cell.cell_type == "markdown" or not cell.outputs for cell in learner.cells)


@every_lab
def test_cells_are_short(file: Path) -> None:
    for cell in read_lab(file).cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= LINES, cell.source


@every_lab
def test_learner_predicts_runs_and_is_told(file: Path) -> None:
    lab = read_lab(file)
    assert calls(lab, "predict") >= 3 and calls(lab, "reveal") >= calls(lab, "predict")
    assert calls(lab, "check_") >= 2
    assert any("figure" in cell.metadata.get("tags", []) for cell in lab.cells)


@every_lab
def test_closing_points_answer_the_opening_ones(file: Path) -> None:
    text = markdown(read_lab(file))
    promised = bullets(text, PROMISE)
    assert 3 <= len(promised) <= 6 and len(bullets(text, ANSWER)) == len(promised)
    for part in ("**Before you start**", "## Left behind"):
        assert part in text, f"{file.name} has no '{part}'"


@every_lab
def test_parameters_are_typed_and_explained(file: Path) -> None:
    (cell,) = (cell for cell in read_lab(file).cells if "parameters" in cell.metadata.get("tags", []))
    for line, statement in zip(cell.source.splitlines(), ast.parse(cell.source).body, strict=True):
        assert isinstance(statement, ast.AnnAssign) and statement.target.id.isupper(), line
        assert re.search(r"  # \w+", line), f"{line} lacks its comment"
        assert isinstance(ast.literal_eval(statement.value), TYPES[statement.annotation.id]), line


@every_lab
def test_nothing_is_bound_to_cuda_or_to_a_machine(file: Path) -> None:
    code = "\n".join(cell.source for cell in read_lab(file).cells if cell.cell_type == "code")
    assert not re.search(r"\.cuda\(|[\"']cuda|/home/|/work/|/tmp/", code)


def test_numbers_are_in_order_and_links_lead_somewhere() -> None:
    numbers = [file.name[:2] for file in LABS]
    assert numbers == sorted(set(numbers))
    for file in LABS:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", markdown(read_lab(file))):
            assert (file.parent / target).exists(), f"{file.name} links to {target}"


def test_titles_carry_their_numbers() -> None:
    for file in LABS:
        assert re.match(rf"{file.name[:2]} · [A-Z]", title(read_lab(file).cells[0].source)), file.name


def test_nothing_but_solutions_is_left_out() -> None:
    for file in LABS:
        lab = read_lab(file)
        kept = {cell.id for cell in exercise(lab).cells}
        for cell in lab.cells:
            assert (cell.id in kept) != (SOLUTION in cell.metadata.get("tags", []))


def test_contents_are_made_from_the_labs() -> None:
    readme = (LABS[0].parent / "README.md").read_text(encoding="utf-8")
    assert renewed(readme, LABS) == readme, "run python -m labs.labkit.notebooks"
    with pytest.raises(InputError, match="put them around"):
        renewed("# Labs\n", LABS)
