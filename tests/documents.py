"""Documents whose commands are run, in the order shown, on tiny data."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from forked import LEAN, run_forked
from tiny import write_decathlon

ROOT = Path(__file__).resolve().parents[1]
# The same commands, on a network and patches that take seconds.
SMALLER = {
    "configs/train.json": ["--epochs", "1", "--patch_size", "[32,32,32]", "--num_workers", "0", "--batch_size", "2"],
}
DEFAULT_NETWORK = [
    "--network_def::channels", "[4,8,16]", "--network_def::strides", "[2,2]", "--network_def::num_res_units", "1",
]  # fmt: skip


def commands(document: str) -> list[str]:
    """The lines of a document's code blocks that start a program."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if re.match(r"(python|torchrun)\b", line)]


def bundle_beside_data(folder: Path) -> Path:
    """A copy of the bundle beside ``DIR``, labelled cases, and ``NEW_CASES``, unlabelled ones."""
    target = folder / "bundle"
    made = shutil.ignore_patterns("__pycache__", "models", "runs", "predictions", "cache", "store")
    shutil.copytree(ROOT / "bundle", target, ignore=made)
    write_decathlon(target / "DIR", cases=14)
    write_decathlon(target / "all", cases=0, unlabelled=1)
    (target / "all" / "imagesTs").rename(target / "NEW_CASES")
    return target


def arguments(command: str) -> list[str]:
    """The module to run for a shown command, and its arguments."""
    program, *rest = shlex.split(command)
    found = ["torch.distributed.run", "--standalone", *rest] if program == "torchrun" else rest[1:]
    if found[0] == "scripts.tune":
        knobs = ["patch_size=[32,32,32]", *(f"{k[2:]}={v}" for k, v in zip(*[iter(DEFAULT_NETWORK)] * 2, strict=True))]
        found += ["--num_samples", "1", "--epochs", "1", *(word for knob in knobs for word in ("--override", knob))]
    if "configs/train.json" in command and "evaluate.json" not in command:
        found += SMALLER["configs/train.json"] + ([] if "network/" in command else DEFAULT_NETWORK)
        found += [] if "--dataset_dir" in command else ["--dataset_dir", "DIR"]
    return found


def launched(command: str, folder: Path) -> list[str]:
    """What to run for a command of the launcher: what needs an AWS account only says its help."""
    found = [sys.executable, *shlex.split(command)[1:]]
    if found[3] not in ("plan", "local"):
        return [*found[:4], "--help"]
    if found[3] == "plan":
        return found
    knobs = {
        "patch_size": "[32,32,32]",
        "epochs": "1",
        **{k[2:]: v for k, v in zip(*[iter(DEFAULT_NETWORK)] * 2, strict=True)},
    }
    changes = [f"train.overrides={{{', '.join(f'{json.dumps(knob)}: {value}' for knob, value in knobs.items())}}}"]
    changes += [f"data={{source: {folder / 'bundle' / 'DIR'}}}", "train.channels={train: data}"]
    return [*found, "--work-dir", str(folder / "local"), *(word for change in changes for word in ("--set", change))]


def run_in_order(document: str, folder: Path) -> None:
    """Run all commands of a document; fail with the output of the first that fails."""
    shown = commands(document)
    assert any("configs/train.json" in command for command in shown)
    bundle = bundle_beside_data(folder)
    for command in shown:
        if command.startswith("python run.py"):
            # The demo takes minutes, and this is the test command: their own tests are in test_run.py.
            subprocess.run([sys.executable, ROOT / "run.py", *command.split()[2:], "--help"], check=True)
            continue
        if "-m sm_launch" in command:
            variables = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(launched(command, folder), cwd=ROOT, env=variables, capture_output=True, text=True)
        else:
            module, *rest = arguments(command)
            # torchrun and Ray start interpreters of their own.
            done = run_forked(module, rest, bundle, {"OMP_NUM_THREADS": "1", **LEAN})
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def find_what_is_named(document: str) -> None:
    """Fail on a config, a module or a linked file that a document names and that is not there."""
    text = (ROOT / document).read_text(encoding="utf-8")
    for config in re.findall(r"configs/[\w/]+\.(?:json|conf)", text):
        assert (ROOT / "bundle" / config).is_file(), config
    for module in re.findall(r"python -m scripts\.(\w+)", text):
        places = (f"{module}.py", f"{module}/__main__.py")
        assert any((ROOT / "bundle" / "scripts" / place).is_file() for place in places), module
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / document).parent.joinpath(link).exists(), link
