"""The commands of labs/README.md are understood, and what the errors page quotes is what programs say."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import pytest
from documents import commands, find_what_is_named
from labkit import notebooks, run_labs

ROOT = Path(__file__).resolve().parents[2]
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
    assert words in (ROOT / file).read_text(encoding="utf-8")
    quoted = words.replace("{wanted}", "8")
    assert quoted in (ROOT / "labs" / "errors.md").read_text(encoding="utf-8")


def test_patients_that_lab_05_wants_are_those_of_the_errors_page() -> None:
    lab = ast.parse((ROOT / "labs" / "05_many_gpus.py").read_text(encoding="utf-8"))
    (call,) = (node for node in ast.walk(lab) if isinstance(node, ast.Call) and ast.unparse(node.func) == "datalist")

    def wanted(processes: int) -> dict[str, int]:
        return {"test": 1} | {
            str(part.arg): eval(ast.unparse(part.value), {"PROCESSES": processes}) for part in call.keywords
        }

    # The bundle refuses to deal fewer validation cases than there are processes.
    assert all(wanted(processes)["validation"] >= processes for processes in (1, 2, 4, 7))
    page = (ROOT / "labs" / "errors.md").read_text(encoding="utf-8")
    assert f"{sum(wanted(2).values())} were wanted" in page and f"which needs {sum(wanted(1).values())}" in page


@pytest.mark.parametrize("number", ["02", "05", "07", "10"])
def test_a_lab_that_trains_empties_its_folder_as_the_errors_page_says(number: str) -> None:
    (lab,) = (ROOT / "labs").glob(f"{number}_*.py")
    assert f'work("{number}", fresh=True)' in lab.read_text(encoding="utf-8")
