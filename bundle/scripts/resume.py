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

from scripts import ckpt_lock, distributed, runs
from scripts.checkpoints import ABOUT_FILE, MODEL_FILE
from scripts.errors import InputError
from scripts.files import refuse_unwritable, remove_asides, write_aside
from scripts.state import LAST_FILE, PREVIOUS_FILE, plain_values, read_state, split_names

logger = logging.getLogger(__name__)

MODES = ("none", "auto")
CHECKPOINTS = (MODEL_FILE, ABOUT_FILE, LAST_FILE, PREVIOUS_FILE)
# Scores before and after a change of these could not be compared, nor could the weights be taken over.
FIXED = ("network_def", "modalities", "regions", "spacing")
# Where things lie and how they are started says nothing about the training.
PLACES = ("bundle_root", "output_dir", "ckpt_dir", "run_name", "resume", "dataset_dir", "datalist_file", "backend")
# What a killed process may have written into metrics.jsonl after the newest state: an epoch, two after a damaged file.
LOST_EPOCHS = 2


def state_to_resume(resume: str, ckpt_dir: str) -> dict[str, Any]:
    """The state that this training continues from, the same in every process; empty where it begins.

    Rank 0 alone reads it, so the other machines need not share the folder; what another training is about to save
    there is waited for.

    Args:
        resume: ``none`` begins a training; ``auto`` continues the one whose state lies in ``ckpt_dir``, if any.
        ckpt_dir: folder of ``model_last.pt``.

    Raises:
        InputError: ``resume`` is unknown, all states are damaged, or another training goes on in the folder.
    """
    if resume not in MODES:
        raise InputError(f"resume '{resume}' is unknown; choose one of {', '.join(MODES)}.")
    if resume == "none":
        return {}
    return distributed.from_rank_zero(lambda: _read_alone(ckpt_dir))


def _read_alone(ckpt_dir: str) -> dict[str, Any]:
    if _writes():
        _hold_if_there(ckpt_dir)
    return read_state(ckpt_dir) or {}


def _hold_if_there(ckpt_dir: str) -> None:
    # What is refused later must leave no new folder behind: scripts.restart makes it, when the training begins.
    if Path(ckpt_dir).is_dir():
        ckpt_lock.hold(ckpt_dir)


def _writes() -> bool:
    """Whether the running workflow is a training; an evaluation only reads ``ckpt_dir``."""
    return "evaluate_on" not in runs.merged_config()


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
    return runs.recorded_dir(own, output_dir)


def prepare(state: Mapping[str, Any], run_dir: str, ckpt_dir: str, datalist: Mapping[str, Any], resume: str) -> None:
    """Before a run folder is opened: take the folder of checkpoints, and check that the state is this training's.

    The metrics of a training that goes on are brought back to its state.

    Args:
        state: what :func:`state_to_resume` found.
        run_dir: the run's folder.
        ckpt_dir: folder of the states.
        datalist: the split.
        resume: the knob; with ``none`` no state is looked at.

    Raises:
        InputError: ``ckpt_dir`` cannot be written to, another training goes on or has come there, the state is
            another one's, or the run's folder holds one.
    """
    if _writes():
        distributed.from_rank_zero(lambda: _take(ckpt_dir, begins_if_empty=resume != "none" and not state))
    if resume == "none":
        return
    if state:
        refuse_other_training(state, runs.merged_config(), datalist)
    if not state and (Path(run_dir) / "report.html").exists():
        raise InputError(
            f"{run_dir}: already holds a training that was completed, but ckpt_dir has no state of it; choose another "
            "run_name, or the ckpt_dir that belongs to it."
        )
    if distributed.rank() == 0:
        keep_epochs(Path(run_dir) / runs.METRICS_FILE, state.get("epoch", 0))
        remove_asides(ckpt_dir)


def _take(ckpt_dir: str, begins_if_empty: bool) -> None:
    refuse_unwritable(ckpt_dir, CHECKPOINTS)
    _hold_if_there(ckpt_dir)
    # A folder that was not there yet could not be locked while the data were checked.
    if begins_if_empty and read_state(ckpt_dir) is not None:
        raise InputError(
            f"{ckpt_dir}: another training has come and left its state there since this one looked; start again to "
            "continue it, or give another ckpt_dir."
        )


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
