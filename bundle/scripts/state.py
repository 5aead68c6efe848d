"""The whole state of a training, as one file: what a continued training needs to end as an uninterrupted one would.

``model_last.pt`` is the state after the last epoch, or in the middle of one that was told to stop; the state before
it is kept as ``model_previous.pt``, for the day the disk fails. Random generators are not part of it, as each epoch and
step draws from its own number (:mod:`scripts.repeatable`).
"""

from __future__ import annotations

import logging
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average
from torch import nn
from torch.optim.swa_utils import AveragedModel

from scripts import distributed
from scripts.checkpoints import unwrapped
from scripts.errors import InputError, first_line
from scripts.files import write_aside
from scripts.fsdp import full_state, is_sharded, load_full_state
from scripts.runs import merged_config

logger = logging.getLogger(__name__)

LAST_FILE = "model_last.pt"
PREVIOUS_FILE = "model_previous.pt"


class TrainingState:
    """Everything that a training changes while it runs, gathered into one dict and put back from it.

    Args:
        network: the network that is trained, wrapped or not.
        average: the network that is validated; where it is a moving average, it is kept as ``average``.
        optimizer: its moments and step counts.
        lr_scheduler: its position.
        validator: its best metric, so that a worse epoch never replaces ``model.pt``.
        loss: the mean training loss, for an epoch that is stopped in the middle.
        datalist: the split; its cases' names are kept, to be compared.
        run_dir: the run's folder, which a continued training goes on writing to.
        ckpt_dir: folder of the files.
    """

    def __init__(
        self,
        network: nn.Module,
        average: nn.Module,
        optimizer: torch.optim.Optimizer,
        lr_scheduler: Any,
        validator: Engine,
        loss: Mapping[str, Average],
        datalist: Mapping[str, Any],
        run_dir: str,
        ckpt_dir: str,
    ) -> None:
        self.network = unwrapped(network)
        self.average = average if isinstance(average, AveragedModel) else None
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.validator = validator
        self.loss = loss["train_loss"]
        self.ckpt_dir = Path(ckpt_dir)
        self.about = {"run_dir": run_dir, "config": plain_values(merged_config()), "split": split_names(datalist)}

    @property
    def needs_every_process(self) -> bool:
        """Whether :meth:`save` is a collective."""
        return is_sharded(self.network)

    def gather(self, trainer: Engine, epoch: int) -> dict[str, Any]:
        """The state after ``epoch`` whole epochs; where the trainer is further, also its place in the next one.

        Every process has to come here where the network is sharded over them, and rank 0's is the state.
        """
        state = {
            **self.about,
            "epoch": epoch,
            "model": full_state(self.network),
            "optimizer": full_state(self.optimizer),
            "lr_scheduler": self.lr_scheduler.state_dict(),
            "scaler": trainer.gradient_scaler.state_dict(),
            "best_metric": float(self.validator.state.best_metric),
            "best_metric_epoch": int(self.validator.state.best_metric_epoch),
        }
        if self.average is not None:
            state["average"] = self.average.state_dict()
        if epoch < trainer.state.epoch:
            state["within"] = {
                "steps": trainer.state.iteration - epoch * trainer.state.epoch_length,
                "epoch_length": trainer.state.epoch_length,
                "loss": (torch.as_tensor(self.loss.accumulator).cpu(), self.loss.num_examples),
            }
        return state

    def save(self, trainer: Engine, epoch: int) -> None:
        """Gather the state after ``epoch`` whole epochs; rank 0 writes it, and keeps the file before it.

        Raises:
            InputError: the folder cannot be written to, or the disk is full; the files are then as they were.
        """
        state = self.gather(trainer, epoch)
        if distributed.rank() > 0:
            return
        last = self.ckpt_dir / LAST_FILE
        with write_aside(last) as aside:
            torch.save(state, aside)
            if last.exists():
                os.replace(last, self.ckpt_dir / PREVIOUS_FILE)

    def put_back(self, trainer: Engine, state: Mapping[str, Any]) -> None:
        """Take up a state that was saved; hyper-parameters stay as the config has them now.

        The exception are the numbers of a schedule that is no ``LambdaLR`` (scripts.learning_rate's is one), such as
        the ``T_max`` of ``CosineAnnealingLR``: they stay the state's, all but the peak rate, because such schedules
        compute each rate from the one before and a changed number would take them off their curve.

        Raises:
            InputError: it is another network's or optimiser's.
        """
        try:
            load_full_state(self.network, state["model"])
            if self.average is not None:
                self._put_back_average(state)
            self._put_back_optimizer(state)
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(
                f"{self.ckpt_dir / LAST_FILE}: is the state of another network or optimiser "
                f"({first_line(error)}); give the config that it was trained with, or train anew with resume "
                "none."
            ) from error
        if state["scaler"] and trainer.gradient_scaler.is_enabled():
            trainer.gradient_scaler.load_state_dict(state["scaler"])

    def _put_back_average(self, state: Mapping[str, Any]) -> None:
        if "average" in state:
            self.average.load_state_dict(state["average"])
            return
        logger.warning("the training was without ema_decay until now; the average starts from its weights")
        self.average.module.load_state_dict(state["model"])

    def _put_back_optimizer(self, state: Mapping[str, Any]) -> None:
        """Moments and positions are the state's, rates and factors the config's, which may have been changed."""
        groups = [{key: group[key] for key in group if key != "params"} for group in self.optimizer.param_groups]
        load_full_state(self.optimizer, state["optimizer"])
        for group, configured in zip(self.optimizer.param_groups, groups, strict=True):
            group.update({key: value for key, value in configured.items() if key != "lr"})
        self._put_back_schedule(state["lr_scheduler"])

    def _put_back_schedule(self, state: Mapping[str, Any]) -> None:
        """The schedule's place, with the config's peak rates: a schedule's own state would bring back the old ones."""
        scheduler, groups = self.lr_scheduler, self.optimizer.param_groups
        if isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR):
            scheduler.last_epoch, scheduler._step_count = state["last_epoch"], state["_step_count"]
            factors = [factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
            rates = [base * factor for base, factor in zip(scheduler.base_lrs, factors, strict=True)]
        else:
            # Others compute a rate from the one before; they go on from the old one, in proportion to the new peak.
            bases = getattr(scheduler, "base_lrs", [])
            scheduler.load_state_dict(dict(state))
            factors = [new / old for new, old in zip(bases, getattr(scheduler, "base_lrs", []), strict=True)]
            if not factors:
                return
            scheduler.base_lrs = bases
            rates = [group["lr"] * factor for group, factor in zip(groups, factors, strict=True)]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
        scheduler._last_lr = rates


class LastState:
    """Trainer handler: saves the state after every epoch; to be attached in every process.

    Args:
        training_state: what is saved.
    """

    def __init__(self, training_state: TrainingState) -> None:
        self.training_state = training_state

    def attach(self, engine: Engine) -> None:
        """Register at the end of each epoch."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save the state after ``engine.state.epoch`` epochs."""
        self.training_state.save(engine, engine.state.epoch)


def read_state(ckpt_dir: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The newest sound state in a folder, on the CPU, or None where no training has left one.

    A damaged file is passed over for the one before it, with a warning.

    Raises:
        InputError: there are states, and none is sound.
    """
    files = [file for name in (LAST_FILE, PREVIOUS_FILE) if (file := Path(ckpt_dir) / name).is_file()]
    for file in files:
        try:
            return _read(file)
        except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
            logger.warning("%s: is damaged (%s); the state before it is tried", file, first_line(error))
    if not files:
        return None
    raise InputError(
        f"{files[0]}: is damaged, and there is no sound state before it; restore a file, or train anew with resume "
        "none."
    )


def _read(file: Path) -> dict[str, Any]:
    # PyTorch's reader doesn't look at the checksums that its writer stored.
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"wrong checksum of {damaged}")
    state = torch.load(file, map_location="cpu", weights_only=True)
    if "config" not in state:
        raise ValueError("written by an earlier version, which kept no whole state")
    return state


def split_names(datalist: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names of the cases of each part."""
    return {part: [item["case"] for item in datalist[part]] for part in ("training", "validation", "test")}


def plain_values(config: Any) -> Any:
    """A config as dicts, lists, numbers and strings, which alone a checkpoint may hold."""
    if isinstance(config, Mapping):
        return {str(key): plain_values(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [plain_values(value) for value in config]
    return config if config is None or isinstance(config, (bool, int, float, str)) else str(config)
