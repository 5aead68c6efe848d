"""Answers are taken out of a lab, and nothing else is."""

from __future__ import annotations

import nbformat
import pytest
from labkit.notebooks import exercise, put_back, sources, without_answers
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from scripts.errors import InputError


@pytest.mark.parametrize(
    ("solved", "asked"),
    [
        ("x = 3  # solution", "x = ...  # your answer"),
        ("a, b = f()  # solution: two", "a, b = ..., ...  # your answer"),
        ("y = 1\nx = {\n    1: 2,\n}  # solution\nz = 3", "y = 1\nx = ...  # your answer\nz = 3"),
        (
            'p = predict("3 > 2?", 3, unit="mm")  # solution',
            'p = predict("3 > 2?", ..., unit="mm")  # your guess',
        ),
        (
            "a = 1\n# solution begins\na = 2\nb = a\n# solution ends\nprint(a)",
            "a = 1\n# Write your code here.\nprint(a)",
        ),
        ("text = 'the solution'  # not a mark", "text = 'the solution'  # not a mark"),
    ],
)
def test_answers_become_dots(solved: str, asked: str) -> None:
    assert without_answers(solved) == asked


def test_several_answers_of_one_cell() -> None:
    assert without_answers("a = 1  # solution\nb = 2\nc = 3  # solution") == (
        "a = ...  # your answer\nb = 2\nc = ...  # your answer"
    )


def test_a_mark_that_marks_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="marks no assignment"):
        without_answers("print(3)  # solution")


def test_put_back_restores_left_out_cells_and_refuses_strangers() -> None:
    lab = new_notebook(
        cells=[
            new_markdown_cell("text", id="m"),
            new_code_cell("x = 3  # solution", id="c"),
            new_markdown_cell("because", id="s", metadata={"tags": ["solution"]}),
        ]
    )
    learner = exercise(lab)
    assert [cell.source for cell in learner.cells] == ["text", "x = ...  # your answer"]
    assert [cell.source for cell in put_back(learner, lab).cells] == ["text", "x = 3  # solution", "because"]
    nbformat.validate(learner)
    learner.cells[1].source = "x = ...  # another"
    with pytest.raises(InputError, match="write the notebooks anew"):
        put_back(learner, lab)


def test_unknown_lab_is_one_sentence() -> None:
    with pytest.raises(InputError, match="there is no lab 77; choose among 00"):
        sources(["77"])
