"""The parts of local runs: draws of hyperparameters, channels, stores, archives, metrics, servers."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
import tarfile
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from jobs import BUCKET, ROOT, channel

from sm_launch.errors import LaunchError
from sm_launch.local import FolderStore, S3Store, Store, isolation, start_server
from sm_launch.local.archives import merge, pack, unpack
from sm_launch.local.channels import fill_channel
from sm_launch.local.draws import grid, random_draws
from sm_launch.local.metrics import LastMetrics
from sm_launch.local.tuning import run_tuning

needs_namespaces = pytest.mark.skipif(isolation.privileges() is None, reason="this machine gives no namespaces")


def test_importing_it_is_light() -> None:
    code = (
        "import sys, sm_launch.local; print(sorted({'boto3', 'botocore', 'yaml', 'torch', 'monai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_draws_keep_to_their_ranges_and_scales() -> None:
    ranges = {
        "ContinuousParameterRanges": [
            {"Name": "lr", "MinValue": "0.0001", "MaxValue": "1", "ScalingType": "Logarithmic"},
            {"Name": "momentum", "MinValue": "0", "MaxValue": "0.999", "ScalingType": "ReverseLogarithmic"},
            {"Name": "plain", "MinValue": "-1", "MaxValue": "3"},
        ],
        "IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "4", "ScalingType": "Linear"}],
        "CategoricalParameterRanges": [{"Name": "loss", "Values": ["dice", "[1, 2]"]}],
    }
    drawn = list(itertools.islice(random_draws(ranges, 3), 4000))
    assert (
        drawn
        == list(itertools.islice(random_draws(ranges, 3), 4000))
        != list(itertools.islice(random_draws(ranges, 4), 4000))
    )
    column = {name: [values[name] for values in drawn] for name in drawn[0]}
    assert set(column["loss"]) == {"dice", "[1, 2]"} and set(column["depth"]) == set("1234")
    # All values as often, the ends too; half of a logarithmic range lies below its geometric middle.
    assert all(850 < column["depth"].count(depth) < 1150 for depth in "1234")
    rates = [float(value) for value in column["lr"]]
    assert min(rates) >= 0.0001 and max(rates) <= 1 and 1850 < sum(rate < 0.01 for rate in rates) < 2150
    momenta = [float(value) for value in column["momentum"]]
    assert min(momenta) >= 0 and max(momenta) <= 0.999
    assert 1850 < sum(momentum > 1 - 0.001**0.5 for momentum in momenta) < 2150
    assert -1 <= min(map(float, column["plain"])) < 0 and 2 < max(map(float, column["plain"])) <= 3


@pytest.mark.parametrize(
    ("each", "message"),
    [
        ({"MinValue": "2", "MaxValue": "1"}, "from 2.0 to 1.0 is empty"),
        ({"MinValue": "0", "MaxValue": "1", "ScalingType": "Logarithmic"}, "begins above 0"),
        ({"MinValue": "0", "MaxValue": "1", "ScalingType": "ReverseLogarithmic"}, "lies in 0 to 1"),
    ],
)
def test_ranges_that_cannot_be_drawn_from(each: dict[str, str], message: str) -> None:
    with pytest.raises(LaunchError, match=message):
        next(random_draws({"ContinuousParameterRanges": [{"Name": "lr", **each}]}, 0))


def test_a_grid_is_every_combination() -> None:
    lists = [{"Name": "a", "Values": ["1", "2"]}, {"Name": "b", "Values": ["x", "y", "z"]}]
    found = grid({"CategoricalParameterRanges": lists})
    assert len(found) == 6 and found[0] == {"a": "1", "b": "x"} and found[-1] == {"a": "2", "b": "z"}
    with pytest.raises(LaunchError, match="Grid takes lists alone"):
        grid({"IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "2"}]})


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Both stores; S3 by moto, in this process."""
    if request.param == "folder":
        yield FolderStore(tmp_path / "store")
        return
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    moto = pytest.importorskip("moto", reason="moto is not installed")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        with moto.mock_aws():
            client = boto3.client("s3", region_name="us-east-1")
            client.create_bucket(Bucket="lab")
            yield S3Store(client)


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_stores_keep_files_by_uri(store: Store, tmp_path: Path) -> None:
    store.upload(fill(tmp_path / "data", "a/x.nii", "a/b/y.nii", "ab.json"), f"{BUCKET}/d/")
    store.upload(tmp_path / "data" / "ab.json", f"{BUCKET}/d/a.json")
    assert store.list(f"{BUCKET}/d/a") == [
        f"{BUCKET}/d/{name}" for name in ("a.json", "a/b/y.nii", "a/x.nii", "ab.json")
    ]
    assert store.list(f"{BUCKET}/d/a/") == [f"{BUCKET}/d/a/b/y.nii", f"{BUCKET}/d/a/x.nii"]
    assert store.list(f"{BUCKET}/nothing") == [] and len(store.list(BUCKET)) == 4
    store.download(f"{BUCKET}/d/a/b/y.nii", tmp_path / "new" / "y")
    assert (tmp_path / "new" / "y").read_text() == "a/b/y.nii"
    with pytest.raises(LaunchError, match=f"{BUCKET}/d/none"):
        store.download(f"{BUCKET}/d/none", tmp_path / "new" / "z")


