"""Experiment tracking that cannot harm a training: trackers follow metrics.jsonl, and their failures are warnings.

After each epoch every tracker gets the records of metrics.jsonl that it has not had. So all of them have the same names
and values, an outage is made up for when the store answers again, and a resumed training continues where the tracker's
run stopped: the run's id and the last epoch sent are kept in ``tracking.json`` in the run folder.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from scripts import ckpt_lock
from scripts.case_pictures import picture_file
from scripts.checkpoints import ABOUT_FILE, MODEL_FILE
from scripts.credentials import strike_out
from scripts.files import read_json, write_json
from scripts.records import optional_json, plain_knobs, read_metrics
from scripts.runs import METRICS_FILE
from scripts.trackers import FAILED, FINISHED, KILLED, MissingPackage, Tracker, epoch_values

logger = logging.getLogger(__name__)

STATE_FILE = "tracking.json"
AT_START = ("config.json", "datalist.json", "versions.json", "command.txt")
AT_END = (METRICS_FILE, "curves.png", "report.html")
# Failures in a row until a tracker is given up: each may have waited for a server's timeout.
MAX_FAILURES = 3


class Tracking:
    """The trackers of a run, on the process that opens them.

    Args:
        trackers: closed ones.
        run_dir: the run's folder.
        ckpt_dir: folder of model.json and model.pt.
    """

    def __init__(self, trackers: Sequence[Tracker], run_dir: str, ckpt_dir: str) -> None:
        self.folder = Path(run_dir)
        self.ckpt_dir = Path(ckpt_dir)
        self.outlets = [Outlet(tracker, self.folder) for tracker in trackers]
        self.is_open = False

    def open(self) -> None:
        """Open every tracker; those that cannot be are said and left."""
        if self.is_open:
            return
        self.is_open = True
        # For a process that ends without telling the engine.
        atexit.register(self.close, KILLED)
        for outlet in self.outlets:
            outlet.attempt(outlet.open)

    def send_epochs(self) -> None:
        """Bring every tracker up to the last epoch of metrics.jsonl."""
        for outlet in self.outlets:
            outlet.attempt(outlet.send)

    def send_step(self, step: int, loss: float) -> None:
        """Hand every tracker the loss of a step."""
        for outlet in self.outlets:
            if outlet.is_open:
                outlet.attempt(outlet.tracker.log_step, step, loss)

    def finish(self) -> None:
        """End a training that came to its end: report and model's description are stored, the runs closed."""
        if self.is_open:
            self.send_epochs()
            for outlet in self.outlets:
                if outlet.is_open:
                    outlet.attempt(self._keep_results, outlet.tracker)
            self.close(FINISHED)

    def close(self, status: str) -> None:
        """Close the runs that are open, once."""
        if self.is_open:
            self.is_open = False
            atexit.unregister(self.close)
            for outlet in self.outlets:
                if outlet.is_open:
                    outlet.attempt(outlet.tracker.close, status)

    def _keep_results(self, tracker: Tracker) -> None:
        """Store what a finished training leaves, and the model's files where they are of this run."""
        files = [self.folder / name for name in (*AT_START, *AT_END)]
        about = self.ckpt_dir / ABOUT_FILE
        if optional_json(about, "description of the model").get("run_dir") == str(self.folder.resolve()):
            files += [about, self.ckpt_dir / MODEL_FILE] if tracker.log_model else [about]
        tracker.keep(existing(files))


