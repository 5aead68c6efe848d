"""A training that was stopped ends as one that was not."""

from __future__ import annotations

import ctypes
import json
import logging
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import processes
import pytest
import torch
from forked import LEAN, run_forked
from ignite.engine import Engine, Events
from scripts import resume
from scripts.checkpoints import BestModel
from scripts.errors import InputError, find_input_error
from scripts.former import keep_former
from scripts.restart import best
from scripts.resume import changes, keep_epochs, run_dir
from scripts.state import LAST_FILE, PREVIOUS_FILE, read_state
from tiny import TINY, write_decathlon
from workflow import BUNDLE, run

EPOCHS = 6
KILLS = 10
STEPS = 6
LONG_WARMUP = 2
# Six training cases: six steps an epoch, of a network with dropout, so that every generator matters.
LONG = TINY | {
    "epochs": EPOCHS,
    "val_interval": 2,
    "ema_decay": 0.9,
    "network_def::dropout": 0.2,
    "split_ratios": [0.6, 0.2, 0.2],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decathlon(tmp_path_factory.mktemp("data") / "Task01_Tiny", cases=10)


def train(folder: Path, data: Path, configs: tuple[str, ...], overrides: dict) -> None:
    """What a started process does; another number of threads would round otherwise."""
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    logging.basicConfig(filename=folder / "output.txt", level=logging.INFO)
    run(folder, "train.json", *configs, dataset_dir=str(data), **(LONG | {"resume": "auto"} | overrides))


def start(folder: Path, data: Path, *configs: str, world_size: int = 1, **overrides: object) -> list[BaseProcess]:
    """The same training with ``resume auto`` in processes of its own."""
    return processes.start(train, world_size, folder, data, configs, overrides)


def finish(jobs: list[BaseProcess], folder: Path, code: int = 0) -> str:
    """What they logged."""
    codes = processes.wait(jobs)
    output = (folder / "output.txt").read_text()
    assert codes == [code] * len(jobs), output[-4000:]
    return output


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder, data), folder)
    return folder


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "runs" / "run" / "metrics.jsonl").read_text().splitlines()]


def wait_for(job: BaseProcess, folder: Path, epochs: int) -> None:
    """Return when so many epochs are recorded, or the job has ended."""
    file = folder / "runs" / "run" / "metrics.jsonl"
    until(lambda: not job.is_alive() or (file.is_file() and file.read_bytes().count(b"\n") >= epochs), folder)


def until(happened: Callable[[], bool], folder: Path) -> None:
    """Return when something has happened; fail with the log after three minutes."""
    deadline = time.monotonic() + processes.SECONDS
    while not happened():
        assert time.monotonic() < deadline, (folder / "output.txt").read_text()[-4000:]
        time.sleep(0.005)


def assert_same_training(folder: Path, other: Path, loss_lost_in: int | None = None) -> None:
    """Weights, optimiser, average, best model and curve (but for the loss of one epoch) are the same, bit for bit."""
    state, wanted = (torch.load(f / "models" / LAST_FILE, weights_only=True) for f in (folder, other))
    for part in ("model", "average"):
        assert all(torch.equal(wanted[part][key], value) for key, value in state[part].items())
    for index, moments in wanted["optimizer"]["state"].items():
        assert all(torch.equal(value, state["optimizer"]["state"][index][key]) for key, value in moments.items())
    for key in ("epoch", "best_metric", "best_metric_epoch", "lr_scheduler"):
        assert state[key] == wanted[key]
    model, best_model = (torch.load(f / "models" / "model.pt", weights_only=True) for f in (folder, other))
    assert all(torch.equal(best_model[key], value) for key, value in model.items())
    times = {"seconds", "data_wait_s", "data_wait_share", "samples_per_s"}
    curve, whole_curve = (
        [{key: value for key, value in line.items() if key not in times} for line in metrics(f)]
        for f in (folder, other)
    )
    if loss_lost_in is not None:
        curve[loss_lost_in - 1]["train_loss"] = whole_curve[loss_lost_in - 1]["train_loss"]
    assert curve == whole_curve


