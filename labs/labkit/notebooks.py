"""From a lab's source to its notebooks: with solutions, as it runs, and without, as learners get it.

A lab is one file in the percent format, ``NN_name.py``, with its solutions inside; nobody edits the notebook beside it.
``python -m labs.labkit.notebooks`` writes those anew.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from scripts.errors import InputError, one_sentence
from scripts.files import write_aside

from .contents import renewed
from .header import CONTENTS, header
from .project import LABS

SOLUTION = "solution"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
YOUR_GUESS = "# your guess"
YOUR_ANSWER = "# your answer"
YOUR_CODE = "# Write your code here."
_MARK = re.compile(r"\s*# solution(:.*)?$")
_BLOCK = re.compile(r"^([ \t]*)# solution begins$.*?^[ \t]*# solution ends$", re.MULTILINE | re.DOTALL)


def sources(numbers: Sequence[str] = ()) -> list[Path]:
    """The labs' sources in their order.

    Args:
        numbers: only these labs, such as ``["00", "07"]``, each once; none are all.

    Raises:
        InputError: there is no lab of such a number.
    """
    found = {file.name[:2]: file for file in sorted(LABS.glob("[0-9][0-9]_*.py"))}
    unknown = [number for number in numbers if number not in found]
    if unknown:
        raise InputError(f"there is no lab {', '.join(unknown)}; choose among {', '.join(found)}.")
    return [found[number] for number in dict.fromkeys(numbers) or found]


def read_lab(file: Path) -> NotebookNode:
    """A lab as it runs: solutions inside, no outputs, and cell ids that depend on the place in the file alone."""
    notebook = jupytext.read(file, fmt="py:percent")
    for index, cell in enumerate(notebook.cells):
        cell.id = hashlib.sha1(f"{file.stem}:{index}".encode()).hexdigest()[:8]
    notebook.metadata = NotebookNode(kernelspec=NotebookNode(KERNEL), language_info=NotebookNode(name="python"))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.cells[0].source = header(file, sources(), notebook.cells[0].source)
    return notebook


def exercise(lab: NotebookNode) -> NotebookNode:
    """The notebook that learners get: answers replaced by dots, cells tagged ``solution`` left out."""
    notebook = nbformat.from_dict(lab)
    notebook.cells = [cell for cell in notebook.cells if SOLUTION not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = without_answers(cell.source)
    return notebook


def put_back(notebook: NotebookNode, lab: NotebookNode) -> NotebookNode:
    """An exercise notebook with the lab's solutions in their places again: cells are matched by their id."""
    given = {cell.id: cell for cell in notebook.cells}
    solved = nbformat.from_dict(notebook)
    solved.cells = []
    for cell in lab.cells:
        if cell.id in given and without_answers(cell.source) != given[cell.id].source and cell.cell_type == "code":
            raise InputError(f"cell {cell.id} is not the exercise of its lab; write the notebooks anew.")
        solved.cells.append(nbformat.from_dict(cell))
    return solved


def without_answers(code: str) -> str:
    """A code cell with what learners shall find replaced by dots.

    ``x = EXPRESSION  # solution`` loses its right-hand side, ``x = predict(QUESTION, GUESS, ...)  # solution`` its
    guess, and what stands between the lines ``# solution begins`` and ``# solution ends`` goes altogether.
    """
    code = _BLOCK.sub(lambda found: found[1] + YOUR_CODE, code)
    lines = code.splitlines()
    if not any(_MARK.search(line) for line in lines):
        return code
    for statement in reversed(ast.parse(code).body):
        last = statement.end_lineno - 1
        if not _MARK.search(lines[last]):
            continue
        if not isinstance(statement, ast.Assign):
            raise InputError(f"'{lines[last].strip()}' marks no assignment as a solution; mark 'name = value'.")
        lines[statement.lineno - 1 : last + 1] = _unanswered(statement, code)
    return "\n".join(lines)


def _unanswered(statement: ast.Assign, code: str) -> list[str]:
    """The lines of an assignment, its answer replaced."""
    text = ast.get_source_segment(code, statement)
    value = statement.value
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "predict":
        guess = ast.get_source_segment(code, value.args[1])
        question = ast.get_source_segment(code, value.args[0])
        begin = text.index(guess, text.index(question) + len(question))
        return f"{text[:begin]}...{text[begin + len(guess) :]}  {YOUR_GUESS}".splitlines()
    targets = " = ".join(ast.get_source_segment(code, target) for target in statement.targets)
    # Several names on the left take a set of dots each.
    names = len(statement.targets[0].elts) if isinstance(statement.targets[0], ast.Tuple) else 1
    return [f"{targets} = {', '.join(['...'] * names)}  {YOUR_ANSWER}"]


def text_of(notebook: NotebookNode) -> str:
    """A notebook as it stands in its file."""
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Write the exercise notebooks of all labs, and the table of contents."""
    parser = argparse.ArgumentParser(prog="python -m labs.labkit.notebooks", description=main.__doc__)
    parser.parse_args(argv)

    def run() -> int:
        for file in sources():
            target = file.with_suffix(".ipynb")
            with write_aside(target) as aside:
                aside.write_text(text_of(exercise(read_lab(file))), encoding="utf-8")
            sys.stdout.write(f"{target.relative_to(LABS.parent)}\n")
        readme = LABS / CONTENTS
        text = renewed(readme.read_text(encoding="utf-8"), sources())
        with write_aside(readme) as aside:
            aside.write_text(text, encoding="utf-8")
        return 0

    return one_sentence(run)


if __name__ == "__main__":
    sys.exit(main())
