"""Runs a Python module that ends when whoever started it does, however that one ended.

    python -m scripts.tune.process monai.bundle run --config_file configs/train.json

The starter holds the other end of this process's standard input and never writes to it. When it closes that end, or is
killed, the operating system tells; the module then gets SIGTERM, as from a cluster that wants its machine back, so it
can save its state. All processes of a trial inherit the same end, torchrun's workers too, so none is left behind.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

# A training that saves its state on SIGTERM does so within 30 s, the time that spot machines and Slurm give.
GRACE_S = 30.0
TERMINATED = 128 + signal.SIGTERM


def end_with_starter(stream: int) -> None:
    """Wait until the other end of ``stream`` is closed; then end this process, by force if SIGTERM does not.

    Args:
        stream: file descriptor of a pipe.
    """
    while os.read(stream, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(TERMINATED)


def main() -> None:
    """Run the module that the command line names, with the arguments after it, as ``python -m`` would."""
    threading.Thread(target=end_with_starter, args=(sys.stdin.fileno(),), daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
