"""The runner, on small labs of its own: what it runs, what it refuses, what it finds wrong, and what it writes."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from labkit import execution, notebooks, run_labs, site
from labkit.execution import execute
from labkit.project import ROOT
from labkit.run_labs import main
from scripts.errors import InputError

SOURCE = """# ---
# jupyter:
#   kernelspec: {{display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # {number} · A small lab
#
# See [the other](02_bad.ipynb), [all](README.md) and [the labels](../bundle/scripts/labels.py).

# %% tags=["parameters"]
DATA: str = "embedded"  # what to read
STEPS: int = 2  # how many

# %% tags=["figure"]
import matplotlib.pyplot as plt
import os
from pathlib import Path
from labkit.figures import show
from labkit.project import work

(work("{number}") / f"{{Path(DATA).name}}-{{STEPS}}").write_text(DATA)
figure, axes = plt.subplots()
{code}
"""


@pytest.fixture
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three labs: one is well, one fails, one shows nothing."""
    codes = {
        "01_good": "show(figure, alt='empty axes')",
        "02_bad": "raise ValueError('no such thing')",
        "03_empty": "plt.close(figure)\nprint(os.environ['OMP_NUM_THREADS'])",
    }
    for name, code in codes.items():
        (tmp_path / f"{name}.py").write_text(SOURCE.format(number=name[:2], code=code), encoding="utf-8")
    for page in site.PAGES:
        (tmp_path / page).write_text("| a |\n|---|\n| [b](01_good.ipynb) |\n", encoding="utf-8")
    monkeypatch.setattr(notebooks, "LABS", tmp_path)
    monkeypatch.setattr(site, "LABS", tmp_path)
    return tmp_path


def test_run_of_all(
    labs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, work = tmp_path / "site", tmp_path / "work"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    code = main(["--site", "site", "--work", "work", "--data", "elsewhere", "--set", "STEPS=5"])
    out = capsys.readouterr().out
    assert code == 1
    assert re.search(r"01_good +\d+\.\d s +[\d,]+ MB  ran\n", out)
    # The failed cell is shown with its traceback.
    assert re.search(r"02_bad .* FAILED\n", out) and "raise ValueError('no such thing')" in out
    assert "ValueError: no such thing" in out
    assert "shows no figure, and one is due" in out
    # Labs run in another folder, and find the one that was meant here.
    assert [file.read_text() for file in work.rglob("elsewhere-5")] == [str(tmp_path / "elsewhere")] * 3
    page = (folder / "01_good.html").read_text(encoding="utf-8")
    assert "data:image/png;base64" in page and 'alt="empty axes"' in page
    assert 'href="02_bad.html"' in page and 'href="index.html"' in page
    (file,) = re.findall(r'href="([^"]+labels\.py)"', page)
    assert (folder / file).resolve() == ROOT / "bundle" / "scripts" / "labels.py"
    # Nothing is fetched, and nothing but the given DATA tells where it ran.
    assert not re.search(r"(?:src|href)=\"https?://[^\"]+\.(?:js|css)", page)
    for file in folder.glob("*.ipynb"):
        assert "papermill" not in nbformat.read(file, as_version=4).metadata
        text = file.read_text(encoding="utf-8").replace(str(tmp_path / "elsewhere"), "").replace("site-packages", "")
        assert str(tmp_path) not in text or "bad" in file.name
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert index.count("FAILED") == 2 and 'href="01_good.html"' in index
    assert 'href="01_good.html"' in (folder / "errors.html").read_text(encoding="utf-8")
    assert not list(folder.glob("*.input.ipynb"))


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("EPOCH=3", "no lab that runs has a parameter EPOCH; choose among DATA, STEPS"),
        ("STEPS=many", "STEPS is 'many', int was wanted; write it like 2"),
        ("STEPS=True", "STEPS is True, int was wanted"),
        ("DATA=3", "DATA is 3, str was wanted"),
        ("STEPS", "--set STEPS is no setting; write NAME=VALUE"),
    ],
)
def test_parameters_that_no_lab_has_are_refused(
    labs: Path, setting: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """papermill would run, and end with 0."""
    assert main(["01", "--site", str(tmp_path / "site"), "--set", setting]) == 1
    assert sentence in capsys.readouterr().err and not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--jobs", "0"], "--jobs is 0, 1 or more was wanted; give how many labs run at a time, such as 2."),
        (["--jobs", "-1"], "--jobs is -1, 1 or more was wanted; "),
        (["--site", "file/site"], "file/site: cannot be written (file is no folder); move that file away or choose"),
        (["--site", "taken"], "taken/01_good.html: cannot be written (it is a folder); move it away or choose another"),
        (
            ["--work", "file"],
            "file: cannot be written (file is no folder); move that file away or choose another folder",
        ),
        (
            ["--data", "absent"],
            "DATA is absent, but there is no folder {here}/absent; give one that is there, or embedded.",
        ),
        (
            ["--set", "IMAGES=file"],
            "IMAGES is file, but there is no folder {here}/file; give one that is there, or synth",
        ),
    ],
)
def test_what_would_end_a_run_is_refused_before_a_lab_runs(
    labs: Path,
    tmp_path: Path,
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run_labs, "_run_all", lambda *_: pytest.fail("labs were run"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "01_good.html").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    assert main(["01", "--site", "site", "--work", "work", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {sentence.format(here=tmp_path)}") and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_an_interrupted_run_starts_no_other_lab_and_leaves_whole_files_alone(
    labs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_labs, "_told", interrupted)
    site, work = tmp_path / "site", tmp_path / "work"
    assert main(["01", "03", "--jobs", "1", "--site", str(site), "--work", str(work)]) == 130
    assert len(list(work.rglob("embedded-2"))) == 1
    assert len(names := sorted(file.name for file in site.iterdir())) == 2
    assert names in (["01_good.html", "01_good.ipynb"], ["03_empty.html", "03_empty.ipynb"])


def test_a_lab_that_is_interrupted_leaves_no_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(notebook: str, target: str, **_: object) -> None:
        Path(target).write_text("half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(execution.papermill, "execute_notebook", half)
    with pytest.raises(KeyboardInterrupt):
        execute("01", tmp_path / "lab.ipynb", tmp_path / "out.ipynb", {})
    assert not list(tmp_path.iterdir())


def test_a_lab_named_twice_runs_once(labs: Path) -> None:
    assert [file.name for file in notebooks.sources(["03", "01", "03"])] == ["03_empty.py", "01_good.py"]


def test_unknown_lab_is_refused(labs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["09"]) == 1
    assert "there is no lab 09; choose among 01, 02, 03." in capsys.readouterr().err


def test_longest_lab_starts_first_and_results_keep_their_order(
    labs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from labkit.header import Measured

    monkeypatch.setattr(run_labs, "measured", lambda: {"03": Measured(50, 1, ""), "01": Measured(5, 1, "")})
    files = [labs / "01_good.py", labs / "03_empty.py"]
    outcomes = run_labs.run_labs(files, {}, tmp_path / "site", tmp_path / "work", jobs=1)
    assert [outcome.number for outcome in outcomes] == ["01", "03"] and outcomes[0].ok and not outcomes[1].ok
    out = capsys.readouterr().out
    assert out.index("03_empty") < out.index("01_good")


def test_a_lab_without_a_list_of_labs_is_refused(labs: Path) -> None:
    with pytest.raises(InputError, match="no lab 44"):
        notebooks.sources(["44"])
