"""What labs are written with: commands, data, tables, figures, costs, progress."""

from __future__ import annotations

import json
import sys
from pathlib import Path, PureWindowsPath

import matplotlib.pyplot as plt
import numpy as np
import pytest
from labkit.commands import CommandFailed, quoted, run
from labkit.costs import bill, price
from labkit.data import datalist, dataset, label_scheme, listed, modality_images
from labkit.figures import show
from labkit.progress import progress
from labkit.tables import table
from scripts import phantom
from scripts.datalists import load_datalist
from scripts.errors import InputError
from scripts.phantom import dataset as phantom_dataset


class TestRun:
    def test_what_a_command_wrote_and_took(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "program.py").write_text(
            "import os, sys, time\n"
            "held = bytearray(200_000_000)\n"
            "time.sleep(0.6)\n"
            "print(os.environ['KNOB'], os.getcwd(), flush=True)\n"
            "sys.stdout.write('10%\\r100%\\n')\n"
        )
        done = run("python program.py", cwd=tmp_path, env={"KNOB": "7"})
        assert done.output.splitlines() == [f"7 {tmp_path}", "100%"]
        assert done.find("^7") == [f"7 {tmp_path}"] and done.tail(1) == "100%"
        assert 0.6 < done.seconds < 60 and 200 < done.peak_mb < 1000
        assert done.command == "KNOB=7 python program.py" and "done in" in capsys.readouterr().out

    def test_a_failure_shows_the_last_lines(self, tmp_path: Path) -> None:
        with pytest.raises(
            CommandFailed, match="ended with exit code 3, not 0. Its last lines:\nno such knob"
        ) as failed:
            run("python -c \"print('no such knob'); raise SystemExit(3)\"", cwd=tmp_path)
        assert failed.value._render_traceback_()[-1] == "no such knob"

    def test_a_failure_that_is_wanted(self, tmp_path: Path) -> None:
        assert run('python -c "raise SystemExit(3)"', cwd=tmp_path, code=3).output == ""

    def test_a_command_that_never_ends(self, tmp_path: Path) -> None:
        with pytest.raises(CommandFailed, match="was ended after 1 s"):
            run('python -c "import time; time.sleep(60)"', cwd=tmp_path, timeout_s=1)

    def test_python_is_the_notebooks_own(self, tmp_path: Path) -> None:
        assert run('python -c "import sys; print(sys.executable)"', cwd=tmp_path).output == sys.executable

    def test_a_path_is_one_word(self, tmp_path: Path) -> None:
        folder = tmp_path / "my brain's data"
        folder.mkdir()
        (folder / "program.py").write_text("import sys\nprint(sys.argv[1:])\n")
        done = run(f"python {quoted(folder / 'program.py')} --data {quoted(folder)}", cwd=folder)
        assert done.output == str(["--data", str(folder)])
        assert quoted(PureWindowsPath(r"C:\Users\Ann Lee\data")) == "'C:/Users/Ann Lee/data'"


class TestData:
    def test_cases_of_a_folder(self, tiny_decathlon: Path) -> None:
        cases = listed(dataset(str(tiny_decathlon)), count=2)
        assert len(cases) == 2 and all(Path(case["label"]).is_file() for case in cases)
        scans = modality_images(cases[0])
        assert list(scans) == ["FLAIR", "T1w", "T1gd", "T2w"]
        assert all(scan.shape == (24, 28, 20) for scan in scans.values())
        assert not np.allclose(scans["T1w"].affine, np.eye(4))
        assert label_scheme(tiny_decathlon).name == "msd"

    def test_a_short_split_is_a_datalist_of_the_bundle(self, tiny_decathlon: Path, tmp_path: Path) -> None:
        content = load_datalist(datalist(tiny_decathlon, tmp_path, training=3, validation=2, test=1))
        assert [len(content[part]) for part in ("training", "validation", "test")] == [3, 2, 1]
        patients = [entry["patient"] for part in ("training", "validation", "test") for entry in content[part]]
        assert len(set(patients)) == 6

    def test_too_few_patients(self, tiny_decathlon: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="has 8 usable patients, 9 were wanted"):
            datalist(tiny_decathlon, tmp_path, training=7, validation=1)
        assert not (tmp_path / "datalist.json").exists()

    def test_embedded_patients_are_made_once_and_without_noise(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("BRATS_CACHE_DIR", str(tmp_path))
        made = []
        monkeypatch.setattr(phantom_dataset, "_write_cases", lambda *arguments: made.append(arguments))
        folder = dataset("embedded")
        assert dataset("embedded") == folder == phantom.default_dir() and len(made) == 1
        assert not capfd.readouterr().err

    def test_an_absent_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="there is no such folder"):
            dataset(str(tmp_path / "absent"))


def test_table_in_html_and_text() -> None:
    made = table([["a<b", 1234567], ["c", 0.12345]], ["name", "value"], "two rows")
    assert "<td" in made._repr_html_() and "a&lt;b" in made._repr_html_() and "1,234,567" in made._repr_html_()
    assert repr(made).splitlines() == ["two rows", "name  value", "a<b   1,234,567", "c     0.123"]
    with pytest.raises(ValueError, match="1 values under 2 headings"):
        table([[1]], ["a", "b"])


def test_figure_needs_words(capsys: pytest.CaptureFixture[str]) -> None:
    figure, _ = plt.subplots()
    with pytest.raises(ValueError, match="write alt"):
        show(figure, alt=" ")
    show(figure, alt="empty axes")
    assert not plt.fignum_exists(figure.number)


def test_bill_is_its_own_arithmetic() -> None:
    text = repr(bill([("ml.c5.9xlarge", 20, 0.5), ("ml.m5.large", 1, 2)]))
    total = 20 * 0.5 * price("ml.c5.9xlarge") + 2 * price("ml.m5.large")
    assert f"${total:,.2f}" in text.splitlines()[-1] and "20 x 0.5 h x $1.836/h" in text
    with pytest.raises(InputError, match="ml.none.large: no price in us-east-1 is known"):
        price("ml.none.large")


def test_progress_yields_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([1, 2, 3], "counting")) == [1, 2, 3]
    assert "counting: 3/3 in" in capsys.readouterr().out


def test_measured_times_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labkit import header

    monkeypatch.setattr(header, "TIMES", tmp_path / "times.json")
    assert header.measured() == {} and header.facts(None) == "not measured yet"
    header.record({"03": header.Measured(40, 900, "2026-01-01")})
    header.record({"01": header.Measured(30, 800, "2026-01-02")})
    assert list(json.loads((tmp_path / "times.json").read_text())) == ["01", "03"]
    assert "**40 s** on 2 CPU cores, 0.9 GB" in header.facts(header.measured()["03"])
    assert "40 s x $0.115/h = $0.0013" in header.facts(header.measured()["03"])
