"""What a local job does to a container and its surroundings, shown by commands that take no time."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from jobs import BUCKET, channel, processing, processing_input, training

from sm_launch.errors import LaunchError
from sm_launch.local import Event, FolderStore, JobResult, isolation, run_processing, run_training

needs_namespaces = pytest.mark.skipif(isolation.privileges() is None, reason="this machine gives no namespaces")
KINDS = [pytest.param(True, marks=needs_namespaces, id="namespaces"), pytest.param(False, id="folders")]


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """An empty store."""
    return FolderStore(tmp_path / "s3")


def run(store: FolderStore, folder: Path, code: str, *channels: Any, hosts: int = 1, **more: Any) -> JobResult:
    """A training job whose container runs a line of Python."""
    options = {
        key: more.pop(key) for key in ("namespaces", "on_event", "interrupt", "stop", "kill_after") if key in more
    }
    algorithm = {"ContainerEntrypoint": ["python3", "-c", code], **more.pop("AlgorithmSpecification", {})}
    request = training("job", *channels, hosts=hosts, AlgorithmSpecification=algorithm, **more)
    return run_training(request, store, folder / "job", **options)


def logs(result: JobResult, node: str = "algo-1") -> list[str]:
    return result.log_files[node].read_text().splitlines()


@needs_namespaces
def test_a_container_sees_what_the_platform_writes(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do not tell")
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "case").write_text("voxels")
    store.upload(tmp_path / "data", f"{BUCKET}/data")
    code = """if True:
        import json, os, socket
        from pathlib import Path
        ml = Path("/opt/ml")
        config = {path.stem: json.loads(path.read_text()) for path in (ml / "input" / "config").iterdir()}
        print(json.dumps({**config, "env": dict(os.environ), "host": socket.gethostname(), "opt": os.listdir("/opt"),
            "files": sorted(str(path) for path in ml.rglob("*") if path.is_file()), "pid": os.getpid(),
            "addresses": [socket.gethostbyname(host) for host in config["resourceconfig"]["hosts"]]}))
    """
    before = sorted(os.listdir("/opt")) if Path("/opt").is_dir() else []
    result = run(
        store, tmp_path, code, channel("train", f"{BUCKET}/data"), hosts=2, HyperParameters={"lr": "it's $x"},
        Environment={"OURS": "/opt/ml/model"},
    )  # fmt: skip
    assert result.status == "Completed" and result.environment["isolation"] == "namespaces"
    first, second = (json.loads(logs(result, node)[0]) for node in ("algo-1", "algo-2"))
    assert [first["host"], second["host"]] == first["resourceconfig"]["hosts"] == ["algo-1", "algo-2"]
    assert second["resourceconfig"]["current_host"] == "algo-2" and len(set(first["addresses"])) == 2
    assert first["resourceconfig"]["current_instance_type"] == "ml.g5.2xlarge"
    assert first["hyperparameters"] == {"lr": "it's $x"}
    assert first["inputdataconfig"]["train"]["S3DistributionType"] == "FullyReplicated"
    assert "/opt/ml/input/data/train/sub/case" in first["files"]
    assert first["env"]["AWS_REGION"] == "eu-west-1" and first["env"]["TRAINING_JOB_NAME"] == "job"
    assert first["env"]["TRAINING_JOB_ARN"] == result.arn and first["env"]["OURS"] == "/opt/ml/model"
    assert "do not tell" not in json.dumps(first["env"])
    # Beside the machine's own /opt, and gone with the job.
    assert sorted(first["opt"]) == sorted({*before, "ml"})
    assert (sorted(os.listdir("/opt")) if Path("/opt").is_dir() else []) == before


@pytest.mark.parametrize("namespaces", KINDS)
def test_outputs_go_where_the_request_says(namespaces: bool, store: FolderStore, tmp_path: Path) -> None:
    code = """if True:
        import json, os, sys
        from pathlib import Path
        base = Path(sys.argv[1])
        hosts = json.loads((base / "input/config/resourceconfig.json").read_text())
        mine = str(hosts["hosts"].index(hosts["current_host"]))
        for folder in ("model", "output/data", "output/tensorboard", "checkpoints"):
            (base / folder).mkdir(parents=True, exist_ok=True)
            (base / folder / f"from_{mine}").write_text(folder)
            (base / folder / "shared").write_text(mine)
        assert os.environ["WHERE"] == str(base / "model")
        print("score: 0.25", flush=True)
        print("score: nothing", flush=True)
        print("score: 0.75", flush=True)
    """
    result = run(
        store, tmp_path, code, hosts=2, namespaces=namespaces, Environment={"WHERE": "/opt/ml/model"},
        CheckpointConfig={"S3Uri": f"{BUCKET}/kept"}, TensorBoardOutputConfig={"S3OutputPath": f"{BUCKET}/boards"},
        OutputDataConfig={"S3OutputPath": f"{BUCKET}/out/", "CompressionType": "NONE"},
        AlgorithmSpecification={
            "ContainerArguments": ["/opt/ml"],
            "MetricDefinitions": [{"Name": "val:score", "Regex": "score: (.+)"}, {"Name": "no", "Regex": "loss (.+)"}],
        },
    )  # fmt: skip
    assert result.status == "Completed", logs(result)
    assert result.model_artifact_uri == f"{BUCKET}/out/job/output/model/"
    names = {"from_0", "from_1", "shared"}
    for prefix in ("out/job/output/model/", "out/job/output/output/", "kept/", "boards/job/tensorboard-output/"):
        assert {uri.removeprefix(f"{BUCKET}/{prefix}") for uri in store.list(f"{BUCKET}/{prefix}")} == names
        assert store.path(f"{BUCKET}/{prefix}shared").read_text() == "0"
    assert [(metric.name, metric.value) for metric in result.metrics] == [("val:score", 0.75)]
    statuses = [transition.status for transition in result.transitions]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all(a.end == b.start for a, b in zip(result.transitions, result.transitions[1:], strict=False))


@pytest.mark.parametrize("namespaces", KINDS)
def test_a_failing_host_ends_the_job_with_its_reason(namespaces: bool, store: FolderStore, tmp_path: Path) -> None:
    code = """if True:
        import json, os, sys, time
        from pathlib import Path
        base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
        hosts = json.loads((base / "input/config/resourceconfig.json").read_text())
        (base / "model" / "half").write_text("")
        if hosts["current_host"] == hosts["hosts"][0]:
            time.sleep(600)
        (base / "output" / "failure").write_text("error: the second host has no luck" + "!" * 2000)
        sys.exit(9)
    """
    result = run(store, tmp_path, code, hosts=2, namespaces=namespaces)
    assert (result.status, result.secondary_status) == ("Failed", "Failed")
    assert result.failure_reason is not None and len(result.failure_reason) == 1024
    assert result.failure_reason.startswith("AlgorithmError: error: the second host has no luck!")
    assert result.failure_reason.endswith("!, exit code: 9")
    assert result.model_artifact_uri is None and not store.list(f"{BUCKET}/out/job/output/model")
    assert result.transitions[-1].message == result.failure_reason


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("namespaces", KINDS)
def test_a_stopped_job_leaves_nothing_running(namespaces: bool, store: FolderStore, tmp_path: Path) -> None:
    """Neither what ignores SIGTERM nor what has left its process group."""
    marker = f"marker-{os.getpid()}-{namespaces}"
    code = """if True:
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
        sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)"
        sleep += "; time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", sleep, sys.argv[1]], start_new_session=True)
        while True:
            time.sleep(0.1)
    """
    stop = threading.Event()

    def stop_once_up(event: Event) -> None:
        if event.message == "up":
            assert len(started()) == 2
            stop.set()

    def started() -> list[int]:
        found = []
        for words in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if marker.encode() in words.read_bytes() and b"-c" in words.read_bytes().split(b"\0")[:3]:
                    found.append(int(words.parent.name))
            except OSError:
                continue
        return [pid for pid in found if alive(pid)]

    result = run(
        store, tmp_path, code, namespaces=namespaces, on_event=stop_once_up, stop=stop, kill_after=5,
        AlgorithmSpecification={"ContainerArguments": [marker]},
    )  # fmt: skip
    assert (result.status, result.secondary_status, result.failure_reason) == ("Stopped", "Stopped", None)
    assert logs(result) == ["up", "told"] and not started()
    assert "Stopping" in [transition.status for transition in result.transitions]


def test_the_longest_runtime_ends_a_job_but_keeps_its_model(store: FolderStore, tmp_path: Path) -> None:
    code = """if True:
        import os, signal, sys, time
        from pathlib import Path
        base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit((base / "model" / "so_far").write_text("x") * 0))
        time.sleep(600)
    """
    result = run(store, tmp_path, code, StoppingCondition={"MaxRuntimeInSeconds": 5})
    assert (result.status, result.secondary_status) == ("Stopped", "MaxRuntimeExceeded")
    assert result.model_artifact_uri == f"{BUCKET}/out/job/output/model.tar.gz"
    assert 5 <= result.training_seconds < 100 and result.billable_seconds == result.training_seconds


def test_an_interrupted_spot_job_goes_on_from_what_it_kept(store: FolderStore, tmp_path: Path) -> None:
    code = """if True:
        import os, signal, sys, time
        from pathlib import Path
        base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
        kept = base / "checkpoints" / "turn"
        assert not (base / "model" / "lost").exists()
        (base / "model" / "lost").write_text("")
        turn = int(kept.read_text()) if kept.exists() else 0
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(kept.write_text(str(turn + 1)) + 142))
        print("turn", turn, flush=True)
        time.sleep(600 if turn < 2 else 0)
    """
    interrupt = threading.Event()
    seen: list[str] = []

    def interrupt_twice(event: Event) -> None:
        seen.append(event.status or event.message)
        if event.message in ("turn 0", "turn 1"):
            interrupt.set()

    options = {"on_event": interrupt_twice, "interrupt": interrupt, "EnableManagedSpotTraining": True}
    result = run(store, tmp_path, code, **options, CheckpointConfig={"S3Uri": f"{BUCKET}/kept"})
    assert result.status == "Completed" and not interrupt.is_set()
    attempt = ["Starting", "Downloading", "Training"]
    assert seen == [*attempt, "turn 0", "Interrupted", *attempt, "turn 1", "Interrupted", *attempt, "turn 2",
                    "Uploading", "Completed"]  # fmt: skip
    assert logs(result) == ["turn 0", "turn 1", "turn 2"]
    assert store.path(f"{BUCKET}/kept/turn").read_text() == "2"
    # An on-demand job has no spot capacity to lose.
    interrupt.set()
    assert run(store, tmp_path / "other", "print('turn 7')", interrupt=interrupt).status == "Completed"


@pytest.mark.parametrize("namespaces", KINDS)
def test_a_listener_that_fails_ends_the_job(namespaces: bool, store: FolderStore, tmp_path: Path) -> None:
    def listen(event: Event) -> None:
        if event.message == "line 1":
            raise ArithmeticError("a listener's own")

    code = "import time; print('line 1', flush=True); print('x' * 1000000, flush=True); time.sleep(600)"
    with pytest.raises(ArithmeticError, match="a listener's own"):
        run(store, tmp_path, code, namespaces=namespaces, on_event=listen)


@needs_namespaces
def test_isolated_hosts_reach_each_other_and_nothing_else(store: FolderStore, tmp_path: Path) -> None:
    code = """if True:
        import json, socket, sys, time
        from pathlib import Path
        hosts = json.loads(Path("/opt/ml/input/config/resourceconfig.json").read_text())
        if hosts["current_host"] == "algo-1":
            with socket.create_server(("algo-1", 7777)) as server:
                server.accept()[0].sendall(b"hello")
        else:
            while True:
                try:
                    print(socket.create_connection(("algo-1", 7777), timeout=10).recv(5).decode())
                    break
                except ConnectionRefusedError:
                    time.sleep(0.05)
        for where in (("192.0.2.1", 80), ("127.0.0.1", int(sys.argv[1]))):
            try:
                socket.create_connection(where, timeout=2)
                print("reached", where)
            except OSError as error:
                print(type(error).__name__, error.errno)
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        arguments = {"ContainerArguments": [port]}
        result = run(store, tmp_path, code, hosts=2, AlgorithmSpecification=arguments, EnableNetworkIsolation=True)
        # The same container outside of isolation does reach this process: the listener is no dummy.
        reaches = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print('reached')"
        open_job = run(store, tmp_path / "open", reaches, AlgorithmSpecification=arguments)
    assert result.status == "Completed"
    refused = ["OSError 101", "ConnectionRefusedError 111"]
    assert logs(result) == refused and logs(result, "algo-2") == ["hello", *refused]
    assert logs(open_job) == ["reached"]


