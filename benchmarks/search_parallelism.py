"""Claim: on two cores, the same eight short trials take less wall time experiment-parallel, two trials of one process
at a time, than data-parallel, one trial of two processes at a time.

    python benchmarks/search_parallelism.py [--rounds N] [--json FILE]

Both sides are ``python -m scripts.tune`` on the phantom from one store, with the same hyper-parameters and as many
cases a step. Networks of four widths make the trials unevenly long. The unit is wall time, for two processes at once
are the point. The table tells where the core-seconds (two for each second of wall time) went: training; the start and
end of the trials' processes, that is imports, group and report; and the rest, that is the driver, Ray and idle cores.
More training core-seconds for the same trials are communication, and one process waiting for the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import timing
from scripts.records import read_metrics
from scripts.tune.config import merged, prepare, split

BUNDLE = timing.ROOT / "bundle"
CORES = 2
STORE = "configs/data/store.json"
# Processes of a trial on each side, and cases a process takes, so that a step has as many on both.
SIDES = {"experiment parallel": (1, 2), "data parallel": (2, 1)}
SEARCH = {
    "space": {
        "network_def::channels": {"grid": [[8, 16, 32], [12, 24, 48], [16, 32, 64], [24, 48, 96]]},
        "learning_rate": {"grid": [0.003, 0.01]},
    },
    "configs": [STORE],
    "overrides": {
        "patch_size": [32, 32, 32],
        "network_def::strides": [2, 2],
        "network_def::num_res_units": 1,
        "warmup_epochs": 0,
        "val_interval": 3,
    },
    "epochs": 3,
}
# The processes of a trial draw their own crops, so the sides agree in their course and not in their digits.
LOSS_TOLERANCE = 0.2


def run_side(processes: int, batch_size: int, scratch: Path, store: Path) -> dict[str, Any]:
    """Run the search in a new folder.

    Returns:
        ``wall_s``, and a record of ``seconds``, ``training_s``, ``ended`` and ``loss`` for each trial.
    """
    out = Path(tempfile.mkdtemp(dir=scratch))
    content = {**SEARCH, "overrides": SEARCH["overrides"] | {"store_dir": str(store), "batch_size": batch_size}}
    (out / "eight.json").write_text(json.dumps(content), encoding="utf-8")
    command = [sys.executable, "-m", "scripts.tune", "--search", str(out / "eight.json"), "--output_dir", str(out)]
    command += ["--num_cpus", str(CORES), "--gpus_per_worker", "0", "--workers_per_trial", str(processes)]
    began = time.perf_counter()
    subprocess.run(command, cwd=BUNDLE, check=True, stdout=sys.stderr)
    trials = []
    for folder in sorted((out / "trials").iterdir()):
        state = json.loads((folder / "trial.json").read_text(encoding="utf-8"))
        if state["status"] != "finished":
            raise SystemExit(f"{folder.name} {state['status']}: {state['reason']}")
        records = read_metrics(folder / "metrics.jsonl")
        trials.append(
            {
                "seconds": state["seconds"],
                "training_s": sum(record["seconds"] for record in records),
                "ended": (folder / "trial.json").stat().st_mtime,
                "loss": records[-1]["train_loss"],
            }
        )
    return {"wall_s": time.perf_counter() - began, "trials": trials}


def row(side: dict[str, Any], processes: int) -> dict[str, float]:
    """Where the core-seconds of a side went, and how long one slot had no trial left while the other still ran."""
    training = processes * sum(trial["training_s"] for trial in side["trials"])
    whole = processes * sum(trial["seconds"] for trial in side["trials"])
    ends = sorted(trial["ended"] for trial in side["trials"])
    return {
        "wall_s": side["wall_s"],
        "training_core_s": training,
        "start_and_end_core_s": whole - training,
        "rest_core_s": CORES * side["wall_s"] - whole,
        "one_slot_idle_s": ends[-1] - ends[-2] if processes == 1 else 0.0,
        "shortest_trial_s": min(trial["seconds"] for trial in side["trials"]),
        "longest_trial_s": max(trial["seconds"] for trial in side["trials"]),
    }


def main() -> None:
    """Run both sides in turns, compare their losses, and print the table."""
    options = timing.arguments(__doc__, rounds=1).parse_args()
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        store = scratch / "store"
        config = merged(BUNDLE, [STORE], SEARCH["overrides"] | {"store_dir": str(store)})
        (scratch / "prepared").mkdir()
        prepare(config, scratch / "prepared", split(config, scratch / "prepared", None))
        for _ in range(options.rounds):
            for name, (processes, batch_size) in SIDES.items():
                measured[name].append(run_side(processes, batch_size, scratch, store))
    losses = [[trial["loss"] for trial in measured[name][0]["trials"]] for name in SIDES]
    difference = max(abs(a - b) / a for a, b in zip(*losses, strict=True))
    if difference > LOSS_TOLERANCE:
        raise SystemExit(f"the sides do not train the same: the losses differ by {difference:.0%}")
    rows = {name: row(measured[name][-1], processes) for name, (processes, _) in SIDES.items()}
    for name, values in rows.items():
        sys.stdout.write(f"{name}: " + ", ".join(f"{what} {value:.1f}" for what, value in values.items()) + "\n")
    walls = {name: [side["wall_s"] for side in sides] for name, sides in measured.items()}
    ratio = timing.Ratio(walls["data parallel"], walls["experiment parallel"])
    if ratio < 1:
        raise SystemExit("data parallel was faster: the claim does not hold here")
    checks = {
        "trials a side": len(losses[0]),
        "largest difference of a trial's last training loss": f"{difference:.1%} (allowed {LOSS_TOLERANCE:.0%})",
    }
    timing.finish({"wall time data parallel/experiment parallel": ratio}, {}, checks, options.json, rows=rows)


if __name__ == "__main__":
    main()
