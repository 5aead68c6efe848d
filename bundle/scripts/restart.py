"""Taking up a state where it was left: at the end of an epoch, or within one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from scripts import ckpt_lock, distributed
from scripts.checkpoints import ABOUT_FILE
from scripts.files import read_json
from scripts.former import keep_former
from scripts.state import TrainingState

logger = logging.getLogger(__name__)

# Once taken up they would lie in memory for the whole training.
TENSORS = ("model", "average", "optimizer")
# Entry of a state: digest of the model of another training, which lay in the folder when this one began.
REPLACES = "replaces_sha256"


class Resume:
    """Trainer handler: takes up the state before the first epoch, and its place within an epoch.

    A training that has no state begins, and what another one has left in its place is kept.

    Args:
        training_state: what takes it up.
        state: what :func:`scripts.resume.state_to_resume` found; its tensors are let go of.
        loader: the training's loader; batches that were trained on before the stop are passed over.
    """

    def __init__(self, training_state: TrainingState, state: dict[str, Any], loader: Any) -> None:
        self.training_state = training_state
        self.state = state
        self.loader = loader
        self.within: Mapping[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Register at the start of the training; within an epoch also at that epoch's start and end."""
        if not self.state:
            engine.add_event_handler(Events.STARTED, self.begin)
            return
        engine.add_event_handler(Events.STARTED, self.start)
        if "within" in self.state:
            engine.add_event_handler(Events.EPOCH_STARTED, self.pass_over_batches)
            engine.add_event_handler(Events.GET_BATCH_STARTED, self.go_on_within)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.use_whole_epochs)

    def begin(self, engine: Engine) -> None:
        """Before a checkpoint is written, and after initial weights were read, maybe from the same folder."""
        if distributed.rank() == 0:
            ckpt_lock.hold(self.training_state.ckpt_dir)
            keep_former(self.training_state.ckpt_dir)
            self.training_state.about[REPLACES] = model_digest(self.training_state.ckpt_dir)

    def start(self, engine: Engine) -> None:
        """Load."""
        epoch = self.state["epoch"]
        self.training_state.put_back(engine, self.state)
        self.training_state.about[REPLACES] = self.state.get(REPLACES)
        for part in TENSORS:
            self.state.pop(part, None)
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
            # A whole epoch's steps would end the last one before its validation; the last step is counted later.
            engine.state.iteration += min(within.get("steps", 0), engine.state.epoch_length - 1)
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
        """Before the first batch: the mean loss so far, which the start of the epoch had reset."""
        if not self.within:
            return
        loss = self.training_state.loss
        if distributed.rank() == 0:
            loss.accumulator, loss.num_examples = self.within["loss"][0].to(engine.state.device), self.within["loss"][1]
        if self.within["steps"] == engine.state.epoch_length:
            engine.state.iteration += 1
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


def model_digest(ckpt_dir: Path) -> str | None:
    """SHA-256 of the model in a folder, as its description has it; None where there is none."""
    about = ckpt_dir / ABOUT_FILE
    return read_json(about, "description of the trained model").get("sha256") if about.is_file() else None


def best(state: Mapping[str, Any], ckpt_dir: Path) -> tuple[float, int]:
    """Best metric and its epoch: the state's, or that of ``model.pt`` where it was written after the state.

    Another training's model is not taken for this one's, whether it has another name or the same.
    """
    found = (state["best_metric"], state["best_metric_epoch"])
    about = ckpt_dir / ABOUT_FILE
    if not about.is_file():
        return found
    model = read_json(about, "description of the trained model")
    replaced = state.get(REPLACES)
    if replaced is not None and model.get("sha256") == replaced:
        return found
    if Path(model["run_dir"]).name != Path(state["run_dir"]).name:
        return found
    return max(found, (float(model["metrics"]["val_mean_dice"]), int(model["epoch"])), key=lambda pair: pair[0])
