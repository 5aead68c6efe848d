"""Files that are whole or absent, and errors that are one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from scripts.errors import InputError, find_input_error, one_sentence
from scripts.files import read_json, refuse_unwritable, write_aside, write_json, write_texts

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    write_json(target, {"a": 1})
    with pytest.raises(ZeroDivisionError), write_aside(target) as aside:
        aside.write_text("half")
        1 / 0  # noqa: B018
    assert read_json(target, "result") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_suffix_is_kept_for_libraries_that_look_at_it(tmp_path: Path) -> None:
    with write_aside(tmp_path / "case_seg.nii.gz") as aside:
        assert aside.name.endswith(".nii.gz")


def test_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder is wanted")
    with pytest.raises(
        InputError, match="cannot be written .*file is no folder.; move that file away or choose another"
    ):
        write_json(tmp_path / "file" / "x.json", {})
    with pytest.raises(InputError, match="cannot be written .*; free some space or choose a folder"):
        write_json(tmp_path / ("too long " * 40) / "x.json", {})


def test_a_folder_of_the_files_name_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with (
        pytest.raises(InputError, match=r"x\.json: cannot be written .it is a folder"),
        write_aside(tmp_path / "x.json"),
    ):
        pytest.fail("the work was begun")


def test_files_that_belong_together_are_all_new_or_all_old(tmp_path: Path) -> None:
    write_texts(tmp_path, {"a": "1\r\n", "b": "1\n"})
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"1\r\n", b"1\n"]
    (tmp_path / "c").mkdir()
    for names in ("abc", "cab"):
        with pytest.raises(InputError, match="c: cannot be written"):
            write_texts(tmp_path, dict.fromkeys(names, "2"))
    with pytest.raises(UnicodeEncodeError):
        write_texts(tmp_path, {"a": "2", "b": "\ud800"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"1\r\n", b"1\n"]


def test_probing_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    refuse_unwritable(tmp_path / "new" / "one", ["a"])
    refuse_unwritable(tmp_path, ["a"])
    assert not list(tmp_path.iterdir())
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="a: cannot be written .it is a folder"):
        refuse_unwritable(tmp_path, ["b", "a"])


def test_damaged_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match=r"x\.json: the split is not valid JSON"):
        read_json(tmp_path / "x.json", "split")
    with pytest.raises(InputError, match="cannot read the split"):
        read_json(tmp_path / "absent.json", "split")


def test_input_error_is_found_below_other_libraries_wrappers() -> None:
    try:
        try:
            raise InputError("the cause")
        except InputError as error:
            raise RuntimeError("Failed to instantiate component") from error
    except RuntimeError as error:
        assert str(find_input_error(error)) == "the cause"
    assert find_input_error(ValueError("ours is not among them")) is None


def test_command_prints_the_sentence_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise InputError("x.nii.gz: is truncated; download it again.")

    assert one_sentence(main) == 1
    assert capsys.readouterr().err == "error: x.nii.gz: is truncated; download it again.\n"


@pytest.mark.parametrize(("raised", "shown"), [("InputError('a sentence.')", False), ("KeyError('ours?')", True)])
def test_uncaught_input_error_ends_the_process_without_a_traceback(raised: str, shown: bool) -> None:
    code = (
        "from scripts.errors import InputError, install_excepthook\n"
        "install_excepthook(); install_excepthook()\n"
        f"try:\n    raise {raised}\nexcept Exception as e:\n    raise RuntimeError('wrapped') from e\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=BUNDLE, capture_output=True, text=True)
    assert done.returncode == 1
    assert ("Traceback" in done.stderr) is shown
    if not shown:
        assert done.stderr == "error: a sentence.\n"