def test_ten_kills_in_a_row_lose_nothing(data: Path, whole: Path, tmp_path: Path) -> None:
    """kill -9 at random moments: in a step, in a validation, while a file is written."""
    moments = random.Random(3)
    for kill in range(KILLS):
        (job,) = start(tmp_path, data)
        wait_for(job, tmp_path, epochs=1 + kill * (EPOCHS - 1) // KILLS)
        time.sleep(moments.uniform(0, 0.4))
        job.kill()
        job.join()
    # The lives before have written there too.
    (tmp_path / "output.txt").unlink()
    assert "continuing after epoch" in finish(start(tmp_path, data), tmp_path)
    assert [line["epoch"] for line in metrics(tmp_path)] == list(range(1, EPOCHS + 1))
    assert_same_training(tmp_path, whole)
    assert not list((tmp_path / "models").glob(".part-*"))


def test_a_requeued_job_waits_for_the_one_before_it(data: Path, whole: Path, tmp_path: Path) -> None:
    """Its state is read when the first one has saved it, not before."""
    (first,) = start(tmp_path, data)
    wait_for(first, tmp_path, epochs=2)
    # It keeps its lock, and does not end by itself meanwhile.
    os.kill(first.pid, signal.SIGSTOP)
    second = start(tmp_path, data)
    until(lambda: "another training writes in" in (tmp_path / "output.txt").read_text(), tmp_path)
    os.kill(first.pid, signal.SIGTERM)
    os.kill(first.pid, signal.SIGCONT)
    finish([first], tmp_path, code=143)
    assert "continuing after epoch" in finish(second, tmp_path)
    assert_same_training(tmp_path, whole)


class SignalAt:
    """Handler: SIGTERM to this very process at the start of an engine's nth iteration.

    Args:
        iteration: counted from 1 over all epochs.
    """

    def __init__(self, iteration: int) -> None:
        self.left = iteration

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED, self.count)

    def count(self, engine: Engine) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


class SignalInSecondEpoch:
    """Handler: SIGTERM to each process itself as the second epoch begins."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED(once=2), os.kill, os.getpid(), signal.SIGTERM)


def second_epoch(folder: Path) -> str:
    """A config that adds the handler."""
    file = folder / "signal.json"
    file.write_text(json.dumps({"+train::handlers": [{"_target_": "test_resume.SignalInSecondEpoch"}]}))
    return str(file)


@pytest.mark.parametrize(
    "engine, iteration, epoch, steps",
    [
        ("train", STEPS + 3, 1, 3),
        ("validate", 3, 3, STEPS),
        ("train", EPOCHS * STEPS, EPOCHS - 1, STEPS),
        ("validate", 6, EPOCHS - 1, STEPS),
    ],
)
def test_sigterm_in_a_step_and_in_a_validation(
    data: Path, whole: Path, tmp_path: Path, engine: str, iteration: int, epoch: int, steps: int
) -> None:
    """In the second epoch's third step, the validation of epoch 4, and the last step and validation of all."""
    handler = {"_target_": "test_resume.SignalAt", "iteration": iteration}
    (tmp_path / "signal.json").write_text(json.dumps({f"+{engine}::handlers": [handler]}))
    finish(start(tmp_path, data, str(tmp_path / "signal.json")), tmp_path, code=143)
    state = read_state(tmp_path / "models")
    assert (state["epoch"], state["within"]["steps"]) == (epoch, steps)
    finish(start(tmp_path, data), tmp_path)
    assert_same_training(tmp_path, whole)


def run_into_a_long_step(folder: Path, data: Path) -> None:
    """Training whose second step is told to stop, and does not come back from its C++ code within the patience."""
    torch.set_num_threads(1)
    shipped = json.loads((BUNDLE / "configs" / "train.json").read_text())["train"]["handlers"]
    place = [handler["_target_"] for handler in shipped].index("scripts.terminate.SaveOnTerminate")
    (folder / "long.json").write_text(json.dumps({"+train::handlers": [{"_target_": "test_resume.LongStep"}]}))
    patience = {f"train::handlers::{place}::patience_s": 1.0}
    run(folder, "train.json", str(folder / "long.json"), dataset_dir=str(data), **(LONG | patience))