def test_a_folder_store_stays_in_its_folder(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    for uri in (f"{BUCKET}/../../x", "s3://../x", "s3://./x/../../.."):
        with pytest.raises(LaunchError, match="leads out of"):
            store.upload(fill(tmp_path / "d", "x") / "x", uri)


def test_a_folder_store_takes_links_for_files(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    data = fill(tmp_path / "elsewhere", "case")
    link = store.path(f"{BUCKET}/data/case")
    link.parent.mkdir(parents=True)
    link.symlink_to(data / "case")
    assert store.list(f"{BUCKET}/data/") == [f"{BUCKET}/data/case"]
    store.download(f"{BUCKET}/data/case", tmp_path / "copy")
    assert not (tmp_path / "copy").is_symlink() and (tmp_path / "copy").read_text() == "case"
    # What is uploaded takes the link's place, and leaves what it led to alone.
    store.upload(fill(tmp_path / "new", "other") / "other", f"{BUCKET}/data/case")
    assert (data / "case").read_text() == "case" and link.read_text() == "other"


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_channels_hold_what_the_request_says(store: Store, tmp_path: Path) -> None:
    store.upload(fill(tmp_path / "data", "a/1", "a/2", "b/3", "b/4", "c"), f"{BUCKET}/set")
    manifest = tmp_path / "manifest"
    manifest.write_text(json.dumps([{"prefix": f"{BUCKET}/set/"}, "b/3", "a/1", "c"]))
    store.upload(manifest, f"{BUCKET}/lists/some")
    wanted = {
        ("S3Prefix", f"{BUCKET}/set"): ["a/1", "a/2", "b/3", "b/4", "c"],
        ("S3Prefix", f"{BUCKET}/set/a/"): ["1", "2"],
        ("S3Prefix", f"{BUCKET}/se"): ["set/a/1", "set/a/2", "set/b/3", "set/b/4", "set/c"],
        ("S3Prefix", f"{BUCKET}/set/c"): ["c"],
        ("ManifestFile", f"{BUCKET}/lists/some"): ["a/1", "b/3", "c"],
    }
    for place, ((kind, uri), paths) in enumerate(wanted.items()):
        whole = tmp_path / f"whole{place}"
        fill_channel(channel("train", uri, kind=kind), store, whole, 1, 2)
        assert names(whole) == paths
        shards = [tmp_path / f"shard{place}_{index}" for index in range(2)]
        for index, folder in enumerate(shards):
            fill_channel(channel("train", uri, "ShardedByS3Key", kind), store, folder, index, 2)
        first, second = map(names, shards)
        assert sorted(first + second) == paths and not set(first) & set(second) and len(first) - len(second) in (0, 1)
    manifest.write_text(json.dumps([{"prefix": f"{BUCKET}/set/"}, "../set/c"]))
    store.upload(manifest, f"{BUCKET}/lists/bad")
    with pytest.raises(LaunchError, match="leads out of the channel"):
        fill_channel(channel("t", f"{BUCKET}/lists/bad", kind="ManifestFile"), store, tmp_path / "bad", 0, 1)
    with pytest.raises(LaunchError, match="is no manifest"):
        fill_channel(channel("t", f"{BUCKET}/set/c", kind="ManifestFile"), store, tmp_path / "bad", 0, 1)


def test_archives_come_back_and_lead_nowhere_else(tmp_path: Path) -> None:
    first, second = fill(tmp_path / "1", "a", "sub/b"), fill(tmp_path / "2", "c")
    (second / "a").write_text("of the second host")
    assert merge([first, second, tmp_path / "absent"], tmp_path / "all")
    assert not merge([tmp_path / "absent"], tmp_path / "none")
    unpack(pack(tmp_path / "all", tmp_path / "x.tar.gz"), tmp_path / "out")
    assert names(tmp_path / "out") == ["a", "c", "sub/b"] and (tmp_path / "out" / "a").read_text() == "a"
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"), io.BytesIO())
    (tmp_path / "no.tar.gz").write_text("no archive")
    for name in ("bad", "no", "absent"):
        with pytest.raises(LaunchError, match=f"{name}.tar.gz: cannot be unpacked"):
            unpack(tmp_path / f"{name}.tar.gz", tmp_path / "out")
    assert not (tmp_path / "escaped").exists()


def test_metrics_are_the_last_numbers() -> None:
    finder = LastMetrics([{"Name": "loss", "Regex": "loss=([0-9.e-]+)"}, {"Name": "dice", "Regex": "dice=(\\S+)"}])
    time = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for line in ("loss=2.5 dice=0.1", "dice=nothing", "loss=1e-2", "no metric"):
        finder.read(line, time)
    assert [(metric.name, metric.value) for metric in finder.last()] == [("loss", 0.01), ("dice", 0.1)]


SERVER = """if True:
    import http.server, os
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            weights = open(os.environ["SM_MODEL_DIR"] + "/weights").read()
            self.wfile.write((weights + os.environ["OURS"]).encode())
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    print("listens", flush=True)
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    "namespaces", [pytest.param(True, marks=needs_namespaces), False], ids=["namespaces", "folders"]
)
@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
def test_a_serving_command_finds_its_model_and_ends(namespaces: bool, packed: bool, tmp_path: Path) -> None:
    model = fill(tmp_path / "model", "weights")
    source = pack(model, tmp_path / "model.tar.gz") if packed else model
    with start_server(
        ["python3", "-c", SERVER], source, tmp_path / "work", environment={"OURS": "!"}, namespaces=namespaces
    ) as server:
        server.wait_ready(30)
        with urllib.request.urlopen(f"{server.url}/invocations") as answer:
            assert answer.read() == b"weights!"
        assert server.returncode() is None and names(server.model_dir) == ["weights"]
    assert server.returncode() == 128 + 15 and "listens" in server.log_file.read_text()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{server.url}/ping", timeout=2)


def test_a_serving_command_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    model = fill(tmp_path / "model", "weights")
    command = ["python3", "-c", "raise SystemExit('no weights')"]
    with start_server(command, model, tmp_path / "work") as server, pytest.raises(LaunchError) as error:
        server.wait_ready(30)
    assert "ended with exit status 1" in str(error.value) and str(error.value).endswith("no weights")


TRIAL = """if True:
    import json, os, sys
    base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
    found = json.load(open(base + "/input/config/hyperparameters.json"))
    assert found["_tuning_objective_metric"] == "score" and found["fixed"] == "7"
    print("score=" + found["x"], flush=True)
    sys.exit(found["x"] == "4")
"""


def search(**changes: Any) -> dict[str, Any]:
    """A CreateHyperParameterTuningJob request over five values of x, of which one fails."""
    definition = {
        "StaticHyperParameters": {"fixed": "7"},
        "AlgorithmSpecification": {
            "TrainingImage": "any", "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "score", "Regex": "score=([0-9]+)"}],
        },
        "RoleArn": "arn", "OutputDataConfig": {"S3OutputPath": f"{BUCKET}/out"}, "StoppingCondition": {},
        "HyperParameterTuningResourceConfig": {
            "InstanceConfigs": [{"InstanceType": "ml.c5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}]
        },
    }  # fmt: skip
    config = {
        "Strategy": "Grid",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "score"},
        "ResourceLimits": {"MaxParallelTrainingJobs": 1},
        "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "x", "Values": list("34512")}]},
        **changes,
    }
    return {
        "HyperParameterTuningJobName": "grid", "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": definition,
    }  # fmt: skip


def test_the_best_trial_is_the_best_that_completed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    command = ["python3", "-c", TRIAL]
    result = run_tuning(search(), store, tmp_path / "grid", image_command=command)
    assert [trial.hyperparameters["x"] for trial in result.trials] == list("34512")
    assert [trial.result.status for trial in result.trials].count("Failed") == 1
    assert (result.status, result.best is not None and result.best.hyperparameters, result.notes) == (
        "Completed", {"x": "1"}, (),
    )  # fmt: skip
    objective = {"Type": "Maximize", "MetricName": "score"}
    limits = {"MaxParallelTrainingJobs": 2, "MaxNumberOfTrainingJobs": 3}
    changed = search(HyperParameterTuningJobObjective=objective, ResourceLimits=limits)
    result = run_tuning(changed, store, tmp_path / "three", image_command=command)
    assert len(result.trials) == 3 and result.best is not None and result.best.objective == 5
    failing = search(ParameterRanges={"CategoricalParameterRanges": [{"Name": "x", "Values": ["4"]}]})
    result = run_tuning(failing, store, tmp_path / "failing", image_command=command)
    assert result.status == "Failed" and result.best is None and "No trial completed" in (result.failure_reason or "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Strategy": "Random"}, "names no MaxNumberOfTrainingJobs"),
        ({"ParameterRanges": {}}, "no ranges or no objective"),
    ],
)
def test_searches_that_cannot_run(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=message):
        run_tuning(search(**changes), FolderStore(tmp_path), tmp_path / "x", image_command=["true"])
    assert not os.path.exists(tmp_path / "x")
