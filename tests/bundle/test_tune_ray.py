"""Searches on a real Ray: a cluster that the search joins, trials of every kind of end, and a driver that is killed."""

from __future__ import annotations

import csv
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from forked import LEAN, run_forked
from tiny import write_decathlon
from workflow import BUNDLE, run

pytest.importorskip("ray.tune", reason="the extra tune (Ray) is not installed")
from scripts.records import read_metrics  # noqa: E402

TINY = [
    "patch_size=[32,32,32]", "network_def::channels=[4,8,16]", "network_def::strides=[2,2]",
    "network_def::num_res_units=1", "warmup_epochs=0",
]  # fmt: skip
WAIT_S = 400.0


def wait_for(what: Callable[[], bool]) -> None:
    """Wait until ``what`` holds, far longer than it takes on a busy machine."""
    limit = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen cases: two processes get a validation case each."""
    return write_decathlon(tmp_path_factory.mktemp("data") / "Task01_Tiny", cases=14)


@dataclass(frozen=True)
class Head:
    """A cluster of one machine with two CPUs, as an administrator starts it: its address, and what reaches it."""

    address: str
    variables: dict[str, str]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A cluster for the tests of this file, with a token of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A socket's name has at most about 100 characters, which pytest's folders would use up.
    scratch = tempfile.mkdtemp(prefix="ray", dir=None if sys.platform == "win32" else "/tmp")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    cluster = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address=127.0.0.1",
         f"--port={port}", "--num-cpus=2", "--num-gpus=0", "--include-dashboard=false",
         "--object-store-memory=80000000", f"--temp-dir={scratch}", "--disable-usage-stats"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | token | LEAN | {"BRATS_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "cache")},
    )  # fmt: skip
    try:
        wait_for(lambda: cluster.poll() is not None or answers(port))
        assert cluster.poll() is None
        yield Head(f"127.0.0.1:{port}", token | LEAN)
    finally:
        cluster.terminate()
        cluster.wait(60)
        shutil.rmtree(scratch, ignore_errors=True)


def answers(port: int) -> bool:
    """Whether something listens on a local port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def arguments(folder: Path, data: Path, content: dict, *more: str) -> list[str]:
    """A command line whose every output lies under ``folder``."""
    (folder / "mine.json").write_text(json.dumps(content), encoding="utf-8")
    paths = ["--search", str(folder / "mine.json"), "--dataset_dir", str(data), "--output_dir", str(folder / "out")]
    overrides = [word for knob in TINY for word in ("--override", knob)]
    return [*paths, "--bundle_root", str(BUNDLE), *overrides, *more]


def rows(folder: Path) -> dict[str, dict[str, str]]:
    """Trial to its line of results.csv."""
    with (folder / "out" / "results.csv").open(newline="", encoding="utf-8") as file:
        return {row["trial"]: row for row in csv.DictReader(file)}


