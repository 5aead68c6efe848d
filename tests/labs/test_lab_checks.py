"""Guesses are asked for and never wrong; answers get hints; hints do not tell."""

from __future__ import annotations

import pytest
from labkit.checks import NotYet, Prediction, answered, predict, require, reveal, right


def test_no_guess_stops_with_the_question() -> None:
    with pytest.raises(NotYet, match="write your guess first .a number. .* How many"):
        predict("How many?", ...)
    with pytest.raises(NotYet, match="one of 1, 2, 3"):
        predict("Which?", ..., choices=(1, 2, 3))


@pytest.mark.parametrize("guess", ["seven", True, None])
def test_a_guess_is_a_number_where_no_choices_are_given(guess: object) -> None:
    with pytest.raises(NotYet, match="write a number"):
        predict("How many?", guess)


def test_a_guess_is_among_the_choices() -> None:
    with pytest.raises(NotYet, match="4 is no answer to 'Which.'; write one of 1, 2"):
        predict("Which?", 4, choices=(1, 2))


@pytest.mark.parametrize(
    ("guess", "measured", "said"),
    [
        (100, 104.0, "You said 100 ml; it is 104 ml, as you expected."),
        (50, 104.0, "within a factor of 2.1."),
        (0, 3, "You said 0 ml; it is 3 ml, 3 away."),
        (2_000_000, 1_000_000, "You said 2,000,000 ml; it is 1,000,000 ml, within a factor of 2."),
    ],
)
def test_a_guess_is_shown_beside_the_truth(
    guess: float, measured: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reveal(Prediction("How many?", guess, "ml"), measured, "It is so.")
    out = capsys.readouterr().out
    assert said in out and "It is so." in out


def test_words_are_right_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    reveal(predict("Where?", "T1w", choices=("T1w", "FLAIR")), "FLAIR", "Because.")
    assert "You said T1w; it is FLAIR." in capsys.readouterr().out
    reveal(predict("Where?", "FLAIR", choices=("T1w", "FLAIR")), "FLAIR", "Because.")
    assert "it is FLAIR, as you expected." in capsys.readouterr().out


def test_text_of_data_is_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    right("a < b")
    assert "a &lt; b" in capsys.readouterr().out


def test_hints() -> None:
    assert answered(3) == 3
    with pytest.raises(NotYet, match="the volume has no answer yet"):
        answered(..., "the volume")
    with pytest.raises(NotYet) as failed:
        require(1 > 2, "look again")
    # What a notebook shows of it is the hint alone.
    assert failed.value._render_traceback_() == ["Not yet: look again"]
