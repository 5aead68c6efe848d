"""One trial: a training in processes of its own, watched through its metrics.jsonl. Nothing here knows of Ray."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.files import read_json, write_json
from scripts.records import read_metrics

STATE_FILE, LOG_FILE, OVERRIDES_FILE, METRICS_FILE = "trial.json", "process.log", "overrides.json", "metrics.jsonl"
FINISHED, STOPPED, FAILED, UNFINISHED = "finished", "stopped", "failed", "unfinished"
INTERRUPTED = "was interrupted; the same command goes on with it."
# Of a training that saved its state on SIGTERM, and of one that had not come so far: its machine was wanted back.
TERMINATED = (128 + signal.SIGTERM, -signal.SIGTERM)
# torchrun, which exits with 1 then.
TORCHRUN_TERMINATED = re.compile(rf"SignalException: Process \d+ got signal: {int(signal.SIGTERM)}\b")
POLL_S = 0.2
# Longer than the processes take to end themselves.
STOP_S = 40.0
# A search inside a Slurm or MPI job must not make its trials believe that they are that job's processes.
LAUNCHERS = ("SLURM_", "OMPI_", "PMI_", "PMIX_", "TORCHELASTIC_", "SM_")
RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
EXCEPTION = re.compile(r"^(?:\[rank\d+\]: ?)?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*)$")
# Errors that MONAI and torchrun add after the one that tells: something could not be made, some process failed.
WRAPPER = re.compile(r"ChildFailedError|Failed to (?:instantiate|evaluate|parse)")


@dataclass(frozen=True)
class Plan:
    """All that a machine needs to run a trial.

    Attributes:
        name: of the trial and its folder.
        folder: the run folder, seen under this path by every machine.
        bundle_root: where the trial is started.
        config_files: merged in this order; the last is the trial's own ``overrides.json``.
        epochs: asked for.
        metric: reported.
        workers: processes.
        cpus: CPUs a worker has.
        gpus: GPUs a worker has; none hides those that there are.
    """

    name: str
    folder: str
    bundle_root: str
    config_files: tuple[str, ...]
    epochs: int
    metric: str
    workers: int
    cpus: float
    gpus: float

    def command(self) -> list[str]:
        """The trial's command line, each process of it in the keeping of :mod:`scripts.tune.process`."""
        keeper = ["-m", "scripts.tune.process"]
        run = [*keeper, "monai.bundle", "run", "--config_file", str(list(self.config_files))]
        if self.workers == 1:
            return [sys.executable, *run]
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc_per_node={self.workers}"]
        return [sys.executable, *keeper, *torchrun, *run]

    def environment(self, outer: Mapping[str, str]) -> dict[str, str]:
        """The trial's variables: ``outer`` without another job's ranks, and no more threads than CPUs."""
        kept = {name: value for name, value in outer.items() if name not in RANKS and not name.startswith(LAUNCHERS)}
        threads = str(max(1, int(self.cpus)))
        kept |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        # Ray has set it to the GPUs of this trial, where it has any.
        return kept if self.gpus else kept | {"CUDA_VISIBLE_DEVICES": ""}


class TrialFailed(RuntimeError):
    """The training ended otherwise than well; the message is one sentence."""


