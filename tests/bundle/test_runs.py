"""Run folders and the refusal of misspelt overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.errors import InputError
from scripts.runs import command, refuse_unknown_items, run_dir, shipped_items, versions

CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"


def test_misspelt_override_is_refused_with_the_nearest_name() -> None:
    config = {"epochs": 3, "epochz": 3, "train": {"trainer": {"max_epochs": "@epochs"}}}
    with pytest.raises(InputError, match="override 'epochz' is read by nothing in this config; did you mean 'epochs'?"):
        refuse_unknown_items(config, shipped=set())


def test_a_users_own_item_that_is_referenced_is_welcome() -> None:
    refuse_unknown_items({"my_loss": {"_target_": "DiceLoss"}, "train": {"loss": "@my_loss"}}, shipped=set())


def test_a_name_is_not_taken_for_the_beginning_of_a_longer_one() -> None:
    with pytest.raises(InputError, match="override 'epoch'"):
        refuse_unknown_items({"epoch": 3, "epochs": 3, "train": {"n": "@epochs", "m": "@epochs::0"}}, shipped=set())


def test_shipped_names_come_from_every_config() -> None:
    names = shipped_items(CONFIGS)
    assert {"epochs", "save_probabilities", "evaluate_on", "cache_dir", "reshape", "backend", "train"} <= names
    assert not any(name.startswith("+") or "::" in name for name in names)


def test_run_folder_is_absolute_and_named_or_dated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_dir("runs", "first") == str(tmp_path / "runs" / "first")
    assert run_dir("runs", None).startswith(str(tmp_path / "runs" / "20"))


def test_command_can_be_typed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["site-packages/monai/bundle/__main__.py", "run", "--config_file", "['a.json','b.json']"]
    )
    assert command() == """python -m monai.bundle run --config_file '['"'"'a.json'"'"','"'"'b.json'"'"']'"""


def test_versions_name_what_a_result_depends_on() -> None:
    assert {"python", "platform", "monai", "torch", "numpy", "nibabel"} <= set(versions())
