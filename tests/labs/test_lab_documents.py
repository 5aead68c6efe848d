"""The commands of labs/README.md are understood, and what the errors page quotes is what programs say."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from documents import commands, find_what_is_named
from labkit import notebooks, run_labs

README = "labs/README.md"
PROGRAMS = {"labs.labkit.run_labs": run_labs.main, "labs.labkit.notebooks": notebooks.main}


@pytest.mark.parametrize("command", [line for line in commands(README) if "-m labs" in line])
def test_commands_are_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, module, *arguments = shlex.split(command)
    with pytest.raises(SystemExit) as ended:
        PROGRAMS[module]([*arguments, "--help"])
    assert ended.value.code == 0 and module in capsys.readouterr().out


def test_what_is_named_is_there() -> None:
    find_what_is_named(README)
    find_what_is_named("labs/errors.md")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("labs/labkit/checks.py", "write your guess first"),
        ("labs/labkit/data.py", "usable patients, {wanted} were wanted"),
        ("labs/labkit/commands.py", "ended with exit code"),
        ("bundle/scripts/runs.py", "already holds a training"),
        ("bundle/scripts/layouts.py", "there is no such folder; check dataset_dir"),
    ],
)
def test_quoted_messages_are_still_those_of_the_programs(file: str, words: str) -> None:
    root = Path(__file__).resolve().parents[2]
    assert words in (root / file).read_text(encoding="utf-8")
    quoted = words.replace("{wanted}", "8")
    assert quoted in (root / "labs" / "errors.md").read_text(encoding="utf-8")
