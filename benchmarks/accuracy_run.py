"""One run of benchmarks/accuracy.py: a side trained in a fold for so many minutes, scored, and kept as JSON."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timing
import torch
from accuracy_clock import TrainingClock, cpu_s
from accuracy_device import CPU, Device
from accuracy_folds import FOLDS, SEED, Fold, make_fold
from accuracy_identity import DEVICE, WEIGHTS, identity
from accuracy_scores import EMPTY_REGIONS, empty_regions, mean_dice, scores
from accuracy_side import Side
from accuracy_sides import OURS, make_side, recipe_name
from scripts.checkpoints import sha256
from scripts.files import cache_dir, write_json

logger = logging.getLogger(__name__)

RESULTS = Path(__file__).resolve().parent / "results"
# Folders of results: recipes side by side, and what a knob brings, in other folds.
ACCURACY, ABLATION = "accuracy", "ablation"


@dataclass(frozen=True)
class Run:
    """What is run.

    Attributes:
        side: one of ``accuracy_sides.SIDES``.
        minutes: of training, by the device's clock.
        fold: from 0.
        variant: name of an override set of the side's recipe; ``ours`` for the recipe as it is.
        configs: override files, for sides that are the bundle's.
        knobs: overrides of single ids, likewise.
        folds: how many there are. Recipes are chosen with other folds than they are compared with other systems in.
        device: what it trains on.
    """

    side: str
    minutes: float
    fold: int
    variant: str = OURS
    configs: tuple[Path, ...] = ()
    knobs: Mapping[str, Any] = field(default_factory=dict)
    folds: int = FOLDS
    device: Device = CPU

    @property
    def name(self) -> str:
        """``nnunet-10min-fold0``, with other folds than ``FOLDS`` ``ema-6min-fold0of2``."""
        dealt = "" if self.folds == FOLDS else f"of{self.folds}"
        return f"{recipe_name(self.side, self.variant)}-{self.minutes:g}min-fold{self.fold}{dealt}"

    @property
    def kind(self) -> str:
        """``ACCURACY``, or ``ABLATION`` for other folds than ``FOLDS``."""
        return folder_of(ACCURACY if self.folds == FOLDS else ABLATION, self.device)

    def result_file(self, results: Path = RESULTS) -> Path:
        """Where the result is kept."""
        return results / self.kind / f"{self.name}.json"


def folder_of(kind: str, device: Device) -> str:
    """Name of the folder of results: minutes of a GPU are compared with none of a CPU."""
    return f"{kind}_gpu" if device.is_gpu else kind


def default_work_dir() -> Path:
    """Where label volumes and weights lie: they show patients, so never in the project."""
    return cache_dir() / "accuracy"


def about(run: Run, side: Side, fold: Fold) -> dict[str, Any]:
    """What a run is, and what its kept weights were made from: by these a result is known to be its own."""
    return {
        "side": run.side,
        "variant": run.variant,
        "minutes": run.minutes,
        "fold": run.fold,
        "folds": run.folds,
        DEVICE: run.device.kind(),
        "test": [item["case"] for item in fold.test],
        EMPTY_REGIONS: empty_regions(fold.test, fold.label_scheme),
        **identity(side, fold),
        WEIGHTS: sha256(side.weights),
    }


def execute(run: Run, dataset_dir: Path, work_dir: Path, results: Path = RESULTS) -> dict[str, Any]:
    """Run it in this process and write its result.

    Args:
        run: what to run.
        dataset_dir: the cases.
        work_dir: gets a folder of this run with ``models/`` (final weights), ``predictions/`` (label volumes, full
            inference) and ``snapshots/<n>/`` (label volumes, plain inference).
        results: gets the JSON file.

    Returns:
        The result.

    Raises:
        InputError: the data or the configs are unusable, or the device is absent.
    """
    run.device.kind()
    if not run.device.is_gpu:
        torch.set_num_threads(1)
    folder = work_dir / run.kind / run.name
    fold = make_fold(dataset_dir, run.fold, run.folds)
    side = make_side(run.side, fold, folder, run.configs, run.knobs, run.device)
    budget_s = 60 * run.minutes
    curve: list[dict[str, Any]] = []

    def snapshot(used_s: float) -> None:
        labels = folder / "snapshots" / str(len(curve))
        side.save()
        side.apply(fold.test, labels, full=False)
        point = {"minutes": used_s / 60, "steps": clock.steps, "dice": scores(fold.test, labels, fold.label_scheme)}
        curve.append(point)
        logger.info(
            "%s: %.2f min, %d steps, mean Dice %.3f", run.name, used_s / 60, clock.steps, mean_dice(point["dice"])
        )

    clock = TrainingClock(budget_s, snapshot, now=run.device.now)
    side.prepare()
    # The process's own clock began with its first import.
    preparation_s = cpu_s()
    calibration = side.calibrate(budget_s)
    calibration_s = cpu_s() - preparation_s
    epochs = calibration.epochs(budget_s)
    logger.info("%s: %.3g s a step, %d epochs planned", run.name, calibration.step_s, epochs)
    epochs_done, schedule_epochs = side.train(clock, epochs)
    used_s = clock.used_s
    if curve and curve[-1]["steps"] == clock.steps:
        # A schedule that ended with its last snapshot, just short of the budget: the same weights once.
        curve.pop()
    snapshot(used_s)
    started = run.device.now()
    side.apply(fold.test, folder / "predictions", full=True)
    inference_s = run.device.now() - started
    result = {
        **about(run, side, fold),
        "seed": SEED,
        "training": [item["case"] for item in fold.training],
        "patients": {item["case"]: item["patient"] for item in fold.test},
        **side.about(),
        "preparation_cpu_s": preparation_s,
        "calibration_cpu_s": calibration_s,
        "calibration_steps": calibration.steps,
        f"step_{run.device.clock}_s": calibration.step_s,
        "steps_per_epoch": calibration.steps_per_epoch,
        "epochs_planned": epochs,
        "epochs_done": epochs_done,
        "schedule_epochs": schedule_epochs,
        "steps_done": clock.steps,
        "minutes_used": used_s / 60,
        "curve": curve,
        "dice": scores(fold.test, folder / "predictions", fold.label_scheme),
        f"inference_{run.device.clock}_s_per_case": inference_s / len(fold.test),
        "machine": timing.machine(),
        "date": datetime.date.today().isoformat(),
    }
    write_json(run.result_file(results), result)
    logger.info("%s: done, mean Dice %.3f", run.name, mean_dice(result["dice"]))
    return result
