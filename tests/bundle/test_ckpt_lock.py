"""Two trainings never write in one folder of checkpoints."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from scripts import ckpt_lock
from scripts.errors import InputError
from tiny import TINY, write_decathlon
from workflow import BUNDLE, refused, run

DIES_WITH_A_CHILD = """
import os, signal, sys, time
from scripts import ckpt_lock
ckpt_lock.hold(sys.argv[1])
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def let_go() -> None:
    yield
    ckpt_lock.release()


def lock_of_another(folder: Path) -> int:
    """A lock counts between descriptors, so the other training may be this very process."""
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder / ckpt_lock.LOCK_FILE, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_a_folder_that_is_taken_is_refused(tmp_path: Path) -> None:
    other = lock_of_another(tmp_path)
    with pytest.raises(InputError, match=r"another training, which goes on.*; give this one a ckpt_dir"):
        ckpt_lock.hold(tmp_path, patience_s=0.3)
    os.close(other)
    ckpt_lock.hold(tmp_path, patience_s=0)


def test_one_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    other = lock_of_another(tmp_path)
    threading.Timer(0.5, os.close, [other]).start()
    ckpt_lock.hold(tmp_path)


def test_a_process_holds_one_folder_and_may_take_it_again(tmp_path: Path) -> None:
    """A notebook trains many times; the last training may have failed half way."""
    ckpt_lock.hold(tmp_path / "a")
    ckpt_lock.hold(tmp_path / "a", patience_s=0)
    ckpt_lock.hold(tmp_path / "b")
    os.close(lock_of_another(tmp_path / "a"))


def test_a_lock_on_a_file_that_was_removed_is_none(tmp_path: Path) -> None:
    """Opened while another one had it, locked when that one had gone and a third one had come."""
    ckpt_lock.hold(tmp_path)
    waiting = os.open(tmp_path / ckpt_lock.LOCK_FILE, os.O_RDWR)
    ckpt_lock.release()
    third = lock_of_another(tmp_path)
    fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not ckpt_lock._has(tmp_path / ckpt_lock.LOCK_FILE, waiting)
    with pytest.raises(InputError):
        ckpt_lock.hold(tmp_path, patience_s=0)
    os.close(waiting)
    os.close(third)


def test_a_child_that_outlives_a_killed_training_lets_go(tmp_path: Path) -> None:
    job = subprocess.Popen(
        [sys.executable, "-c", DIES_WITH_A_CHILD, str(tmp_path)], cwd=BUNDLE, stdout=subprocess.PIPE, text=True
    )
    child = int(job.stdout.readline())
    try:
        assert job.wait() == -signal.SIGKILL
        ckpt_lock.hold(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        job.stdout.close()


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    ckpt_lock.hold(tmp_path)
    assert "cannot be locked (No locks available); start no second training in this folder" in caplog.text


@pytest.mark.parametrize("resume", ["none", "auto"])
def test_a_second_training_is_refused_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: str
) -> None:
    data = write_decathlon(tmp_path / "Task01_Tiny", cases=5)
    other = lock_of_another(tmp_path / "models")
    monkeypatch.setattr(ckpt_lock, "hold", functools.partial(ckpt_lock.hold, patience_s=0))
    sentence = refused(tmp_path, "train.json", dataset_dir=str(data), resume=resume, **TINY)
    assert sentence.startswith(f"{tmp_path / 'models'}: another training")
    assert not (tmp_path / "runs").exists()
    os.close(other)


def test_a_training_that_has_ended_or_broken_off_lets_go_and_evaluation_never_waits(tmp_path: Path) -> None:
    data = write_decathlon(tmp_path / "Task01_Tiny", cases=5)
    run(tmp_path, "train.json", dataset_dir=str(data), **TINY)
    other = lock_of_another(tmp_path / "models")
    run(tmp_path, "train.json", "evaluate.json", dataset_dir=str(data), run_name="scores")
    os.close(other)
    knobs = TINY | {"learning_rate": 1e38, "schedule": "poly", "warmup_epochs": 0}
    sentence = refused(tmp_path, "train.json", dataset_dir=str(data), run_name="broken", **knobs)
    assert sentence.startswith("the training loss became nan")
    assert not (tmp_path / "models" / ckpt_lock.LOCK_FILE).exists()
