"""Every command of docs/inference.md is run here."""

from __future__ import annotations

from pathlib import Path

from documents import find_what_is_named, run_in_order

PAGE = "bundle/docs/inference.md"


def test_commands_run_in_the_order_shown(tmp_path: Path) -> None:
    run_in_order(PAGE, tmp_path)


def test_files_and_modules_that_are_named_exist() -> None:
    find_what_is_named(PAGE)
