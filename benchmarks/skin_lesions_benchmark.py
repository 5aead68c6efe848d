"""The skin lesion bundle's recipe against the published one, at equal CPU minutes on the same images of HAM10000.

    python benchmarks/skin_lesions_benchmark.py run --dataset_dir DIR --minutes 5 --threads 2
    python benchmarks/skin_lesions_benchmark.py table

Both are labs/skin_lesion_bundle, by ``monai.bundle run``: configs/train.json as it is, and with
configs/recipe/published.json, whose transforms and learning rate are those of the published experiment and whose images
are split by lesion, once, before anything else. A budget is minutes times threads of CPU time, in as many whole epochs
as fit, so that each learning-rate schedule ends with it; importing, reading and decoding come before. An epoch's cost
is that of the second epoch of a run of two, its validation included; a training that exceeds the budget nevertheless is
made again with fewer. The best epoch by validation is scored on the test
part.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timing
from scripts.errors import InputError, one_sentence
from scripts.files import cache_dir, read_json, write_json

BUNDLE = timing.ROOT / "labs" / "skin_lesion_bundle"
RESULTS = Path(__file__).resolve().parent / "results" / "skin_lesions"
DATASET_DIR = timing.ROOT.parent / "shared/data/HAM10000"
TRAIN, EVALUATE = "configs/train.json", "configs/evaluate.json"
OURS, PUBLISHED = "ours", "published"
SIDES = {OURS: [TRAIN], PUBLISHED: [TRAIN, "configs/recipe/published.json"]}
# The issue of this comparison: macro ROC AUC that ours must have.
WANTED_AUC = 0.80
MACRO_AUC = "macro_auc"
# By how much of its budget a side may exceed it.
TOLERANCE = 0.03

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """What both sides get.

    Attributes:
        dataset_dir: images and metadata in HAM10000's layout.
        minutes: of all threads together working.
        threads: of each training.
        seed: of split, weights and augmentation.
    """

    dataset_dir: Path
    minutes: float
    threads: int
    seed: int

    @property
    def cpu_s(self) -> float:
        """CPU seconds."""
        return 60 * self.minutes * self.threads


def bundle_run(configs: Sequence[str], folder: Path, name: str, budget: Budget, *words: str) -> None:
    """``monai.bundle run`` in a process of its own.

    Raises:
        InputError: it failed; its own sentence is on the terminal.
    """
    listed = configs[0] if len(configs) == 1 else str(list(configs))
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", listed]
    command += ["--output_dir", str(folder / "runs"), "--run_name", name, "--ckpt_dir", str(folder / "models" / name)]
    variables = os.environ | {"OMP_NUM_THREADS": str(budget.threads)}
    code = subprocess.run([*command, *words], cwd=BUNDLE, env=variables, check=False).returncode
    if code:
        raise InputError(f"{name}: monai.bundle ended with status {code}; see what it said above.")


def epochs_of(side: str, budget_s: float, epoch_s: float) -> int:
    """Whole epochs in a budget.

    Raises:
        InputError: it holds none.
    """
    if epoch_s > budget_s:
        raise InputError(f"{side}: an epoch takes {epoch_s:.0f} CPU seconds, but {budget_s:.0f} are given; raise them.")
    return int(budget_s / epoch_s)


def run_side(side: str, budget: Budget, folder: Path) -> dict[str, Any]:
    """Train a side for the budget and score it; its run folder stays in ``folder``.

    Raises:
        InputError: the data are unusable, or the budget holds no epoch.
    """
    shared = ["--dataset_dir", str(budget.dataset_dir), "--seed", str(budget.seed)]

    def train(name: str, epochs: int) -> list[dict[str, float]]:
        """What the training logs of each epoch."""
        bundle_run(SIDES[side], folder, name, budget, *shared, "--epochs", str(epochs))
        lines = (folder / "runs" / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    first, second = train(f"{side}-calibration", 2)
    epoch_s = second["cpu_seconds"] - first["cpu_seconds"]
    epochs = epochs_of(side, budget.cpu_s, epoch_s)
    logger.info("%s: %.1f CPU s an epoch, %d epochs", side, epoch_s, epochs)
    last = train(side, epochs)[-1]
    # The calibration errs where the machine does other work by turns. More than the budget is not the same budget.
    while last["cpu_seconds"] > (1 + TOLERANCE) * budget.cpu_s and epochs > 1:
        epochs = min(epochs - 1, epochs_of(side, budget.cpu_s, last["cpu_seconds"] / epochs))
        logger.info("%s: used %.0f CPU s, again with %d epochs", side, last["cpu_seconds"], epochs)
        for part in ("runs", "models"):
            shutil.rmtree(folder / part / side)
        last = train(side, epochs)[-1]
    bundle_run([*SIDES[side], EVALUATE], folder, side, budget)
    return {
        "epochs": epochs,
        "epoch_cpu_s": epoch_s,
        "minutes_used": last["cpu_seconds"] / 60 / budget.threads,
        "wall_minutes": last["seconds"] / 60,
        "summary": read_json(folder / "runs" / side / "test" / "summary.json", "summary"),
    }


def run(budget: Budget, work_dir: Path) -> None:
    """Run both sides and keep their result."""
    folder = work_dir / f"{budget.minutes:g}min-seed{budget.seed}"
    # A training refuses the folder of another one, such as that of a run that was interrupted.
    shutil.rmtree(folder, ignore_errors=True)
    sides = {side: run_side(side, budget, folder) for side in SIDES}
    done = subprocess.run(
        [sys.executable, "-m", "skin_lesions.compare", *(str(folder / "runs" / side) for side in (PUBLISHED, OURS))],
        cwd=BUNDLE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    about = {"minutes": budget.minutes, "threads": budget.threads, "seed": budget.seed}
    about |= {"machine": timing.machine(), "date": datetime.date.today().isoformat()}
    write_json(RESULTS / f"{folder.name}.json", about | {"sides": sides, "compared": done.stdout})
    sys.stdout.write(text(RESULTS / f"{folder.name}.json"))


def text(file: Path) -> str:
    """The comparison, and whether ours has what it must have."""
    result = read_json(file, "result")
    lines = [f"{result['minutes']:g} minutes on {result['threads']} threads, seed {result['seed']}", ""]
    for side, found in result["sides"].items():
        auc = found["summary"][MACRO_AUC]
        spent = f"{found['minutes_used']:.2f} min ({found['wall_minutes']:.2f} by the clock)"
        lines.append(f"{side:<10} {found['epochs']:>3} epochs, {spent}, macro AUC {auc:.3f}")
    lines += ["", result["compared"].rstrip(), ""]
    ours, published = (result["sides"][side]["summary"][MACRO_AUC] for side in (OURS, PUBLISHED))
    lines += [f"WANTED macro AUC of at least {WANTED_AUC}: {'met' if ours >= WANTED_AUC else 'missed'}"]
    lines += [f"DIFFERENCE {OURS}-{PUBLISHED} macro AUC {ours - published:+.3f}, its interval above", ""]
    return "\n".join(lines)


def tabulate() -> None:
    """Print all kept results.

    Raises:
        InputError: there are none.
    """
    files = sorted(RESULTS.glob("*.json"))
    if not files:
        raise InputError(f"{RESULTS}: holds no results; run python benchmarks/skin_lesions_benchmark.py run first.")
    sys.stdout.write("\n".join(map(text, files)))


def main(argv: list[str] | None = None) -> int:
    """Run or tabulate."""
    root = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = root.add_subparsers(dest="command", required=True)
    measured = commands.add_parser("run", help="train and score both sides")
    measured.add_argument("--dataset_dir", type=Path, default=DATASET_DIR)
    measured.add_argument("--minutes", type=float, default=5.0, help="of all threads working")
    measured.add_argument("--threads", type=int, default=2)
    measured.add_argument("--seed", type=int, default=42, help="of split, weights and augmentation")
    measured.add_argument("--work_dir", type=Path, default=cache_dir() / "skin_lesions", help="for runs and weights")
    commands.add_parser("table", help="print what has been kept")
    options = root.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)

    def work() -> int:
        if options.command == "table":
            tabulate()
        else:
            budget = Budget(options.dataset_dir.resolve(), options.minutes, options.threads, options.seed)
            run(budget, options.work_dir.resolve())
        return 0

    return one_sentence(work)


if __name__ == "__main__":
    sys.exit(main())