def test_search_on_a_cluster_stops_what_is_poor_and_survives_a_failure(tmp_path: Path, data: Path, head: Head) -> None:
    content = {
        "space": {"learning_rate": {"grid": [0.01, 1e-12, 1e38]}}, "epochs": 2, "metric": "train_loss", "mode": "min",
        "scheduler": {"name": "asha", "grace_period": 1, "reduction_factor": 2},
    }  # fmt: skip
    # One trial at a time, so that the second is compared with the first.
    search = searched(arguments(tmp_path, data, content, "--address", head.address, "--max_concurrent", "1"), head)
    assert search.returncode == 0, search.stdout + search.stderr
    (tmp_path / "wide").mkdir()
    three = ["--address", head.address, "--workers_per_trial", "3"]
    too_wide = searched(arguments(tmp_path / "wide", data, content, *three), head)
    assert "a trial wants 3 x 1 CPU on one machine, and the largest of this Ray has 2" in too_wide.stderr
    assert too_wide.returncode == 1
    found = rows(tmp_path)
    assert [found[f"trial_00{index}"]["status"] for index in range(3)] == ["finished", "stopped", "failed"]
    assert [found[f"trial_00{index}"]["epochs"] for index in range(3)] == ["2", "1", "0"]
    assert found["trial_002"]["reason"].startswith("the training loss became nan in epoch 1; lower learning_rate")
    trial = tmp_path / "out" / "trials" / "trial_000"
    losses = [record["train_loss"] for record in read_metrics(trial / "metrics.jsonl")]
    assert float(found["trial_000"]["best_train_loss"]) == min(losses)
    assert (tmp_path / "out" / "results.png").stat().st_size > 10_000
    assert all(words in search.stdout for words in ("3/3 trial_002 failed", "best: trial_000", "best.json"))
    # Each trial is a run of its own, with its own models, on the one split; Ray's own records are gone.
    assert (trial / "models" / "model.pt").is_file() and (trial / "report.html").is_file()
    assert (trial / "command.txt").read_text().startswith("python -m monai.bundle run --config_file")
    splits = [json.loads((folder / "datalist.json").read_text()) for folder in (trial, tmp_path / "out")]
    assert splits[0] == splits[1]
    assert not (tmp_path / "out" / "ray").exists()
    # The best trial's override trains again, to the same loss.
    again = run(tmp_path, "train.json", str(tmp_path / "out" / "best.json"), dataset_dir=str(data))
    assert again.parser["learning_rate"] == 0.01 and again.parser["epochs"] == 2
    repeated = [record["train_loss"] for record in read_metrics(tmp_path / "runs" / "run" / "metrics.jsonl")]
    assert repeated == pytest.approx(losses, rel=1e-4)


def searched(options: list[str], head: Head) -> subprocess.CompletedProcess[str]:
    """A search on the cluster, ended."""
    return run_forked("scripts.tune", options, BUNDLE, head.variables, WAIT_S)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="what still runs is read from /proc")
def test_killed_driver_leaves_nothing_running_and_goes_on(tmp_path: Path, data: Path) -> None:
    """Data parallel: each trial has two processes under torchrun."""
    content = {"space": {"learning_rate": {"grid": [0.01, 0.001]}}, "epochs": 2}
    options = arguments(tmp_path, data, content, "--workers_per_trial", "2", "--num_cpus", "2")
    command = [sys.executable, "-m", "scripts.tune", *options]
    first, second = (tmp_path / "out" / "trials" / f"trial_00{index}" for index in range(2))
    env = os.environ | LEAN
    driver = subprocess.Popen(command, cwd=BUNDLE, start_new_session=True, stdout=subprocess.DEVNULL, env=env)
    wait_for(lambda: (second / "metrics.jsonl").is_file() or driver.poll() is not None)
    assert driver.poll() is None
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    wait_for(lambda: not processes_of(tmp_path))
    kept = {file: file.stat().st_mtime_ns for file in first.rglob("*") if file.name != "overrides.json"}
    assert not (second / "trial.json").exists()
    done = subprocess.run(command, cwd=BUNDLE, env=env, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(tmp_path)
    assert [found[name]["status"] for name in ("trial_000", "trial_001")] == ["finished", "finished"]
    assert {file: file.stat().st_mtime_ns for file in first.rglob("*") if file.name != "overrides.json"} == kept
    for folder in (first, second):
        assert "2 processes" in (folder / "log.txt").read_text()
        assert [record["epoch"] for record in read_metrics(folder / "metrics.jsonl")] == [1, 2]
    # The first was started once; the second went on in its folder.
    assert [len((folder / "command.txt").read_text().splitlines()) for folder in (first, second)] == [1, 2]
    assert "torchrun --standalone --nproc_per_node=2 -m monai.bundle run" in done.stdout
    # Nothing but the search's own lines reaches the terminal.
    assert "ray" not in done.stderr.lower() and "Traceback" not in done.stderr


def processes_of(folder: Path) -> list[str]:
    """Command lines of the running processes that name a folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(process.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if str(folder) in line]
