"""Predict, run, explain; and exercises that answer with a hint, not with the solution.

The exercise notebooks hold ``...`` where the learner's answer goes. Whatever reads an answer asks for it first, so an
unanswered notebook stops there with a hint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape, unescape
from numbers import Real
from typing import Any, NoReturn

from IPython.display import HTML, display

UNANSWERED = ...


class NotYet(Exception):
    """An answer that is missing or not right yet; the message is a hint."""

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this: a learner needs the hint, not the frames of labkit.
        return [f"Not yet: {self}"]


@dataclass(frozen=True)
class Prediction:
    """What a learner expects before the run.

    Attributes:
        question: what was asked.
        guess: the answer.
        unit: of the answer, such as ``ml``.
    """

    question: str
    guess: Any
    unit: str = ""


def predict(question: str, guess: Any, choices: Iterable[Any] | None = None, unit: str = "") -> Prediction:
    """Take a guess; no guess is wrong, but a guess there must be.

    Args:
        question: one sentence.
        guess: the answer; ``...`` is none.
        choices: the answers to choose among; None takes a number.
        unit: of a number.

    Raises:
        NotYet: there is no guess, or it is not among the choices.
    """
    allowed = None if choices is None else list(choices)
    wanted = "a number" if allowed is None else "one of " + ", ".join(map(repr, allowed))
    if guess is UNANSWERED:
        hint(f"write your guess first ({wanted}) in place of the dots; no guess is wrong. {question}")
    fits = isinstance(guess, int | float) and not isinstance(guess, bool) if allowed is None else guess in allowed
    if not fits:
        hint(f"{guess!r} is no answer to '{question}'; write {wanted}.")
    return Prediction(question, guess, unit)


def reveal(prediction: Prediction, measured: Any, because: str) -> None:
    """Show a guess beside what came out, and why it did.

    Args:
        prediction: as :func:`predict` made it.
        measured: what the run showed.
        because: the explanation, one or two sentences.
    """
    guess, unit = prediction.guess, f" {prediction.unit}" if prediction.unit else ""
    rows = [
        f"You said <b>{escape(_written(guess))}{unit}</b>; it is <b>{escape(_written(measured))}{unit}</b>"
        f"{escape(_judged(guess, measured))}.",
        escape(because),
    ]
    _box(rows, "#0072B2")


def answered(answer: Any, what: str = "this exercise") -> Any:
    """The answer, if there is one.

    Raises:
        NotYet: it is still ``...``.
    """
    if answer is UNANSWERED:
        hint(f"{what} has no answer yet; replace the dots.")
    return answer


def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a learner's function gives.

    Raises:
        NotYet: it is not written yet.
    """
    result = answered(function)(*arguments)
    if result is None or result is UNANSWERED:
        hint(f"{function.__name__} returns nothing yet; write its body, and return the answer.")
    return result


def counted(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a learner's function gives, a number.

    Raises:
        NotYet: it is not written yet, or gives something else.
    """
    result = called(function, *arguments)
    require(isinstance(result, Real), f"{function.__name__} returns {result!r}; a number is wanted.")
    return result


def require(condition: bool, clue: str) -> None:
    """Go on only if the condition holds.

    Args:
        condition: what an answer must fulfil.
        clue: a hint that does not tell the answer.

    Raises:
        NotYet: it does not hold.
    """
    if not condition:
        hint(clue)


def right(why: str) -> None:
    """Say that an exercise is solved, and why the answer is right."""
    _box([f"<b>Right.</b> {escape(why)}"], "#009E73")


def hint(clue: str) -> NoReturn:
    """Stop with a hint."""
    raise NotYet(clue)


def _judged(guess: Any, measured: Any) -> str:
    """How far a number was off; right or not for anything else."""
    numbers = [value for value in (guess, measured) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 2:
        return ", as you expected" if guess == measured else ""
    if math.isclose(guess, measured, rel_tol=0.1, abs_tol=1e-9):
        return ", as you expected"
    if min(guess, measured) <= 0:
        return f", {abs(measured - guess):.3g} away"
    return f", within a factor of {max(guess / measured, measured / guess):.2g}"


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


class _Box(HTML):
    """HTML that is also legible where only plain text shows."""

    def __init__(self, html: str, text: str) -> None:
        super().__init__(html)
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _box(rows: list[str], colour: str) -> None:
    style = f"border-left:4px solid {colour};padding:.3em .8em;margin:.3em 0"
    html = f'<div style="{style}">' + "<br>".join(rows) + "</div>"
    text = unescape("\n".join(rows).replace("<b>", "").replace("</b>", ""))
    display(_Box(html, text))