def test_isolation_is_not_pretended_where_there_are_no_namespaces(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="EnableNetworkIsolation, but without Linux namespaces"):
        run(store, tmp_path, "pass", namespaces=False, EnableNetworkIsolation=True)


@needs_namespaces
def test_a_user_without_rights_gets_the_same(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isolation._works(isolation.AS_ROOT):
        pytest.skip("this machine gives no user namespaces")
    monkeypatch.setattr(isolation, "privileges", lambda: isolation.AS_ROOT)
    code = "import os, socket; print(os.listdir('/opt/ml'), socket.gethostname(), socket.gethostbyname('algo-2'))"
    for network in (False, True):
        folder = tmp_path / str(network)
        result = run(store, folder, code, hosts=2, namespaces=True, EnableNetworkIsolation=network)
        assert result.status == "Completed", logs(result)
        assert "algo-1 127.0.0.3" in logs(result)[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"InputDataConfig": [{"ChannelName": "fsx", "DataSource": {"FileSystemDataSource": {}}}]}, "'fsx': lies"),
        ({"InputDataConfig": [channel("train", f"{BUCKET}/absent/")]}, f"there is no object at {BUCKET}/absent/"),
        ({"InputDataConfig": [channel("train", f"{BUCKET}/x", kind="AugmentedManifestFile")]}, "S3DataType is 'Augm"),
        ({"InputDataConfig": [channel("train", "data/x")]}, "'data/x' is no S3 URI"),
        ({"CheckpointConfig": {"S3Uri": BUCKET, "LocalPath": "/data/kept"}}, "LocalPath: is '/data/kept'"),
        ({"AlgorithmSpecification": {"MetricDefinitions": [{"Name": "a", "Regex": "loss"}]}}, "'loss' has no gr"),
        ({"AlgorithmSpecification": {"MetricDefinitions": [{"Name": "a", "Regex": "("}]}}, "is no regular expression"),
    ],
)  # fmt: skip
def test_what_cannot_run_here_is_told_in_a_sentence(
    change: dict[str, Any], message: str, store: FolderStore, tmp_path: Path
) -> None:
    request = {**training("job", AlgorithmSpecification=change.pop("AlgorithmSpecification", {})), **change}
    with pytest.raises(LaunchError) as error:
        run_training(request, store, tmp_path / "job")
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("namespaces", KINDS)
def test_processing_shares_out_objects_and_gathers_outputs(
    namespaces: bool, store: FolderStore, tmp_path: Path
) -> None:
    for index in range(5):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"case_{index}").write_text(str(index))
    store.upload(tmp_path / "data", f"{BUCKET}/data")
    code = """if True:
        import json, os, shutil, sys
        from pathlib import Path
        base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
        config = json.loads((base / "config" / "processingjobconfig.json").read_text())
        hosts = json.loads((base / "config" / "resourceconfig.json").read_text())
        for path in (base / "processing/input/data").iterdir():
            shutil.copy(path, base / "processing/output/done" / path.name)
        (base / "output" / "message").write_text(config["ProcessingJobName"] + " by " + hosts["hosts"][0])
        print(sorted(os.listdir(base / "processing/input/data")), flush=True)
        sys.exit(int(os.environ["CODE"]) if hosts["current_host"] == hosts["hosts"][1] else 0)
    """
    inputs = [processing_input("data", f"{BUCKET}/data/", "ShardedByS3Key")]
    app = {"ContainerEntrypoint": ["python3", "-c", code]}
    outputs = {"done": f"{BUCKET}/done"}
    request = processing("prepare", inputs, outputs, hosts=2, Environment={"CODE": "0"}, AppSpecification=app)
    result = run_processing(request, store, tmp_path / "job", namespaces=namespaces)
    assert (
        result.status == "Completed" and result.exit_message == f"prepare by {'algo-1' if namespaces else '127.0.0.1'}"
    )
    assert logs(result) == ["['case_0', 'case_2', 'case_4']"] and logs(result, "algo-2") == ["['case_1', 'case_3']"]
    assert [store.path(uri).read_text() for uri in store.list(f"{BUCKET}/done/")] == list("01234")
    failed = run_processing(
        {**request, "Environment": {"CODE": "3"}}, store, tmp_path / "failed", namespaces=namespaces
    )
    assert failed.status == "Failed" and failed.failure_reason is not None
    assert failed.failure_reason.endswith("exit code: 3")