class Outlet:
    """One tracker, guarded: what it cannot take now is sent with a later epoch, or given up with a sentence.

    Args:
        tracker: a closed one.
        folder: the run's folder.
    """

    def __init__(self, tracker: Tracker, folder: Path) -> None:
        self.tracker = tracker
        self.folder = folder
        self.is_open = self.given_up = False
        self.failures = self.sent = 0

    def attempt(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do it unless the tracker was given up; whatever goes wrong is a warning."""
        if self.given_up:
            return
        try:
            action(*arguments)
        except MissingPackage as error:
            self.given_up = True
            logger.warning("%s. The training goes on without %s.", error, self.tracker.name)
        # A tracker is any third party's code and a network: nothing it raises is worth a training.
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Count a failure; the first and the last are told."""
        self.failures += 1
        self.given_up = self.failures >= MAX_FAILURES
        reason = strike_out(f"{type(error).__name__}: {error}".splitlines()[0])
        if self.given_up:
            logger.warning(
                "%s failed %d times in a row (%s) and is given up; metrics.jsonl has every epoch.",
                self.tracker.name,
                self.failures,
                reason,
            )
        elif self.failures == 1:
            logger.warning(
                "%s cannot be reached or written to (%s); the training goes on, and what it missed is sent after a "
                "later epoch.",
                self.tracker.name,
                reason,
            )

    def open(self) -> None:
        """Begin the tracker's run, or continue it, and store what is known at the start."""
        noted = self.noted()
        knobs = plain_knobs(read_json(self.folder / "config.json", "config"))
        run_id = self.tracker.open(self.folder, knobs, noted.get("run_id"))
        # Without metrics this is a new training; another run than the noted one has had nothing yet.
        metrics = self.folder / METRICS_FILE
        recorded = [record["epoch"] for record in read_metrics(metrics)] if metrics.exists() else []
        # Epochs that are trained again are sent again.
        self.sent = min(int(noted.get("epoch", 0)), max(recorded, default=0)) if run_id == noted.get("run_id") else 0
        self.is_open = True
        self.note(run_id=run_id, epoch=self.sent)
        self.tracker.keep(existing([self.folder / name for name in AT_START]))

    def send(self) -> None:
        """Log the epochs that the tracker has not had, each with its picture if there is one."""
        if not self.is_open:
            self.open()
        metrics = self.folder / METRICS_FILE
        for record in read_metrics(metrics) if metrics.is_file() else ():
            epoch = record["epoch"]
            if epoch <= self.sent:
                continue
            picture = picture_file(self.folder, epoch)
            self.tracker.log(epoch, epoch_values(record), picture if picture.is_file() else None)
            self.sent = epoch
            self.note(epoch=epoch)
        self.failures = 0

    def noted(self) -> dict[str, Any]:
        """This tracker's entry in tracking.json."""
        return optional_json(self.folder / STATE_FILE, "state of the trackers").get(self.tracker.name, {})

    def note(self, **entries: Any) -> None:
        """Change this tracker's entry in tracking.json."""
        file = self.folder / STATE_FILE
        state = optional_json(file, "state of the trackers")
        write_json(file, state | {self.tracker.name: self.noted() | entries})


def run(trainer: Engine, tracking: Tracking) -> None:
    """Run a training; its checkpoints are written then, so others may have their folder.

    Its trackers are closed if it breaks off; :meth:`Tracking.finish` ends one that does not.

    No handler of the engine does this: the first handler of an exception that raises it anew hides it from the others.

    Args:
        trainer: with a :class:`TrackEpochs` among its handlers.
        tracking: the run's.
    """
    try:
        trainer.run()
    except BaseException as error:
        tracking.close(FAILED if isinstance(error, Exception) else KILLED)
        raise
    finally:
        ckpt_lock.release()


class TrackEpochs:
    """Trainer handler: opens the trackers, and sends them steps and epochs.

    It stands after :class:`scripts.progress.EpochLog`, which writes what is sent, and after what saves the state, which
    must not wait for a server.

    Args:
        tracking: the run's.
        step_interval: steps between losses.
    """

    def __init__(self, tracking: Tracking, step_interval: int = 10) -> None:
        self.tracking = tracking
        self.step_interval = step_interval

    def attach(self, engine: Engine) -> None:
        """Register at start, each ``step_interval`` steps and each epoch's end."""
        engine.add_event_handler(Events.STARTED, lambda _: self.tracking.open())
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.step_interval), self.send_step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda _: self.tracking.send_epochs())

    def send_step(self, engine: Engine) -> None:
        """Send the loss of the step that has just been made."""
        output = engine.state.output
        # MONAI decollates a batch into its items, each with the batch's loss.
        loss = (output[0] if isinstance(output, list) else output)["loss"]
        self.tracking.send_step(engine.state.iteration, float(loss))


def existing(files: Sequence[Path]) -> list[Path]:
    """Those of ``files`` that are there."""
    return [file for file in files if file.is_file()]
