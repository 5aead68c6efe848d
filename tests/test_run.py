"""run.py: what it refuses, installs, prints and passes on. The whole demo is too long for a test of this suite."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("project_run", ROOT / "run.py")
project_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(project_run)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project root of its own; pip may look at the test's own interpreter but change nothing and ask nobody."""
    monkeypatch.setenv("PIP_DRY_RUN", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(project_run, "ROOT", tmp_path)
    monkeypatch.setattr(project_run, "BUNDLE", tmp_path / "bundle")
    monkeypatch.setattr(project_run, "VENV", tmp_path / ".venv")
    for folder in ("requirements", "bundle", ".venv"):
        (tmp_path / folder).mkdir()
    for lock in ("bundle.txt", "test.txt"):
        (tmp_path / "requirements" / lock).write_text("packaging\n", encoding="utf-8")
    return tmp_path


def install(project: Path, *locks: str) -> None:
    project_run.install(Path(sys.executable), locks, project / ".venv")


@pytest.mark.parametrize(
    ("arguments", "words"), [(["--help"], ["demo", "labs", "test", "bench"]), (["demo", "--help"], ["--cpu"])]
)
def test_help(arguments: list[str], words: list[str]) -> None:
    done = subprocess.run([sys.executable, ROOT / "run.py", *arguments], capture_output=True, text=True, check=True)
    for word in words:
        assert word in done.stdout


def test_old_interpreters_can_read_it_and_need_nothing() -> None:
    tree = ast.parse((ROOT / "run.py").read_text(encoding="utf-8"), feature_version=(3, 7))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("version", [(3, 10), (3, 11, 7), (3, 12, 1, "final", 0)])
def test_supported_python(version: tuple) -> None:
    project_run.check_python(version, "python")


@pytest.mark.parametrize("version", [(2, 7), (3, 9, 18), (3, 13, 0), (4, 0)])
def test_other_python_is_refused_in_one_sentence(version: tuple) -> None:
    with pytest.raises(
        project_run.Stop, match=r"is Python \d\.\d+, and .* needs Python 3\.10, 3\.11 or 3\.12; install"
    ):
        project_run.check_python(version, "/usr/bin/python")


def test_command_is_printed_as_it_can_be_typed(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    value = "['configs/train.json','configs/evaluate.json']"
    project_run.run([sys.executable, "-c", "import sys; print(sys.argv[1])", value], "print", project)
    typed, shown = capfd.readouterr().out.strip().splitlines()
    assert shown == value
    assert typed.startswith("$ ") and typed.endswith(f' "{value}"')
    assert shlex.split(typed[2:])[1:] == ["-c", "import sys; print(sys.argv[1])", value]


def test_own_interpreter_is_shown_by_its_short_path(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    link = project / ".venv" / "bin" / "python"
    link.parent.mkdir()
    try:
        link.symlink_to(sys.executable)
    except OSError:
        pytest.skip("this system does not let this user make links")
    project_run.run([link, "--version"], "start", project / "bundle")
    assert capfd.readouterr().out.startswith(f"\n$ {os.path.join('..', '.venv', 'bin', 'python')} --version\n")


def test_failed_step_gives_its_exit_code_and_a_sentence(project: Path) -> None:
    with pytest.raises(project_run.Stop, match="could not train: .* exit code 7") as stop:
        project_run.run([sys.executable, "-c", "raise SystemExit(7)"], "train")
    assert stop.value.code == 7


def test_lock_is_installed_once(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install(project, "bundle.txt", "test.txt")
    assert capfd.readouterr().out.count("pip install") == 1
    install(project, "bundle.txt", "test.txt")
    install(project, "bundle.txt")  # demo after test
    assert "pip install" not in capfd.readouterr().out


def test_changed_lock_is_installed_again(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install(project, "bundle.txt")
    (project / "requirements" / "bundle.txt").write_text("packaging\n# newer\n", encoding="utf-8")
    capfd.readouterr()
    install(project, "bundle.txt")
    assert "pip install" in capfd.readouterr().out


def test_other_python_version_is_installed_again(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install(project, "bundle.txt")
    stamp = project / ".venv" / project_run.STAMP
    (digest,) = json.loads(stamp.read_text(encoding="utf-8")).values()
    text = (project / "requirements" / "bundle.txt").read_text(encoding="utf-8")
    other = project_run.hashlib.sha256(f"3.10.0\n{text}".encode()).hexdigest()
    assert digest != other
    stamp.write_text(json.dumps({"bundle.txt": other}), encoding="utf-8")
    capfd.readouterr()
    install(project, "bundle.txt")
    assert "pip install" in capfd.readouterr().out


def test_failed_installation_leaves_no_stamp(project: Path) -> None:
    install(project, "bundle.txt")
    (project / "requirements" / "test.txt").write_text("./no-such-folder\n", encoding="utf-8")
    with pytest.raises(project_run.Stop, match="could not install"):
        install(project, "bundle.txt", "test.txt")
    assert not (project / ".venv" / project_run.STAMP).exists()


def test_broken_environment_is_made_again(project: Path) -> None:
    (project / ".venv" / "pyvenv.cfg").write_text("left by an interrupted run", encoding="utf-8")
    python = project_run.environment()
    assert project_run.version_of(python).split(".")[:2] == [str(part) for part in sys.version_info[:2]]
    (project / ".venv" / "mark").touch()
    assert project_run.environment() == python
    assert (project / ".venv" / "mark").exists()  # a good one is kept


def write_results(project: Path) -> Path:
    """What the three steps of the demo leave; returns the run folder."""
    bundle, run_dir = project / "bundle", project / "bundle" / "runs" / "one"
    scores = {"TC": 0.9012, "WT": 0.95, "ET": None, "mean": 0.9256}
    distances = {"TC": 2.25, "WT": 1.0, "ET": None, "mean": 1.625}
    texts = {
        bundle / "models" / "model.json": json.dumps({"run_dir": str(run_dir)}),
        bundle / "models" / "model.pt": "",
        bundle / "predictions" / "case_seg.nii.gz": "",
        run_dir / "test" / "summary.json": json.dumps({"n_cases": 3, "dice": scores, "hd95_mm": distances}),
        run_dir / "test" / "cases.csv": "",
        run_dir / "metrics.jsonl": "",
        run_dir / "report.html": "",
        run_dir / "curves.png": "",
    }
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return run_dir


def test_results_are_a_table_and_paths(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(project)
    old = project / "bundle" / "predictions" / "old_seg.nii.gz"
    old.write_text("", encoding="utf-8")
    os.utime(old, (1, 1))
    project_run.show_results(began=1000.0)
    shown = capsys.readouterr().out
    assert re.search(r"TC +tumour core +0\.901 +2\.2\n", shown)
    assert re.search(r"ET +enhancing tumour +- +-\n", shown)
    assert re.search(r"mean .* 0\.926 +1\.6\n", shown)
    for name in ("model.pt", "cases.csv", "case_seg.nii.gz", "report.html", "curves.png"):
        assert (project / shown.split(name)[0].split()[-1] / name).is_file()
    assert "old_seg" not in shown


@pytest.mark.parametrize("absent", ["report.html", "curves.png", "test/summary.json"])
def test_absent_result_is_an_error(project: Path, absent: str) -> None:
    run_dir = write_results(project)
    (run_dir / absent).unlink()
    with pytest.raises(project_run.Stop, match="steps above"):
        project_run.show_results(began=0.0)


def test_demo_takes_no_arguments_for_pytest(capsys: pytest.CaptureFixture[str]) -> None:
    assert project_run.main(["demo", "--", "-k", "labels"]) == 2
    assert "found -k labels" in capsys.readouterr().err


def test_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert project_run.main(["bench", "--", "no_such_claim"]) == 2
    said = capsys.readouterr().err
    assert "no_such_claim" in said and "data_path" in said


def test_readme_names_the_commands() -> None:
    documents = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "benchmarks/README.md")]
    readme = "\n".join(documents)
    commands = re.findall(r"^(?:\$ )?python run\.py(.*)$", readme, flags=re.MULTILINE)
    chosen = {
        project_run.parser().parse_args(shlex.split(line.split(" -- ")[0], comments=True)).command for line in commands
    }
    assert chosen == {"demo", "labs", "test", "bench"}


def test_ci_runs_the_second_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"^(exec )?python3 run\.py test$", script, flags=re.MULTILINE)
    assert "set -euo pipefail" in script
