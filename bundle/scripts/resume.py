"""The ``resume`` knob: whether a training begins or goes on, and what of its config may have changed meanwhile.

The same command with ``resume: auto`` begins a training, continues it after any end, and does nothing once it is
complete, which is what a requeued job, a reclaimed spot machine and an impatient person need.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from scripts import distributed, runs
from scripts.errors import InputError
from scripts.files import read_json, write_aside
from scripts.state import TrainingState, plain_values, read_state, split_names

logger = logging.getLogger(__name__)

MODES = ("none", "auto")
# Scores before and after a change of these could not be compared, nor could the weights be taken over.
FIXED = ("network_def", "modalities", "regions", "spacing")
# Where things lie and how they are started says nothing about the training.
PLACES = ("bundle_root", "output_dir", "ckpt_dir", "run_name", "resume", "dataset_dir", "datalist_file", "backend")
# What a killed process may have written into metrics.jsonl after the newest state: an epoch, two after a damaged file.
LOST_EPOCHS = 2


def state_to_resume(resume: str, ckpt_dir: str) -> dict[str, Any]:
    """The state that this training continues from, the same in every process; empty where it begins.

    Rank 0 alone reads it, so the other machines need not share the folder.

    Args:
        resume: ``none`` begins a training; ``auto`` continues the one whose state lies in ``ckpt_dir``, if any.
        ckpt_dir: folder of ``model_last.pt``.

    Raises:
        InputError: ``resume`` is unknown, or all states are damaged.
    """
    if resume not in MODES:
        raise InputError(f"resume '{resume}' is unknown; choose one of {', '.join(MODES)}.")
    if resume == "none":
        return {}
    return distributed.from_rank_zero(lambda: read_state(ckpt_dir) or {})


def run_dir(output_dir: str, run_name: str | int | None, state: Mapping[str, Any]) -> str:
    """Folder of this run, absolute: the continued training's own, or a new one (:func:`scripts.runs.run_dir`).

    Args:
        output_dir: folder of the run folders.
        run_name: name of the run's folder, or None.
        state: what :func:`state_to_resume` found.

    Raises:
        InputError: the state is that of a run with another name.
    """
    if not state:
        return runs.run_dir(output_dir, run_name)
    own = Path(state["run_dir"])
    if run_name is not None and str(run_name) != own.name:
        raise InputError(
            f"run_name '{run_name}': ckpt_dir holds the state of the run '{own.name}'; give that name to continue it, "
            "or another ckpt_dir, or resume none."
        )
    # A state that came from another machine brings a path that means nothing here.
    return str(own if own.is_dir() else Path(output_dir).resolve() / own.name)


def prepare(state: Mapping[str, Any], run_dir: str, datalist: Mapping[str, Any], resume: str) -> None:
    """Before a run folder is opened: check that the state is this training's, and bring its metrics back to it.

    Args:
        state: what :func:`state_to_resume` found.
        run_dir: the run's folder.
        datalist: the split.
        resume: the knob; with ``none`` nothing is done.

    Raises:
        InputError: the state is another training's, or the folder holds one.
    """
    if resume == "none":
        return
    if state:
        refuse_other_training(state, runs.merged_config(), datalist)
    if distributed.rank() == 0:
        keep_epochs(Path(run_dir) / runs.METRICS_FILE, state.get("epoch", 0))


def refuse_other_training(state: Mapping[str, Any], config: Mapping[str, Any], datalist: Mapping[str, Any]) -> None:
    """Refuse to continue as another training what would then be none of the two, and log what else was changed.

    Raises:
        InputError: the network, the data or the split differ.
    """
    old, new = state["config"], plain_values(config)
    for knob in FIXED:
        if old.get(knob) != new.get(knob):
            difference = next(changes(old.get(knob), new.get(knob), knob))
            raise InputError(
                f"{difference}, but the training in {state['run_dir']} cannot go on with another {knob}; "
                "leave it as it was, or train anew with resume none and another ckpt_dir."
            )
    if state["split"] != split_names(datalist):
        raise InputError(
            f"{datalist['dataset_dir']}: its split is not that of the training in {state['run_dir']}; give "
            f"--datalist_file {Path(state['run_dir']) / 'datalist.json'}, or train anew with resume none."
        )
    for key in sorted((old.keys() | new.keys()) - {*PLACES, "_desc_"}):
        for difference in changes(old.get(key), new.get(key), key):
            logger.info("changed since the state was saved: %s", difference)


def changes(old: Any, new: Any, name: str) -> Iterator[str]:
    """What differs between two values of a config, as ``knob is NEW and was OLD``."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            if key != "_desc_":
                yield from changes(old.get(key), new.get(key), f"{name}::{key}")
    elif old != new:
        yield f"{name} is {json.dumps(new)} and was {json.dumps(old)}"


