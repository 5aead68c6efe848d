"""The four commands of this project on a fresh machine with Python and nothing else: demo, labs, test and bench.

Each makes the virtual environment .venv beside this file and installs the locked requirements into it, once. Only the
standard library is used, and the syntax is that of Python 3.7, so that an old interpreter can still say why it is
refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
BUNDLE = ROOT / "bundle"
VENV = ROOT / ".venv"
MONAI_152 = ROOT / ".venv-monai152"
SAGEMAKER_SDK = ROOT / ".venv-sdk"
STAMP = "installed.json"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 12)
DEMO_STEPS = (
    ("train on the phantom, a synthetic data set made on first use", "configs/train.json"),
    ("score the held-out test cases", "['configs/train.json','configs/evaluate.json']"),
    ("segment the unlabelled cases", "configs/inference.json"),
)
BENCHMARKS = ROOT / "benchmarks"
CLAIM = '"""Claim: '
REGION_NAMES = {"TC": "tumour core", "WT": "whole tumour", "ET": "enhancing tumour", "mean": "of the regions"}


class Stop(Exception):
    """The end of a command: one sentence and an exit code."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


def check_python(version: Sequence[int], executable: str) -> None:
    """Stop on a Python that the locked packages do not exist for."""
    if not OLDEST_PYTHON <= tuple(version[:2]) <= NEWEST_PYTHON:
        raise Stop(
            f"{executable} is Python {version[0]}.{version[1]}, and this project needs Python 3.10, 3.11 or 3.12; "
            "install one of them and start run.py with it, for example by 'python3.11 run.py demo'."
        )


def quoted(arguments: Sequence[str]) -> str:
    """A command line for bash, zsh, PowerShell and cmd alike: double quotes where an argument needs any."""
    plain = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./\\_-")
    return " ".join(a if a and set(a) <= plain else f'"{a}"' for a in arguments)


def run(
    arguments: Sequence[str | Path], what: str, folder: Path | None = None, variables: Mapping[str, str] | None = None
) -> None:
    """Print a command and run it, its output going straight to the terminal.

    Args:
        arguments: the program and its arguments.
        what: what the command does, for the sentence on failure: "could not ...".
        folder: where it runs; None is the project's root.
        variables: environment variables to add.

    Raises:
        Stop: the command failed; with its exit code.
    """
    folder, added = folder or ROOT, dict(variables or {})
    program, *rest = map(str, arguments)
    # The project's own interpreter is shown by the short path that works from where the command runs.
    shown = os.path.relpath(program, folder) if Path(program).is_relative_to(ROOT) else program
    print("\n$ " + quoted([*(f"{k}={v}" for k, v in added.items()), shown, *rest]), flush=True)
    code = subprocess.run([program, *rest], cwd=folder, env={**os.environ, **added}, check=False).returncode
    if code:
        # A process ended by a signal has a negative code, which a shell reports as 128 + signal.
        code = 128 - code if code < 0 else code
        raise Stop(f"could not {what}: the command above ended with exit code {code}.", code)


def version_of(python: Path) -> str | None:
    """Version of an interpreter that has pip, such as ``3.11.7``, or None where it does not start."""
    probe = [str(python), "-c", "import pip, platform; print(platform.python_version())"]
    try:
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def environment() -> Path:
    """The interpreter of .venv, which is made where it is absent or no longer starts."""
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if version_of(python) is None:
        venv = [sys.executable, "-m", "venv", "--clear", VENV]
        run(venv, "make the virtual environment .venv (Debian and Ubuntu need 'apt install python3-venv')")
    version = version_of(python) or "0.0"
    check_python([int(part) for part in version.split(".")[:2]], str(python))
    return python


def install(python: Path, locks: Sequence[str], folder: Path, options: Sequence[str | Path] = ()) -> None:
    """Install lock files of requirements/, unless the stamp in ``folder`` says that these very files are installed.

    Args:
        python: whose pip installs.
        locks: file names in requirements/.
        folder: where they end up; it gets the stamp, a hash of each lock file and the Python version.
        options: more arguments for pip.
    """
    version = version_of(python)
    texts = {lock: (ROOT / "requirements" / lock).read_text(encoding="utf-8") for lock in locks}
    wanted = {lock: hashlib.sha256(f"{version}\n{text}".encode()).hexdigest() for lock, text in texts.items()}
    stamp = folder / STAMP
    try:
        present = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        present = {}
    if wanted.items() <= present.items():
        return
    # What an interrupted installation leaves must not pass for a complete one.
    stamp.unlink(missing_ok=True)
    files = [argument for lock in locks for argument in ("-r", f"requirements/{lock}")]
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    run([*pip, *options, *files], "install the packages")
    stamp.write_text(json.dumps({**present, **wanted}, indent=2), encoding="utf-8")


def demo(pip_options: Sequence[str]) -> None:
    """Train, evaluate and segment on the phantom by the commands that a user types, then show what came out."""
    began = time.time()
    python = environment()
    install(python, ["bundle.txt"], VENV, pip_options)
    print("\n$ cd bundle", flush=True)
    for step, (what, config) in enumerate(DEMO_STEPS, start=1):
        print(f"\n[{step}/{len(DEMO_STEPS)}] {what}", flush=True)
        run([python, "-m", "monai.bundle", "run", "--config_file", config], what, BUNDLE)
    show_results(began)
    print(f"\nDone in {time.time() - began:.0f} s.")


def show_results(began: float) -> None:
    """Print Dice and HD95 a region, then the files that the demo made.

    Args:
        began: when the demo began, in seconds of time.time(); older label volumes are not its own.

    Raises:
        Stop: a step did not write what it should have.
    """
    try:
        run_dir = Path(json.loads((BUNDLE / "models/model.json").read_text(encoding="utf-8"))["run_dir"])
        summary = json.loads((run_dir / "test/summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError) as error:
        raise Stop(f"the steps above left no readable result ({error}); read their output.") from error
    print(f"\nMean of {summary['n_cases']} held-out test cases of the phantom; it means nothing clinically.\n")
    print(f"{'region':<24}{'Dice':>8}{'HD95 mm':>10}")
    for region, dice in summary["dice"].items():
        distance = summary["hd95_mm"][region]
        # A region that no case has carries no score.
        scores = "-" if dice is None else f"{dice:.3f}", "-" if distance is None else f"{distance:.1f}"
        print(f"{region:<6}{REGION_NAMES.get(region, ''):<18}{scores[0]:>8}{scores[1]:>10}")
    volumes = (BUNDLE / "predictions").glob("*_seg.nii.gz")
    # Some file systems keep times in steps of two seconds.
    made = {
        "model": [BUNDLE / "models/model.pt"],
        "metrics": [run_dir / "test/cases.csv", run_dir / "metrics.jsonl"],
        "label volume": sorted(volume for volume in volumes if volume.stat().st_mtime > began - 2),
        "report": [run_dir / "report.html"],
        "report picture": [run_dir / "curves.png"],
    }
    print()
    for what, paths in made.items():
        if not paths or not all(path.is_file() for path in paths):
            raise Stop(f"the steps above wrote no {what}; read their output.")
        for path in paths:
            print(f"{what:<16}{os.path.relpath(path, ROOT)}")


def test(pip_options: Sequence[str], pytest_arguments: Sequence[str]) -> None:
    """Check style, then run the test suite; MONAI 1.5.2 and the SageMaker SDK stand by for the tests of them.

    MONAI 1.5.2 is laid over .venv: a folder that shadows the newer MONAI when it stands first in PYTHONPATH, where an
    environment of its own would hold PyTorch twice. ``pip check`` finds a locked package that 1.5.2 cannot live with.
    So is the SDK, whose metadata the lock does not satisfy: requirements/sdk.txt.
    """
    python = environment()
    install(python, ["bundle.txt", "test.txt"], VENV, pip_options)
    install(python, ["monai152.txt"], MONAI_152, ["--no-deps", "--upgrade", "--target", MONAI_152])
    install(python, ["sdk.txt"], SAGEMAKER_SDK, ["--no-deps", "--upgrade", "--target", SAGEMAKER_SDK])
    run([python, "-m", "pip", "check"], "match MONAI 1.5.2 with the lock", variables={"PYTHONPATH": str(MONAI_152)})
    run([python, "-m", "ruff", "check"], "pass ruff check")
    run([python, "-m", "ruff", "format", "--check"], "pass ruff format --check (ruff format mends it)")
    # A process a core, up to four, and a thread each: most tests start processes of their own.
    shared = ["--numprocesses", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile", "--no-loadscope-reorder"]
    # The suite has a time that it must keep: its longest tests are told.
    shared += ["--durations", "40"]
    variables = {"MONAI_152_PATH": str(MONAI_152), "SM_SDK_PATH": str(SAGEMAKER_SDK), "OMP_NUM_THREADS": "1"}
    run([python, "-m", "pytest", *shared, *pytest_arguments], "pass the tests", variables=variables)


def labs(pip_options: Sequence[str], jupyter_arguments: Sequence[str]) -> None:
    """Open the workbook in JupyterLab."""
    python = environment()
    install(python, ["bundle.txt", "test.txt", "jupyter.txt"], VENV, pip_options)
    run([python, "-m", "jupyter", "lab", *jupyter_arguments], "start JupyterLab", ROOT / "labs")


def bench(pip_options: Sequence[str], names: Sequence[str]) -> None:
    """Run benchmarks, all or those of ``names``, one after the other, and renew the table of benchmarks/README.md."""
    claims = [file.stem for file in sorted(BENCHMARKS.glob("*.py")) if file.read_text("utf-8").startswith(CLAIM)]
    unknown = [name for name in names if name not in claims]
    if unknown:
        raise Stop(f"there is no benchmark {quoted(unknown)}; choose among {', '.join(claims)}.", 2)
    python = environment()
    # The panel and the viewer are measured in the notebooks' packages and in a browser.
    install(python, ["bundle.txt", "test.txt", "bench.txt"], VENV, pip_options)
    for name in names or claims:
        print(f"\n== {name}", flush=True)
        arguments = [f"benchmarks/{name}.py", "--json", f"benchmarks/results/{name}.json"]
        run([python, *arguments], f"measure {name}", variables={"OMP_NUM_THREADS": "1"})
    run([python, "benchmarks/readme.py"], "write benchmarks/README.md")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    root = argparse.ArgumentParser(prog="run.py", description=__doc__, formatter_class=formatter)
    commands = root.add_subparsers(dest="command", required=True, metavar="{demo,labs,test,bench}")
    helps = {
        "demo": "train, evaluate and segment on the embedded phantom: minutes on 2 CPU cores",
        "labs": "open the workbook of labs/ in JupyterLab; what follows -- goes to it: labs -- --no-browser",
        "test": "check style and run the whole test suite; what follows -- goes to pytest: test -- -k labels",
        "bench": "measure every claim of benchmarks/ on one core, in about ten minutes; or those named after --",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--cpu",
            action="store_true",
            help=f"also look for PyTorch at {CPU_INDEX}: spares a Linux machine without a GPU some GB of CUDA packages "
            "(no test covers this flag)",
        )
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the four commands and return its exit code: 0, or that of the step that failed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    chosen, rest = parser().parse_args(arguments[:cut]), arguments[cut + 1 :]
    pip_options = ["--extra-index-url", CPU_INDEX] if chosen.cpu else []
    try:
        check_python(sys.version_info, sys.executable)
        if chosen.command == "test":
            test(pip_options, rest)
        elif chosen.command == "labs":
            labs(pip_options, rest)
        elif chosen.command == "bench":
            bench(pip_options, rest)
        elif rest:
            raise Stop(f"demo takes nothing after --, but found {quoted(rest)}; leave it out.", 2)
        else:
            demo(pip_options)
    except Stop as stop:
        print(f"error: {stop}", file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        print("stopped by the user", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
