"""What the command line refuses before a command begins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sm_launch.cli import main

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (("apply", "spec.yaml"), ("follow", "a-1"), ("predict", "a-1", "cases", "out"), ("down", "a-1"))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("pause", ["-1", "0", "nan", "inf", "1e10", "soon"])
def test_a_pause_that_cannot_be_waited(
    command: tuple[str, ...], pause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, f"--poll={pause}"])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert f"argument --poll: is '{pause}'; write seconds above 0 and at most 3600, such as 10." in err


def test_a_reader_that_has_gone_is_no_error_of_pythons(tmp_path: Path) -> None:
    """As 'head' closes its end; output is buffered, as it is where PYTHONUNBUFFERED is not set."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sm_launch", "ls"], cwd=ROOT, env=env | {"SM_LAUNCH_HOME": str(tmp_path)},
        stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