class LongStep:
    """Handler: in the second step, SIGTERM and then ten minutes in one call of C code."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED(once=2), self)

    def __call__(self, engine: Engine) -> None:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        ctypes.CDLL(None).sleep(600)


@pytest.mark.skipif(sys.platform == "win32", reason="needs the C library's sleep")
def test_a_step_that_does_not_end_is_given_up(data: Path, tmp_path: Path) -> None:
    assert processes.wait(processes.start(run_into_a_long_step, 1, tmp_path, data)) == [143]


def test_sigterm_on_the_command_line_and_the_store(data: Path, tmp_path: Path) -> None:
    """Exit code 143, and the store's own order and draws go on where they were."""
    store = {"store_dir": str(tmp_path / "store"), "dataset_dir": str(data)}
    finish(start(tmp_path / "whole", data, "data/store.json", store_dir=store["store_dir"]), tmp_path / "whole")
    folder = tmp_path / "stopped"
    knobs = (
        LONG
        | store
        | {"output_dir": folder / "runs", "ckpt_dir": folder / "models", "run_name": "run", "resume": "auto"}
    )
    configs = "['configs/train.json','configs/data/store.json']"
    arguments = ["run", "--config_file", configs]
    arguments += [str(part) for name, value in knobs.items() for part in (f"--{name}", value)]
    folder.mkdir()
    with (folder / "output.txt").open("w") as log:
        job = subprocess.Popen(
            [sys.executable, "-m", "monai.bundle", *arguments], stdout=log, stderr=subprocess.STDOUT, cwd=BUNDLE,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | LEAN,
        )  # fmt: skip
    file = folder / "runs" / "run" / "metrics.jsonl"
    until(lambda: job.poll() is not None or file.is_file(), folder)
    job.send_signal(signal.SIGTERM)
    job.wait(processes.SECONDS)
    output = (folder / "output.txt").read_text()
    assert job.returncode == 143, output[-4000:]
    assert "stopped by SIGTERM: saved after" in output and "Traceback" not in output
    again = run_forked("monai.bundle", arguments, BUNDLE, {})
    assert again.returncode == 0, again.stderr[-4000:]
    assert_same_training(folder, tmp_path / "whole")


def test_processes_stop_together_and_may_go_on_as_fewer(data: Path, tmp_path: Path) -> None:
    """Two by gloo: SIGTERM to both, then the same two, then one. The logged loss of the epoch lacks rank 1's part."""
    overlay, two = "multi_gpu_train.json", {"world_size": 2, "epochs": 3, "val_interval": 3}
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    finish(start(unbroken, data, overlay, **two), unbroken)
    jobs = start(broken, data, overlay, second_epoch(tmp_path), **two)
    assert "stopped by SIGTERM: saved after" in finish(jobs, broken, code=143)
    stopped_in = read_state(broken / "models")["epoch"] + 1
    finish(start(broken, data, overlay, **two), broken)
    assert_same_training(broken, unbroken, loss_lost_in=stopped_in)
    finish(start(broken, data, epochs=4), broken)
    assert [line["epoch"] for line in metrics(broken)] == [1, 2, 3, 4]


def test_sharded_training_goes_on(data: Path, tmp_path: Path) -> None:
    """FSDP over two processes: stopped by an end of epochs, as a state that is gathered needs every process."""
    overlays, unbroken, broken = ("multi_gpu_train.json", "fsdp_train.json"), tmp_path / "unbroken", tmp_path / "broken"
    finish(start(unbroken, data, *overlays, world_size=2, epochs=2, warmup_epochs=1), unbroken)
    jobs = start(broken, data, *overlays, second_epoch(tmp_path), world_size=2, epochs=2, warmup_epochs=1)
    output = finish(jobs, broken, code=143)
    assert "stopped by SIGTERM: the state after" in output
    finish(start(broken, data, *overlays, world_size=2, epochs=2, warmup_epochs=1), broken)
    assert_same_training(broken, unbroken)