class Trial:
    """A trial that runs, or one that an earlier search brought to its end, which then only tells its results again.

    Args:
        plan: what to run.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.folder = Path(plan.folder)
        self.process: subprocess.Popen[bytes] | None = None
        self.started = time.monotonic()
        self._told = 0
        if not (self.folder / STATE_FILE).is_file():
            self._start()

    def _start(self) -> None:
        """Start the processes, or start them again: their config says ``resume: auto``."""
        with (self.folder / LOG_FILE).open("wb") as log:
            self.process = subprocess.Popen(
                self.plan.command(), cwd=self.plan.bundle_root, env=self.plan.environment(os.environ),
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def results(self) -> Iterator[dict[str, Any]]:
        """The validated epochs as they come; the last, with ``done``, when the process has ended.

        Yields:
            The epoch's record with ``trial_s``, seconds since the start.

        Raises:
            TrialFailed: the process ended with an error or was interrupted, or never recorded the metric.
        """
        last: dict[str, Any] = {}
        while True:
            ended = self.process is None or self.process.poll() is not None
            for record in self.new_records():
                if self.plan.metric in record:
                    last = record | {"trial_s": time.monotonic() - self.started, "done": False}
                    # The last epoch is told when the process has written its report and ended.
                    if record["epoch"] < self.plan.epochs:
                        yield last
            if ended:
                break
            time.sleep(POLL_S)
        reason = self._failure(last)
        if reason:
            raise TrialFailed(reason)
        yield last | {"done": True}

    def stop(self) -> None:
        """End the processes, if they still run."""
        if self.process is None:
            return
        self.process.stdin.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def new_records(self) -> list[dict[str, Any]]:
        """Epochs that metrics.jsonl has had added; those that a continued trial does again are told once."""
        file = self.folder / METRICS_FILE
        if not file.is_file():
            return []
        text = file.read_text(encoding="utf-8")
        # The last line may be half written.
        records = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        new = [record for record in records if record["epoch"] > self._told]
        self._told = max((record["epoch"] for record in new), default=self._told)
        return new

    def _failure(self, last: Mapping[str, Any]) -> str:
        """Why the ended trial is a failure, or nothing; kept in its folder, unless it was only interrupted."""
        if self.process is None:
            state = read_json(self.folder / STATE_FILE, "state of the trial")
            return state["reason"]
        log = (self.folder / LOG_FILE).read_text("utf-8", "replace") if self.process.returncode else ""
        if self.process.returncode in TERMINATED or TORCHRUN_TERMINATED.search(log):
            return INTERRUPTED
        reason = ""
        if self.process.returncode:
            reason = failure_reason(log, self.process.returncode)
        elif not last:
            reason = f"metric '{self.plan.metric}' was recorded in no epoch; check metric and val_interval."
        write_state(self.folder, FAILED if reason else FINISHED, time.monotonic() - self.started, reason)
        return reason


def write_state(folder: Path, status: str, seconds: float, reason: str = "") -> None:
    """Note how a trial ended: a trial with this note is never run again."""
    write_json(folder / STATE_FILE, {"status": status, "seconds": round(seconds, 1), "reason": reason})


def failure_reason(log: str, code: int) -> str:
    """The sentence that tells why a training failed: its own, the exception's, or the signal that ended it.

    Args:
        log: what the processes printed.
        code: exit code; a negative one is a signal's.
    """
    lines = log.splitlines()
    for line in lines:
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    found = [match[1] for match in map(EXCEPTION.match, lines) if match and not WRAPPER.search(match[1])]
    if found:
        return found[-1]
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}; see {LOG_FILE}"


def outcome(folder: Path, metric: str, mode: str) -> dict[str, Any]:
    """What a trial has come to, from its folder.

    Returns:
        ``status``, ``best`` (the metric), ``epoch`` (of it), ``epochs`` (done), ``seconds`` and ``reason``; ``best``
        and ``epoch`` are None where the metric was never recorded.
    """
    state = {"status": UNFINISHED, "seconds": None, "reason": INTERRUPTED}
    if (folder / STATE_FILE).is_file():
        state = read_json(folder / STATE_FILE, "state of the trial")
    records = read_metrics(folder / METRICS_FILE) if (folder / METRICS_FILE).is_file() else []
    scored = [record for record in records if math.isfinite(record.get(metric, math.nan))]
    choose = max if mode == "max" else min
    best = choose(scored, key=lambda record: record[metric], default={})
    return state | {"best": best.get(metric), "epoch": best.get("epoch"), "epochs": len(records)}
