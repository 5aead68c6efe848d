"""Trackers: what TensorBoard, MLflow and W&B hold after a training, read from their own files, and their failures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import processes
import pytest
from forked import run_together
from ignite.engine import Engine, Events
from scripts.credentials import strike_out
from scripts.errors import InputError, find_input_error
from scripts.records import read_metrics
from scripts.tracker_mlflow import MLflow
from scripts.tracker_tensorboard import TensorBoard
from scripts.tracker_wandb import INIT_TIMEOUT, WandB
from scripts.tracking import MAX_FAILURES, TrackEpochs, Tracking
from scripts.tracking import run as run_tracked
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import TINY, write_decathlon
from workflow import BUNDLE, run, workflow

mlflow = pytest.importorskip("mlflow", reason='the extra "track" is not installed')
pytest.importorskip("wandb", reason='the extra "track" is not installed')

KEY = "marker" * 6 + "mark"
CONFIGS = ("train.json", "track/mlflow.json", "track/wandb.json")
EPOCHS = {"epochs": 2, "val_interval": 1, "image_interval": 2}


@pytest.fixture(autouse=True)
def only_these_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", KEY)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen cases: two processes get a validation case each."""
    return write_decathlon(tmp_path_factory.mktemp("data") / "Task01_Tiny", cases=14)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A folder with ``runs/run`` of two epochs, tracked in three places; the environment holds a key."""
    folder = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_API_KEY", KEY)
        run(folder, *CONFIGS, dataset_dir=str(data), **(TINY | EPOCHS))
    return folder


def recorded(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What a tracker must hold: name to (epoch, value), from metrics.jsonl."""
    values: dict[str, list[tuple[int, float]]] = {}
    for record in read_metrics(folder / "metrics.jsonl"):
        for name, value in record.items():
            if name != "epoch":
                values.setdefault(name, []).append((record["epoch"], value))
    return values


def mlflow_run(store: Path, name: str) -> tuple[Any, Any]:
    """Client and the one run of that name in ``store/mlflow.db``."""
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{(store / 'mlflow.db').as_posix()}")
    experiment = client.get_experiment_by_name("brats")
    (found,) = (
        each for each in client.search_runs([experiment.experiment_id], max_results=1000) if each.info.run_name == name
    )
    return client, found


def mlflow_metrics(store: Path, name: str) -> dict[str, list[tuple[int, float]]]:
    client, found = mlflow_run(store, name)
    return {
        key: [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, key)]
        for key in found.data.metrics
    }


def wandb_runs(folder: Path) -> list[Any]:
    """The ended W&B runs of a folder; its helper process writes the last records after the run's end was told."""
    from labs.labkit.wandb_file import WandbRun

    files = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    for _ in range(600):
        found = [WandbRun(file) for file in files]
        if all(each.exit_code is not None for each in found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{files}: the run did not end")


def close_to(values: dict[str, list[tuple[int, float]]]) -> dict[str, Any]:
    """TensorBoard keeps float32."""
    return {name: [(epoch, pytest.approx(value, rel=1e-6)) for epoch, value in pairs] for name, pairs in values.items()}


def test_every_tracker_holds_metrics_jsonl(tracked: Path) -> None:
    folder = tracked / "runs" / "run"
    wanted = recorded(folder)
    assert {"train_loss", "learning_rate", "val_mean_dice", "val_dice_TC", "val_dice_WT", "val_dice_ET"} <= set(wanted)
    assert [epoch for epoch, _ in wanted["val_mean_dice"]] == [1, 2]
    assert mlflow_metrics(tracked / "runs", "run") == wanted
    (offline,) = wandb_runs(folder)
    assert list(offline.history) == [1, 2]
    for name, pairs in wanted.items():
        assert [(epoch, offline.history[epoch][name]) for epoch, _ in pairs] == pairs
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    # The loss of steps has a name of its own, so that no curve mixes two axes.
    assert [step for step, _ in tags.pop("train_loss_step")] == [10, 20]
    assert tags == close_to(wanted)
    assert len(list((folder / "tensorboard").iterdir())) == 1


def test_mlflow_holds_knobs_and_files(tracked: Path) -> None:
    client, found = mlflow_run(tracked / "runs", "run")
    assert found.info.status == "FINISHED"
    assert found.data.params["epochs"] == "2" and found.data.params["patch_size"] == "[32, 32, 32]"
    assert found.data.params["label_scheme"] == "auto" and "ckpt_dir" in found.data.params
    files = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert files >= {"config.json", "datalist.json", "report.html", "curves.png", "model.json", "metrics.jsonl"}
    assert "model.pt" not in files
    kept = client.download_artifacts(found.info.run_id, "model.json")
    assert json.loads(Path(kept).read_text()) == json.loads((tracked / "models" / "model.json").read_text())


def test_wandb_holds_knobs_and_files(tracked: Path) -> None:
    (offline,) = wandb_runs(tracked / "runs" / "run")
    assert (offline.name, offline.project, offline.exit_code) == ("run", "brats", 0)
    assert offline.config["epochs"] == 2 and offline.config["patch_size"] == [32, 32, 32]
    assert offline.files >= {"config.json", "datalist.json", "report.html", "curves.png", "model.json", "metrics.jsonl"}
    assert "model.pt" not in offline.files


def test_the_picture_of_a_case_is_in_every_tracker(tracked: Path) -> None:
    folder = tracked / "runs" / "run"
    (picture,) = (folder / "images").iterdir()
    assert picture.name == "epoch_0002.png"
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0}).Reload()
    (event,) = events.Images("val_case")
    (offline,) = wandb_runs(folder)
    kept = offline.history[2]["val_case.path"]
    assert (event.step, event.width) == (2, offline.history[2]["val_case.width"])
    (copy,) = folder.glob(f"wandb/offline-run-*/files/{kept}")
    assert copy.read_bytes() == picture.read_bytes()
    client, found = mlflow_run(tracked / "runs", "run")
    images = [file.path for file in client.list_artifacts(found.info.run_id, "images")]
    assert any("val_case" in image and "step+2+" in image for image in images)