class Resume:
    """Trainer handler: takes up the state before the first epoch, and its place within an epoch.

    Args:
        training_state: what takes it up.
        state: what :func:`state_to_resume` found.
        loader: the training's loader; batches that were trained on before the stop are passed over.
    """

    def __init__(self, training_state: TrainingState, state: Mapping[str, Any], loader: Any) -> None:
        self.training_state = training_state
        self.state = state
        self.loader = loader
        self.within: Mapping[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Register at the start of the training; within an epoch also at that epoch's start and end."""
        if not self.state:
            return
        engine.add_event_handler(Events.STARTED, self.start)
        if "within" in self.state:
            engine.add_event_handler(Events.EPOCH_STARTED, self.pass_over_batches)
            engine.add_event_handler(Events.GET_BATCH_STARTED, self.go_on_within)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.use_whole_epochs)

    def start(self, engine: Engine) -> None:
        """Load."""
        epoch = self.state["epoch"]
        self.training_state.put_back(engine, self.state)
        self.training_state.validator.state.best_metric, self.training_state.validator.state.best_metric_epoch = best(
            self.state, self.training_state.ckpt_dir
        )
        engine.state.epoch = epoch
        engine.state.iteration = epoch * engine.state.epoch_length
        within = self.state.get("within", {})
        if within and within["epoch_length"] != engine.state.epoch_length:
            logger.warning(
                "epoch %d was stopped at step %d of %d and has %d steps now; it begins again",
                epoch + 1, within["steps"], within["epoch_length"], engine.state.epoch_length,
            )  # fmt: skip
        else:
            self.within = within
            engine.state.iteration += within.get("steps", 0)
        if epoch >= engine.state.max_epochs:
            logger.info("all %d epochs were trained before; give more epochs, or train anew with resume none", epoch)
        else:
            logger.info(
                "continuing after epoch %d%s, best val_mean_dice %.4f of epoch %d", epoch,
                f" and {self.within['steps']} steps" if self.within else "", *self._best(),
            )  # fmt: skip

    def _best(self) -> tuple[float, int]:
        state = self.training_state.validator.state
        return state.best_metric, state.best_metric_epoch

    def pass_over_batches(self, engine: Engine) -> None:
        """Before the loader is iterated: leave out what was trained on."""
        if self.within:
            steps = self.within["steps"]
            engine.state.dataloader = [] if steps == engine.state.epoch_length else Rest(self.loader, steps)

    def go_on_within(self, engine: Engine) -> None:
        """Before the first batch: the mean loss so far and the generators, which the start of the epoch had reset."""
        if not self.within:
            return
        loss = self.training_state.loss
        if distributed.rank() == 0:
            loss.accumulator, loss.num_examples = self.within["loss"][0].to(engine.state.device), self.within["loss"][1]
            torch.set_rng_state(self.within["rng"])
            if self.within["cuda_rng"] is not None and engine.state.device.type == "cuda":
                torch.cuda.set_rng_state(self.within["cuda_rng"], engine.state.device)
        if self.within["steps"] == engine.state.epoch_length:
            engine.terminate_epoch()
        self.within = {}

    def use_whole_epochs(self, engine: Engine) -> None:
        """From the next epoch on the loader is iterated as it is."""
        engine.state.dataloader = self.loader


class Rest:
    """A loader without its first batches, which are made and thrown away: what draws from a generator has to draw.

    Args:
        loader: gives the batches.
        steps: number of batches to leave out.
    """

    def __init__(self, loader: Any, steps: int) -> None:
        self.loader = loader
        self.steps = steps

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        for _ in range(self.steps):
            next(batches)
        return batches


def best(state: Mapping[str, Any], ckpt_dir: Path) -> tuple[float, int]:
    """Best metric and its epoch: the state's, or that of ``model.pt`` where it was written after the state."""
    found = (state["best_metric"], state["best_metric_epoch"])
    about = ckpt_dir / "model.json"
    if not about.is_file():
        return found
    model = read_json(about, "description of the trained model")
    if Path(model["run_dir"]).name != Path(state["run_dir"]).name:
        return found
    return max(found, (float(model["metrics"]["val_mean_dice"]), int(model["epoch"])), key=lambda pair: pair[0])


def keep_epochs(metrics_file: Path, epochs: int) -> None:
    """Drop the lines of epochs that are trained again, and a last line that was cut off.

    Args:
        metrics_file: ``metrics.jsonl``; may be absent.
        epochs: number of epochs that the state has.

    Raises:
        InputError: the file holds many more epochs than the state: another training's, which must not be lost.
    """
    if not metrics_file.is_file():
        return
    lines = metrics_file.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if 0 < _epoch_of(line) <= epochs]
    last = max(map(_epoch_of, lines), default=0)
    if last - epochs > LOST_EPOCHS:
        raise InputError(
            f"{metrics_file}: already holds {last} epochs of a training, but the state in ckpt_dir has {epochs}; "
            "choose another run_name, or the ckpt_dir that belongs to it."
        )
    with write_aside(metrics_file) as aside:
        aside.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _epoch_of(line: str) -> int:
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return 0