@pytest.fixture
def stopped(whole: Path, tmp_path: Path) -> Path:
    """The finished training, to be continued."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    # The folder that the state names is the original's, which the copy must leave alone.
    for name in (LAST_FILE, PREVIOUS_FILE):
        state = torch.load(tmp_path / "models" / name, weights_only=True)
        torch.save(state | {"run_dir": str(tmp_path / "runs" / "run")}, tmp_path / "models" / name)
    return tmp_path


def resumed(folder: Path, data: Path, **overrides: object) -> None:
    torch.set_num_threads(1)
    run(folder, "train.json", **(LONG | {"dataset_dir": str(data), "resume": "auto"} | overrides))


def refused(folder: Path, data: Path, **overrides: object) -> str:
    """The sentence."""
    with pytest.raises((RuntimeError, InputError)) as caught:
        resumed(folder, data, **overrides)
    return str(find_input_error(caught.value))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_damaged_state_falls_back_to_the_one_before(
    data: Path, whole: Path, stopped: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    file = stopped / "models" / LAST_FILE
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes({"cut": content[:-1000], "flipped": content, "empty": b""}[damage])
    with caplog.at_level("INFO"):
        resumed(stopped, data)
    assert f"{file}: is damaged" in caplog.text and f"continuing after epoch {EPOCHS - 1}" in caplog.text
    assert_same_training(stopped, whole)


def test_no_sound_state_is_one_sentence(data: Path, stopped: Path) -> None:
    for name in (LAST_FILE, PREVIOUS_FILE):
        (stopped / "models" / name).write_bytes(b"")
    assert "is damaged, and there is no sound state before it; restore a file" in refused(stopped, data)


def test_complete_training_is_left_alone_and_more_epochs_go_on(
    data: Path, whole: Path, stopped: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        resumed(stopped, data, run_name=None)
        assert f"all {EPOCHS} epochs were trained before" in caplog.text
        assert_same_training(stopped, whole)
        resumed(stopped, data, epochs=EPOCHS + 2, learning_rate=0.001)
    assert "changed since the state was saved: epochs is 8 and was 6" in caplog.text
    assert "changed since the state was saved: learning_rate is 0.001 and was 0.002" in caplog.text
    lines = metrics(stopped)
    assert [line["epoch"] for line in lines] == list(range(1, EPOCHS + 3))
    schedule = [factor for factor in cosine(EPOCHS + 2)]
    rates = [line["learning_rate"] for line in lines]
    assert rates[EPOCHS:] == pytest.approx([0.001 * factor for factor in schedule[EPOCHS:]])
    assert rates[:EPOCHS] == [line["learning_rate"] for line in metrics(whole)]
    assert len((stopped / "runs" / "run" / "command.txt").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "overrides, message",
    [
        ({"network_def::channels": [4, 8, 8]}, r"network_def::channels is \[4, 8, 8\] and was \[4, 8, 16\], but"),
        ({"regions": ["WT"]}, r'regions is \["WT"\] and was .* cannot go on with another regions'),
        ({"seed": 7}, r"its split is not that of the training in .*; give --datalist_file .*datalist\.json"),
        ({"run_name": "other"}, r"run_name 'other': ckpt_dir holds the state of the run 'run'"),
        ({"resume": "yes"}, r"resume 'yes' is unknown; choose one of none, auto"),
        ({"resume": "none"}, r"already holds a training; choose another run_name, continue it with resume auto"),
    ],
)
def test_another_training_is_refused_in_one_sentence(
    data: Path, whole: Path, stopped: Path, overrides: dict, message: str
) -> None:
    assert re.search(message, refused(stopped, data, **overrides))
    assert_same_training(stopped, whole)


def cosine(epochs: int, warmup: int = LONG_WARMUP) -> list[float]:
    """Factor of each epoch's rate: linear from 0.1 over the warm-up, then half a cosine (MONAI's schedule)."""
    rise = [0.1 + 0.9 * epoch / warmup for epoch in range(warmup)]
    return rise + [
        0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))) for epoch in range(warmup, epochs)
    ]


def test_new_rate_counts_for_a_schedule_that_steps_from_rate_to_rate(data: Path, tmp_path: Path) -> None:
    schedule = {"lr_scheduler": {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "optimizer": "@optimizer",
                                 "gamma": 0.5}}  # fmt: skip
    resumed(tmp_path, data, epochs=2, learning_rate=0.004, **schedule)
    resumed(tmp_path, data, epochs=4, learning_rate=0.002, **schedule)
    assert [line["learning_rate"] for line in metrics(tmp_path)] == pytest.approx([0.004, 0.002, 0.0005, 0.00025])


def test_auto_begins_where_there_is_nothing(data: Path, tmp_path: Path) -> None:
    resumed(tmp_path, data, epochs=1)
    assert [line["epoch"] for line in metrics(tmp_path)] == [1]


def test_a_state_that_comes_while_the_data_are_checked_is_not_begun_anew(
    data: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder was not there to be locked when this training looked for a state."""
    refuse = resume.refuse_unwritable

    def another_comes(folder: str, names: tuple[str, ...]) -> None:
        refuse(folder, names)
        shutil.copytree(whole, tmp_path, dirs_exist_ok=True)

    monkeypatch.setattr(resume, "refuse_unwritable", another_comes)
    sentence = refused(tmp_path, data)
    assert "left its state there since this one looked; start again to continue it" in sentence
    assert metrics(tmp_path) == metrics(whole)


