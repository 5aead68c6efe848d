"""What the command line refuses before a command begins."""

from __future__ import annotations

import pytest

from sm_launch.cli import main

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
