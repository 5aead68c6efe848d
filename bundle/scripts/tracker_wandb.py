"""Weights & Biases: offline files in the run folder, or the service."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.trackers import FAILED, FINISHED, KILLED, PICTURE, Tracker, optional_package

logger = logging.getLogger(__name__)

MODES = ("offline", "online")
KEY = "WANDB_API_KEY"
# Seconds to wait at the start: for the service, or offline for W&B's helper process, which is slow on a busy machine.
INIT_TIMEOUT = {"online": 30, "offline": 90}
# Seconds to wait for uploads at the end; what is left can be sent by wandb sync.
FINISH_TIMEOUT = 120
# W&B tells a run's end by an exit code; 130 is what a shell reports of an interrupted process.
EXIT_CODES = {FINISHED: 0, FAILED: 1, KILLED: 130}


class WandB(Tracker):
    """Config, metrics, pictures and files of a run in a W&B project. The key is $WANDB_API_KEY, nothing else.

    Args:
        project: made if absent.
        mode: ``offline`` needs no network and no key; ``online`` falls back to it where the service does not answer.
        log_model: also store model.pt.

    Raises:
        InputError: the mode is unknown.
    """

    name = "W&B"

    def __init__(self, project: str = "brats", mode: str = "offline", log_model: bool = False) -> None:
        if mode not in MODES:
            raise InputError(f"wandb_mode '{mode}' is unknown; choose one of {', '.join(MODES)}.")
        self.project = project
        self.mode = mode
        self.log_model = log_model

    def open(self, folder: Path, knobs: Mapping[str, Any], run_id: str | None) -> str:
        """Begin or continue a run named after the folder; see :meth:`Tracker.open`."""
        self.wandb = optional_package("wandb", "wandb>=0.31", "W&B")
        self.folder = folder
        run_id = run_id or uuid.uuid4().hex[:8]
        mode = self.mode
        if mode == "online" and not os.environ.get(KEY):
            # wandb would ask for it on the terminal, and the training would wait.
            logger.warning("W&B is kept offline in %s: %s is not set in the environment.", folder / "wandb", KEY)
            mode = "offline"
        try:
            self.run = self._init(mode, run_id, knobs)
        except self.wandb.errors.Error as error:
            if mode == "offline":
                raise
            logger.warning(
                "W&B does not answer (%s); its run is kept offline, to be sent by: wandb sync %s",
                type(error).__name__,
                folder / "wandb" / "offline-run-*",
            )
            # W&B's helper process holds on to the id of the run that it could not begin.
            self.wandb.teardown()
            self.run = self._init("offline", run_id, knobs)
        return run_id

    def log(self, epoch: int, values: Mapping[str, float], picture: Path | None) -> None:
        """Log figures and picture at step ``epoch``."""
        entries: dict[str, Any] = {"epoch": epoch, **values}
        if picture is not None:
            entries[PICTURE] = self.wandb.Image(str(picture))
        # Committed at once: a step that waits for the next one is lost when the process is killed.
        self.run.log(entries, step=epoch, commit=True)

    def keep(self, files: Sequence[Path]) -> None:
        """Add copies of files to the run's."""
        for file in files:
            # Saved from elsewhere it would be a link, which leads nowhere once the run folder is moved.
            copy = shutil.copy(file, self.run.dir)
            self.run.save(copy, base_path=self.run.dir, policy="now")

    def close(self, status: str) -> None:
        """End the run with an exit code."""
        self.run.finish(exit_code=EXIT_CODES[status])

    def _init(self, mode: str, run_id: str, knobs: Mapping[str, Any]) -> Any:
        """A run of its own in this process, quiet: the run folder has its log."""
        settings = self.wandb.Settings(
            init_timeout=INIT_TIMEOUT[mode],
            finish_timeout=FINISH_TIMEOUT,
            console="off",
            silent=True,
            disable_git=True,
            save_code=False,
            reinit="create_new",
        )
        return self.wandb.init(
            project=self.project,
            name=self.folder.name,
            id=run_id,
            resume="allow",
            mode=mode,
            dir=str(self.folder),
            config=dict(knobs),
            settings=settings,
        )