def test_the_key_is_in_no_file(tracked: Path) -> None:
    files = [path for path in tracked.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files) and any(path.name == "mlflow.db" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


# Below, the handler follows a small engine; the store is the one of the training above, which takes seconds to make.


class Job:
    """A run folder whose engine appends an epoch to metrics.jsonl before the trackers look."""

    def __init__(self, store: Path, name: str, *trackers: Any) -> None:
        self.folder = store / name
        self.folder.mkdir(exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps({"_desc_": {"epochs": ""}, "epochs": 3}))
        self.tracking = Tracking(trackers, str(self.folder), str(store / "models"))
        self.engine = Engine(lambda engine, batch: {"loss": 0.5})
        self.engine.add_event_handler(Events.EPOCH_COMPLETED, self.record)
        TrackEpochs(self.tracking).attach(self.engine)

    def record(self, engine: Engine) -> None:
        with (self.folder / "metrics.jsonl").open("a") as lines:
            lines.write(json.dumps({"epoch": engine.state.epoch, "train_loss": 1 / engine.state.epoch}) + "\n")

    def run(self, epochs: int = 1) -> Job:
        run_tracked(SimpleNamespace(run=lambda: self.engine.run([0] * 10, max_epochs=epochs)), self.tracking)
        return self


@pytest.fixture
def store(tracked: Path) -> Path:
    return tracked / "runs"


def local(store: Path) -> MLflow:
    return MLflow(str(store))


def test_a_resumed_training_continues_its_runs(store: Path) -> None:
    first = Job(store, "resumed", TensorBoard(), local(store), WandB()).run(epochs=2)
    # As after kill -9: nothing was closed, and epoch 2 is done again from the checkpoint of epoch 1.
    first.tracking.close("KILLED")
    again = Job(store, "resumed", TensorBoard(), local(store), WandB())
    again.engine.load_state_dict({"epoch": 1, "max_epochs": 3, "epoch_length": 10})
    again.engine.run([0] * 10)
    again.tracking.finish()
    wanted = [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert recorded(again.folder)["train_loss"] == wanted
    assert mlflow_metrics(store, "resumed") == {"train_loss": wanted}
    assert mlflow_run(store, "resumed")[1].info.status == "FINISHED"
    parts = wandb_runs(again.folder)
    assert len(parts) == 2 and len({part.run_id for part in parts}) == 1
    assert [[*part.history] for part in parts] == [[1, 2], [3]]
    events = EventAccumulator(str(again.folder / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train_loss")] == [1, 2, 3]


def test_a_changed_knob_of_a_resumed_training_is_a_tag(store: Path) -> None:
    Job(store, "longer", local(store)).run().tracking.close("KILLED")
    longer = Job(store, "longer", local(store))
    (longer.folder / "config.json").write_text(json.dumps({"_desc_": {"epochs": ""}, "epochs": 9}))
    longer.run().tracking.finish()
    _, found = mlflow_run(store, "longer")
    assert (found.data.params["epochs"], found.data.tags["resumed.epochs"]) == ("3", "9")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(ValueError("no"), "FAILED", 1), (KeyboardInterrupt(), "KILLED", 130), (SystemExit(143), "KILLED", 130)],
)
def test_a_training_that_breaks_off_ends_its_runs(error: BaseException, status: str, code: int, store: Path) -> None:
    job = Job(store, f"ends-{type(error).__name__}", local(store), WandB())

    def fail(engine: Engine) -> None:
        if engine.state.epoch == 2:
            raise error

    job.engine.add_event_handler(Events.EPOCH_STARTED, fail)
    with pytest.raises(type(error)):
        job.run(epochs=3)
    # What stands in finalize is not reached then, and changes nothing where it is.
    job.tracking.finish()
    assert mlflow_run(store, job.folder.name)[1].info.status == status
    (offline,) = wandb_runs(job.folder)
    assert offline.exit_code == code and list(offline.history) == [1]


def test_a_process_that_ends_unasked_still_closes_its_runs(store: Path, tmp_path: Path) -> None:
    """W&B alone would report a process that ends without an exception as a success."""
    starter = (
        f"import sys; sys.path[:0] = [{str(BUNDLE)!r}]; from scripts.tracker_wandb import WandB;"
        f"from scripts.tracking import Tracking; folder = {str(store / 'unasked')!r};"
        "Tracking([WandB()], folder, folder).open()"
    )
    Job(store, "unasked")
    subprocess.run([sys.executable, "-c", starter], check=True, cwd=tmp_path, timeout=120)
    (offline,) = wandb_runs(store / "unasked")
    assert offline.exit_code == 130


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "scripts.tracking"]


def test_unreachable_server_is_a_warning(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = Job(store, "unreachable", TensorBoard(), MLflow(str(store), "http://127.0.0.1:9")).run(epochs=6)
    job.tracking.finish()
    said = warnings(caplog)
    assert len(said) == 2
    assert said[0].startswith("MLflow cannot be reached or written to") and "the training goes on" in said[0]
    assert said[1].startswith(f"MLflow failed {MAX_FAILURES} times in a row") and "is given up" in said[1]
    events = EventAccumulator(str(job.folder / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train_loss")] == [1, 2, 3, 4, 5, 6]


def test_an_outage_is_made_up_for(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The database cannot be opened at the start, and can from the first epoch on."""
    tracker = MLflow(str(store), f"sqlite:///{(store / 'away' / 'mlflow.db').as_posix()}")
    (store / "away").write_text("a file where a folder is wanted")
    job = Job(store, "outage", tracker)

    def repair(engine: Engine) -> None:
        (store / "away").unlink()
        tracker.tracking_uri = f"sqlite:///{(store / 'mlflow.db').as_posix()}"

    job.engine.add_event_handler(Events.EPOCH_STARTED(once=2), repair)
    job.run(epochs=3).tracking.finish()
    assert len(warnings(caplog)) == 1
    assert mlflow_metrics(store, "outage") == {"train_loss": [(1, 1.0), (2, 0.5), (3, 1 / 3)]}


def test_a_tracker_that_dies_in_the_middle_is_given_up(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = local(store)
    job = Job(store, "dies", tracker)

    def vanish(engine: Engine) -> None:
        tracker.client = mlflow.MlflowClient(tracking_uri="http://127.0.0.1:9")

    job.engine.add_event_handler(Events.EPOCH_STARTED(once=3), vanish)
    job.run(epochs=8).tracking.finish()
    assert [line.split(" (")[0] for line in warnings(caplog)] == [
        "MLflow cannot be reached or written to", "MLflow failed 3 times in a row",
    ]  # fmt: skip
    assert mlflow_metrics(store, "dies") == {"train_loss": [(1, 1.0), (2, 0.5)]}
    assert len(recorded(job.folder)["train_loss"]) == 8


def test_wandb_without_a_key_stays_offline(
    store: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    job = Job(store, "keyless", WandB(mode="online")).run()
    job.tracking.finish()
    assert "WANDB_API_KEY is not set in the environment" in caplog.text
    (offline,) = wandb_runs(job.folder)
    assert offline.history[1]["train_loss"] == 1.0 and offline.exit_code == 0


def test_wandb_without_its_service_stays_offline(
    store: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setitem(INIT_TIMEOUT, "online", 2)
    job = Job(store, "lonely", WandB(mode="online")).run()
    job.tracking.finish()
    assert "wandb sync" in caplog.text and KEY not in caplog.text
    assert [part.history[1]["train_loss"] for part in wandb_runs(job.folder)] == [1.0]


def test_packages_that_are_not_installed_are_named(data: Path, tmp_path: Path) -> None:
    """The whole training, in a process where neither package can be imported."""
    starter = (
        "import runpy, sys; sys.modules['mlflow'] = sys.modules['wandb'] = None;"
        "sys.argv = sys.argv[1:]; runpy.run_module('monai.bundle', run_name='__main__')"
    )
    files = "[" + ",".join(f"'configs/{config}'" for config in CONFIGS) + "]"
    paths = ["--dataset_dir", str(data), "--output_dir", str(tmp_path / "runs"), "--ckpt_dir", str(tmp_path / "models")]
    tiny = [word for name, value in TINY.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "-c", starter, "monai.bundle", "run", "--config_file", files, *paths, "--run_name", "run",
         *tiny],
        cwd=BUNDLE, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for package in ("mlflow>=3.1", "wandb>=0.31"):
        assert done.stdout.count(f'pip install "{package}" or the extra "track"') == 1
    assert len(read_metrics(tmp_path / "runs" / "run" / "metrics.jsonl")) == 1
    assert (tmp_path / "runs" / "run" / "report.html").is_file()


def test_two_processes_are_one_run(data: Path, store: Path) -> None:
    overlay = "['configs/train.json','configs/multi_gpu_train.json','configs/track/mlflow.json']"
    tiny = [word for name, value in TINY.items() for word in (f"--{name}", str(value))]
    (port,) = processes.free_ports(1)
    both = run_together(
        "monai.bundle",
        ["run", "--config_file", overlay, "--dataset_dir", str(data), "--output_dir", str(store), "--ckpt_dir",
         str(store / "models2"), "--run_name", "two", *tiny],
        BUNDLE, [processes.launched(rank, 2, port) for rank in range(2)],
    )  # fmt: skip
    assert [done.returncode for done in both] == [0, 0], "".join(done.stderr[-3000:] for done in both)
    assert mlflow_metrics(store, "two") == recorded(store / "two")
    assert len(list((store / "two" / "tensorboard").iterdir())) == 1
    assert [picture.name for picture in (store / "two" / "images").iterdir()] == ["epoch_0001.png"]


@pytest.mark.parametrize(
    ("override", "secret"),
    [
        ({"tracking_uri": "https://me:pa55word@mlflow.example.org"}, "pa55word"),
        ({"tracking_uri": "postgresql://me:pa55word@db/mlflow"}, "pa55word"),
        ({"tracking_uri": "https://pa55word@mlflow.example.org"}, "pa55word"),
        ({"tracking_uri": "postgresql://db/mlflow?user=me&password=pa55word"}, "pa55word"),
        ({"wandb_project": "0123456789abcdef0123456789abcdef01234567"}, "0123456789abcdef"),
        ({"api_key": "hunter2"}, "hunter2"),
        ({"trackers": [{"_target_": "scripts.tracker_wandb.WandB", "api_key": "hunter2"}]}, "hunter2"),
    ],
)
def test_a_credential_in_a_config_is_refused(
    override: dict[str, Any], secret: str, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = workflow(tmp_path, *CONFIGS, dataset_dir=str(data), **override)
    with pytest.raises((RuntimeError, InputError)) as caught:
        job.initialize()
    sentence = str(find_input_error(caught.value))
    assert "looks like a password or key" in sentence and "WANDB_API_KEY" in sentence
    assert secret not in sentence and secret not in caplog.text
    assert not (tmp_path / "runs").exists()


def test_no_shipped_config_looks_like_a_credential(tmp_path: Path, data: Path) -> None:
    workflow(tmp_path, *CONFIGS, "full.json", dataset_dir=str(data)).initialize()
    assert (tmp_path / "runs" / "run" / "config.json").is_file()


def test_credentials_are_struck_out_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse")
    text = strike_out(f"GET https://me:pa55word@host/api failed with {KEY} and correct horse")
    assert text == "GET https://***@host/api failed with *** and ***"
    assert strike_out("at db/x?password=pa55word&a=b") == "at db/x?password=***&a=b"


def test_unknown_wandb_mode_is_refused() -> None:
    with pytest.raises(InputError, match="wandb_mode 'onlin' is unknown; choose one of offline, online."):
        WandB(mode="onlin")
