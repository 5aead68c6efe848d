"""Lab 07: the same run read back from TensorBoard's, MLflow's and W&B's own files, and the exercises about them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scripts.errors import InputError
from scripts.figures import BLUE, ORANGE, PURPLE
from scripts.records import read_metrics

from .checks import answered, require, right
from .wandb_file import WandbRun

# Name of a metric to its value at each epoch.
Curves = dict[str, dict[int, float]]

EXPERIMENT = "brats"
COLOURS = {"TensorBoard": ORANGE, "MLflow": BLUE, "W&B": PURPLE}
# TensorBoard keeps float32.
FLOAT32 = 1e-6
WAIT_S, PATIENCE_S = 0.1, 60.0


def from_metrics(run_dir: Path) -> Curves:
    """What the bundle itself wrote: the lines of metrics.jsonl."""
    curves: Curves = {}
    for record in read_metrics(run_dir / "metrics.jsonl"):
        for name, value in record.items():
            if name != "epoch":
                curves.setdefault(name, {})[record["epoch"]] = float(value)
    return curves


def from_tensorboard(run_dir: Path) -> Curves:
    """The scalars of the run's event files; the losses of single steps, which are no epochs, are left out."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    names = [name for name in events.Tags()["scalars"] if not name.endswith("_step")]
    return {name: {event.step: event.value for event in events.Scalars(name)} for name in names}


def mlflow_client(output_dir: Path) -> Any:
    """MLflow's client of the database in ``output_dir``."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{(output_dir / 'mlflow.db').as_posix()}")


def mlflow_run(client: Any, name: str) -> Any:
    """The run of that name.

    Raises:
        InputError: there is none.
    """
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'") if experiment else []
    if not found:
        raise InputError(f"MLflow's experiment {EXPERIMENT} has no run '{name}'; track a training under that name.")
    return found[0]


def from_mlflow(run_dir: Path) -> Curves:
    """The metrics of the run that is called as its folder."""
    client = mlflow_client(run_dir.parent)
    run = mlflow_run(client, run_dir.name)
    return {
        name: {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}
        for name in run.data.metrics
    }


def from_wandb(run_dir: Path) -> Curves:
    """The history of the run's offline file.

    Raises:
        InputError: there is no such file.
    """
    files = sorted(run_dir.glob("wandb/offline-run-*/run-*.wandb"))
    if not files:
        raise InputError(f"{run_dir}: holds no offline run of W&B; track it with configs/track/wandb.json.")
    curves: Curves = {}
    for epoch, values in ended(files[-1]).history.items():
        for name, value in values.items():
            if isinstance(value, int | float) and not name.startswith(("_", "epoch", "val_case")):
                curves.setdefault(name, {})[epoch] = float(value)
    return curves


def ended(file: Path) -> WandbRun:
    """A run file that is whole: W&B's helper process writes its last records after the training has ended."""
    for _ in range(int(PATIENCE_S / WAIT_S)):
        run = WandbRun(file)
        if run.exit_code is not None:
            return run
        time.sleep(WAIT_S)
    return run


READERS = {"TensorBoard": from_tensorboard, "MLflow": from_mlflow, "W&B": from_wandb}


def disagreements(wanted: Curves, found: Mapping[str, Curves]) -> list[tuple[str, str, int]]:
    """Tracker, metric and epoch of every figure that a tracker lacks or has otherwise than ``wanted``."""
    return [
        (tracker, name, epoch)
        for tracker, curves in found.items()
        for name, values in wanted.items()
        for epoch, value in values.items()
        if not math.isclose(curves.get(name, {}).get(epoch, math.nan), value, rel_tol=FLOAT32, abs_tol=1e-9)
    ]


def side_by_side(wanted: Curves, found: Mapping[str, Curves], names: Sequence[str]) -> list[list[Any]]:
    """A line for each metric and epoch: metrics.jsonl's figure and each tracker's."""
    return [
        [name, epoch, f"{value:.6f}", *(f"{curves[name][epoch]:.6f}" for curves in found.values())]
        for name in names
        for epoch, value in wanted[name].items()
    ]


def curves_figure(found: Mapping[str, Curves], name: str) -> Figure:
    """One metric as each tracker has it, a panel a tracker on one scale."""
    figure, axes = plt.subplots(
        1, len(found), figsize=(3.4 * len(found), 2.9), sharex=True, sharey=True, layout="constrained"
    )
    for axis, (tracker, curves) in zip(axes, found.items(), strict=True):
        axis.plot(list(curves[name]), list(curves[name].values()), color=COLOURS[tracker], marker="o")
        axis.set(title=tracker, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(name)
    figure.suptitle("One run, three stores, one curve")
    return figure


def store_bytes(run_dir: Path) -> dict[str, int]:
    """Bytes on disk of each tracker's store, the run's pictures and files included."""
    output_dir = run_dir.parent
    stores = {
        "metrics.jsonl": [run_dir / "metrics.jsonl"],
        "TensorBoard": [run_dir / "tensorboard"],
        "MLflow": [output_dir / "mlflow.db", output_dir / "mlflow_artifacts"],
        "W&B": [run_dir / "wandb"],
    }
    return {name: sum(size_of(path) for path in paths) for name, paths in stores.items()}


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())


def files_with(secret: str, folder: Path) -> list[Path]:
    """The files below ``folder`` in which ``secret`` stands, in any format that does not compress it."""
    needle = secret.encode()
    return sorted(path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes())


def check_best_run(best: Any, output_dir: Path) -> None:
    """Exercise: ask MLflow for the run with the best validation Dice.

    Args:
        best: name of a run.
        output_dir: of MLflow's database.
    """
    answered(best, "the best run")
    client = mlflow_client(output_dir)
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    dice = {run.info.run_name: run.data.metrics["val_mean_dice"] for run in runs if "val_mean_dice" in run.data.metrics}
    require(isinstance(best, str), "the answer is a run's name: run.info.run_name.")
    require(best in dice, f"MLflow has no run called '{best}' with a val_mean_dice; it has {', '.join(sorted(dice))}.")
    require(
        dice[best] == max(dice.values()),
        f"'{best}' ended at a Dice of {dice[best]:.3f}, another run higher; mind which end of the order is first.",
    )
    right(f"'{best}' ended at {dice[best]:.3f}. The server sorts, so this works for ten thousand runs as well.")


def check_leaks(places: Any, leaked: Mapping[str, bool]) -> None:
    """Exercise: where a key goes that is passed as a hyper-parameter.

    Args:
        places: a set of names.
        leaked: each place that was asked about, and whether the key ends there.
    """
    answered(places, "the set of places")
    require(isinstance(places, set) and places <= set(leaked), f"write a set of these names: {', '.join(leaked)}.")
    wrong = sum((name in places) != leaks for name, leaks in leaked.items())
    require(
        wrong == 0,
        f"{wrong} of {len(leaked)} are not right yet. A hyper-parameter is a knob like any other: who notes knobs?",
    )
    right("Only the environment keeps no copy. Whoever may look at a run may look at its knobs.")
