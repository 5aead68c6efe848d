"""SIGTERM: what a scheduler, a spot market or ``kill`` sends before it takes the machine away.

The training stops after the step that is under way, saves its state within the epoch and exits with 143 (128 + 15),
from where ``resume: auto`` goes on as if nothing had been.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from typing import Any

from ignite.engine import Engine, Events

from scripts import distributed
from scripts.state import TrainingState

logger = logging.getLogger(__name__)

EXIT_CODE = 128 + 15
# Slurm and torchrun kill 30 s after the signal; a step that takes longer than this is given up.
PATIENCE_S = 25.0


class SaveOnTerminate:
    """Trainer handler: on SIGTERM, saves and exits; to be attached in every process.

    Rank 0 saves. The other processes have the same weights, and go on until the exit of rank 0 breaks their exchange
    of gradients: were they to stop first, rank 0 could not finish its step. A state that is sharded over the processes
    is not saved within an epoch, as the signal finds them in different steps.

    Args:
        training_state: what is saved.
        patience_s: seconds after which the process ends with the state of the last epoch.
    """

    def __init__(self, training_state: TrainingState, patience_s: float = PATIENCE_S) -> None:
        self.training_state = training_state
        self.patience_s = patience_s
        self.told = False
        self._completed = threading.Event()
        self._before: Any = None
        self._wakeup = -1
        self._sockets: tuple[socket.socket, ...] = ()
        self._trainer: Engine | None = None

    def attach(self, engine: Engine) -> None:
        """Register for the whole training, validation included."""
        # Python runs signal handlers in the main thread, and lets only that one set them.
        if threading.current_thread() is not threading.main_thread():
            return
        self._trainer = engine
        engine.add_event_handler(Events.STARTED, self.listen)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.stop_after_step)
        self.training_state.validator.add_event_handler(Events.ITERATION_COMPLETED, self.stop_within_validation)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.give_up)
        engine.add_event_handler(Events.COMPLETED, self.leave)

    def listen(self, engine: Engine) -> None:
        """Take over SIGTERM."""
        self._before = signal.signal(signal.SIGTERM, self._tell)
        # Python runs the handler once the main thread comes back from a step; these bytes come through at once.
        reader, writer = self._sockets = socket.socketpair()
        writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._give_up_in_time, args=(reader,), daemon=True).start()

    def leave(self, engine: Engine) -> None:
        """Give SIGTERM back."""
        self._completed.set()
        # A notebook has one of its own.
        signal.set_wakeup_fd(self._wakeup)
        signal.signal(signal.SIGTERM, self._before)
        for end in self._sockets:
            end.close()

    def stop_after_step(self, engine: Engine) -> None:
        """Save and exit, if told to; gradients that are still accumulated are not part of a state."""
        position, size = engine.accumulation.group(engine.state.iteration, engine.state.epoch_length)
        if self.told and position == size - 1:
            self._save_and_exit()

    def stop_within_validation(self, engine: Engine) -> None:
        """Save and exit, if told to: the epoch's steps are done, its validation is made again."""
        if self.told:
            self._save_and_exit()

    def give_up(self, engine: Engine, error: BaseException) -> None:
        """Exit where rank 0's exit broke a step; any other error goes on, as one of a save that failed.

        Raises:
            BaseException: the error.
        """
        if not self.told:
            self.leave(engine)
        elif distributed.rank() > 0 and not isinstance(error, SystemExit):
            logger.info("stopped by SIGTERM while rank 0 was leaving")
            sys.exit(EXIT_CODE)
        # Told to stop, the time keeps running: what closes after this may wait for a server.
        raise error

    def _tell(self, signum: int, frame: Any) -> None:
        self.told = True

    def _give_up_in_time(self, reader: socket.socket) -> None:
        """In a thread: end the process some time after SIGTERM, if nothing else does."""
        try:
            while signal.SIGTERM not in reader.recv(16):
                continue
        except OSError:
            return
        if not self._completed.wait(self.patience_s):
            _exit_now()

    def _save_and_exit(self) -> None:
        if distributed.rank() > 0:
            return
        epoch = self._trainer.state.epoch - 1
        if self.training_state.needs_every_process:
            logger.info("stopped by SIGTERM: the state after %d epochs is saved; go on with resume auto", epoch)
            sys.exit(EXIT_CODE)
        self.training_state.save(self._trainer, epoch)
        steps = self._trainer.state.iteration - epoch * self._trainer.state.epoch_length
        logger.info("stopped by SIGTERM: saved after %d steps of epoch %d; go on with resume auto", steps, epoch + 1)
        sys.exit(EXIT_CODE)


def _exit_now() -> None:
    """End without the step that does not end: the state of the last epoch is on the disk."""
    logger.warning("stopped by SIGTERM in a step that does not end; resume auto goes on from the last state saved")
    logging.shutdown()
    os._exit(EXIT_CODE)
