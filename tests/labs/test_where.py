"""Where data lie and jobs run: words that labs know, and others, which stop them."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest
from labkit.execution import execute
from labkit.notebooks import KERNEL, read_lab, sources
from labkit.where import runs_in_account
from nbformat.v4 import new_code_cell, new_notebook
from scripts.errors import InputError

LAUNCHING = [file for file in sources() if file.name[:2] in ("06", "09", "11")]


def names(file: Path, name: str) -> list[ast.Name]:
    """Where a lab reads a name, in order."""
    code = "\n".join(cell.source for cell in read_lab(file).cells if cell.cell_type == "code")
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and node.id == name]
    return sorted((node for node in found if isinstance(node.ctx, ast.Load)), key=lambda node: node.lineno)


def test_the_two_words() -> None:
    assert not runs_in_account("local") and runs_in_account("sagemaker")


@pytest.mark.parametrize("word", ["SageMaker", "aws", "Local", "", " local", None, True])
def test_any_other_word_is_refused(word: object) -> None:
    with pytest.raises(InputError) as caught:
        runs_in_account(word)
    assert str(caught.value).startswith(f"COMPUTE is {word!r}, local or sagemaker was wanted; ")


def test_labs_that_launch_are_those_that_have_the_parameter() -> None:
    assert [file for file in sources() if "COMPUTE: str" in file.read_text(encoding="utf-8")] == LAUNCHING


@pytest.mark.parametrize("file", LAUNCHING, ids=lambda file: file.stem)
def test_labs_ask_once_and_before_anything_else(file: Path) -> None:
    (read,) = names(file, "COMPUTE")
    (asked,) = names(file, "runs_in_account")
    assert read.lineno == asked.lineno
    begun = [node.lineno for name in ("predict", "dataset", "work", "run") for node in names(file, name)]
    assert asked.lineno < min(begun)


def test_a_lab_stops_with_the_sentence_alone(tmp_path: Path) -> None:
    code = "from labkit.where import runs_in_account\nin_account = runs_in_account(COMPUTE)"
    cells = [new_code_cell("COMPUTE = 'local'", metadata={"tags": ["parameters"]}), new_code_cell(code)]
    lab = new_notebook(cells=cells, metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})
    nbformat.write(lab, tmp_path / "lab.ipynb")
    outcome = execute("06", tmp_path / "lab.ipynb", tmp_path / "out.ipynb", {"COMPUTE": "aws"})
    assert outcome.failure.endswith(
        "\n\nerror: COMPUTE is 'aws', local or sagemaker was wanted; write one of them in the cell of parameters, and "
        "run the lab from there."
    )