def test_average_that_is_switched_on_starts_from_the_weights(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resumed(tmp_path, data, epochs=1, ema_decay=0.0)
    with caplog.at_level("INFO"):
        resumed(tmp_path, data, epochs=2, ema_decay=0.9)
    assert "the average starts from its weights" in caplog.text
    assert "average" in read_state(tmp_path / "models")


def test_model_written_after_the_state_keeps_its_place(tmp_path: Path) -> None:
    """Killed between the two files, and the repeated epoch turns out worse, as it may on a GPU."""
    state = {"best_metric": 0.7, "best_metric_epoch": 4, "run_dir": "/runs/a"}
    assert best(state, tmp_path) == (0.7, 4)
    about = {"run_dir": "/elsewhere/a", "metrics": {"val_mean_dice": 0.8}, "epoch": 6}
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert best(state, tmp_path) == (0.8, 6)
    (tmp_path / "model.json").write_text(json.dumps(about | {"run_dir": "/runs/b"}))
    assert best(state, tmp_path) == (0.7, 4)


def test_a_repeated_epoch_that_is_worse_does_not_replace_the_model(tmp_path: Path) -> None:
    network = torch.nn.Linear(1, 1)
    handler = BestModel.__new__(BestModel)
    handler.network, handler.folder, handler.about = network, tmp_path, {}
    validator = Engine(lambda engine, batch: None)
    validator.state.update = None
    validator.state.epoch, validator.state.key_metric_name = 6, "val_mean_dice"
    validator.state.best_metric, validator.state.best_metric_epoch = 0.8, 6
    validator.state.metrics = {"val_mean_dice": 0.75}
    handler(validator)
    assert not (tmp_path / "model.pt").exists()
    validator.state.metrics = {"val_mean_dice": 0.8}
    handler(validator)
    assert json.loads((tmp_path / "model.json").read_text())["metrics"] == {"val_mean_dice": 0.8}


def test_the_model_of_a_former_training_of_the_same_name_is_not_this_ones(data: Path, tmp_path: Path) -> None:
    """Its run folder was removed; the new one is stopped before its first validation."""
    resumed(tmp_path, data, epochs=1)
    models = tmp_path / "models"
    former = json.loads((models / "model.json").read_text())
    shutil.rmtree(tmp_path / "runs")
    resumed(tmp_path, data, resume="none", epochs=1, seed=1)
    resumed(tmp_path, data, epochs=2, seed=1)
    # As it lay there until the new training had validated for the first time.
    (models / "model.json").write_text(json.dumps(former | {"metrics": {"val_mean_dice": 2.0}}))
    unvalidated = read_state(models) | {"best_metric": -1.0, "best_metric_epoch": -1}
    assert best(unvalidated, models) == (-1.0, -1)
    (models / "model.json").write_text(json.dumps(former | {"metrics": {"val_mean_dice": 2.0}, "sha256": "own"}))
    assert best(unvalidated, models) == (2.0, 1)


def test_metrics_of_another_training_are_not_thrown_away(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    lines = "".join(json.dumps({"epoch": epoch}) + "\n" for epoch in range(1, 6))
    file.write_text(lines + '{"epoch": 6, "tra')
    keep_epochs(file, 4)
    assert [json.loads(line)["epoch"] for line in file.read_text().splitlines()] == [1, 2, 3, 4]
    with pytest.raises(InputError, match=r"already holds 4 epochs of a training, but the state in ckpt_dir has 1"):
        keep_epochs(file, 1)
    assert len(file.read_text().splitlines()) == 4


def test_changes_name_the_item() -> None:
    old, new = {"a": {"b": 1, "c": [1]}, "_desc_": "x"}, {"a": {"b": 1, "c": [2], "d": None}, "_desc_": "y"}
    assert list(changes(old, new, "knob")) == ["knob::a::c is [2] and was [1]"]


def test_run_folder_that_came_along_is_found(tmp_path: Path) -> None:
    state = {"run_dir": "/opt/ml/runs/first"}
    assert run_dir(str(tmp_path), None, state) == str(tmp_path / "first")
    assert run_dir(str(tmp_path), "first", state) == str(tmp_path / "first")


def test_a_training_in_anothers_place_keeps_it_whole(
    data: Path, stopped: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models = stopped / "models"
    former = {name: (models / name).read_bytes() for name in ("model.pt", "model.json", LAST_FILE)}
    knobs = {"resume": "none", "run_name": "second", "epochs": 1, "initial_weights": str(models / "model.pt")}
    resumed(stopped, data, **(knobs | {"ema_decay": 0.0}))
    kept = models / "former" / "run"
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == former
    assert f"holds the run 'run', which this training replaces; it is kept in {kept}" in caplog.text
    assert "it is kept in" in (stopped / "runs" / "second" / "log.txt").read_text()
    assert json.loads((models / "model.json").read_text())["run_dir"] == str(stopped / "runs" / "second")
    resumed(stopped, data, ckpt_dir=str(kept), epochs=EPOCHS + 1)
    assert [line["epoch"] for line in metrics(stopped)] == list(range(1, EPOCHS + 2))
    assert not (kept / "former").exists()


def test_a_former_training_is_copied_once_and_never_over_another(tmp_path: Path) -> None:
    assert keep_former(tmp_path / "absent") == keep_former(tmp_path) == []
    (tmp_path / "model.json").write_text('{"run_dir": "/elsewhere/first"}')
    (tmp_path / "model.pt").write_bytes(b"weights")
    assert keep_former(tmp_path) == keep_former(tmp_path) == [tmp_path / "former" / "first"]
    (tmp_path / "model.pt").write_bytes(b"weights of another run of that name")
    assert keep_former(tmp_path) == [tmp_path / "former" / "first_2"]
    assert (tmp_path / "former" / "first" / "model.pt").read_bytes() == b"weights"


def test_a_state_is_kept_under_the_name_of_its_own_run(tmp_path: Path) -> None:
    """Of a run that was stopped before its first validation, beside the model of the run before it."""
    torch.save({"config": {}, "run_dir": "/elsewhere/second"}, tmp_path / LAST_FILE)
    assert keep_former(tmp_path) == [tmp_path / "former" / "second"]
    (tmp_path / "model.json").write_text('{"run_dir": "/elsewhere/first"}')
    assert keep_former(tmp_path) == [tmp_path / "former" / "first", tmp_path / "former" / "second"]
    (tmp_path / "model.json").unlink()
    (tmp_path / LAST_FILE).write_bytes(b"damaged")
    assert keep_former(tmp_path) == [tmp_path / "former" / "unnamed"]


def test_no_room_for_the_former_training_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"run_dir": "/elsewhere/first"}')
    (tmp_path / "former").write_text("a file where a folder is wanted")
    with pytest.raises(InputError, match=r"former.first: cannot be written \(.*former is no folder\)"):
        keep_former(tmp_path)
