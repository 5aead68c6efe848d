"""The container's entry: command lines, braces, hyperparameters, reasons of failures, the model artifact."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jobs import CONTAINER

NAMES = ("redaction", "launchers", "instructions", "artifact", "entry")


@pytest.fixture(scope="module")
def container() -> Any:
    """The container's modules, imported as in a container: by their own names, beside each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CONTAINER))
        found: dict[str, ModuleType] = {}
        for name in NAMES:
            spec = importlib.util.spec_from_file_location(name, CONTAINER / f"{name}.py")
            assert spec is not None and spec.loader is not None
            found[name] = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, found[name])
            spec.loader.exec_module(found[name])
        yield type("Container", (), found)


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("file", sorted(CONTAINER.glob("*.py")), ids=lambda file: file.name)
def test_it_needs_nothing_but_an_old_python(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    tops = {str(name).partition(".")[0] for name in imported}
    assert tops <= {*sys.stdlib_module_names, *(path.stem for path in CONTAINER.glob("*.py"))}
    # Written in 3.9 and later only.
    assert not {"removeprefix", "removesuffix", "waitstatus_to_exitcode", "zip_strict"} & {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }


def test_torchrun_meets_at_the_first_host(container: Any) -> None:
    cluster = container.launchers.Cluster(("algo-1", "algo-2"), "algo-2")
    command = container.launchers.launched("torchrun", cluster, 4, {}, "python3", ["-m", "monai.bundle", "run"])
    assert command == [
        "python3", "-m", "torch.distributed.run", "--nnodes=2", "--node_rank=1", "--master_addr=algo-1",
        "--master_port=7777", "--nproc_per_node=4", "-m", "monai.bundle", "run",
    ]  # fmt: skip
    other = container.launchers.launched("torchrun", cluster, 4, {"SM_LAUNCH_MASTER_PORT": "9"}, "python3", [])
    assert "--master_port=9" in other
    alone = container.launchers.Cluster(("algo-1",), "algo-1")
    command = container.launchers.launched("torchrun", alone, 8, {"SM_LAUNCH_MASTER_PORT": "9"}, "python3", ["x.py"])
    assert command == ["python3", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=8", "x.py"]
    assert container.launchers.launched("none", alone, 8, {}, "python3", ["x.py"]) == ["python3", "x.py"]


# What the genuine toolkit would start, from a base folder, so that it makes none in the user's home.
TOOLKIT = """
import json, os, sys
from sagemaker_training import mpi, smdataparallel
wanted = json.loads(sys.argv[1])
env = {"SM_TRAINING_ENV": json.dumps({"additional_framework_parameters": {"sagemaker_instance_type": wanted["type"]}})}
common = dict(user_entry_point="train.py", args=[], env_vars=env, processes_per_host=wanted["processes"],
              master_hostname=wanted["hosts"][0], hosts=wanted["hosts"], custom_mpi_options="--NCCL_DEBUG WARN",
              network_interface_name="eth0")
if wanted["smddp"]:
    runner = smdataparallel.SMDataParallelRunner(**common)
    commands = [runner._create_command()]
else:
    commands = [mpi.MasterRunner(**common, instance_type=wanted["type"])._create_command()]
print(json.dumps(commands[0]))
"""


def options(command: list[str]) -> dict[str, Any]:
    """What a mpirun command line says, whatever the order."""
    ends = (i for i, word in enumerate(command) if word == "smddprun" or Path(word).name.startswith("python"))
    # Without SMDDP's own package the toolkit leaves smddprun and what follows out.
    words = command[: next(ends, len(command))]
    said: dict[str, Any] = {"flags": set(), "-mca": {}, "-x": set()}
    iterator = iter(words[1:])
    for word in iterator:
        if word == "-mca":
            said["-mca"][next(iterator)] = next(iterator)
        elif word == "-x":
            said["-x"].add(next(iterator))
        elif word in ("--host", "-np", "-bind-to", "-map-by"):
            said[word] = next(iterator)
        else:
            said["flags"].add(word)
    return said


@pytest.mark.parametrize("smddp", [False, True], ids=["mpirun", "smddprun"])
@pytest.mark.parametrize("hosts", [["algo-1"], ["algo-1", "algo-2"]], ids=["one host", "two hosts"])
@pytest.mark.parametrize("instance", ["ml.p4d.24xlarge", "ml.g5.2xlarge"])
def test_mpirun_is_called_as_the_genuine_toolkit_calls_it(
    container: Any, smddp: bool, hosts: list[str], instance: str, tmp_path: Path
) -> None:
    pytest.importorskip("sagemaker_training", reason="sagemaker-training is not installed")
    for name in ("hyperparameters", "inputdataconfig"):
        write(tmp_path / "input" / "config" / f"{name}.json", {})
    resources = {"current_host": "algo-1", "hosts": hosts, "network_interface_name": "eth0"}
    groups = [{"instance_group_name": "g", "instance_type": instance, "hosts": hosts}]
    resources |= {"current_group_name": "g", "instance_groups": groups, "current_instance_type": instance}
    write(tmp_path / "input" / "config" / "resourceconfig.json", resources)
    wanted = json.dumps({"smddp": smddp, "hosts": hosts, "type": instance, "processes": 8})
    env = {"PATH": "/usr/bin:/bin", "SAGEMAKER_BASE_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", TOOLKIT, wanted], env=env, capture_output=True, text=True, check=True)
    theirs = options(json.loads(done.stdout.splitlines()[-1]))
    cluster = container.launchers.Cluster(tuple(hosts), "algo-1", "eth0", instance)
    preload = next(name.partition("=")[2] for name in theirs["-x"] if name.startswith("LD_PRELOAD="))
    ours = container.launchers.mpirun(
        cluster, 8, ["PATH", "SM_HOSTS"], "/usr/bin/python3", ["-m", "monai.bundle"], smddp, preload, mpi4py=True
    )
    assert ours[-5:] == ["/usr/bin/python3", "-m", "mpi4py", "-m", "monai.bundle"]
    assert ("smddprun" in ours) == smddp
    told = options(ours)
    # The toolkit passes its own variables; we pass those of our processes.
    theirs["-x"] -= {"SM_TRAINING_ENV"}
    assert told["-x"] - theirs["-x"] == {"SM_HOSTS"}
    assert told | {"-x": theirs["-x"]} == theirs


def test_mpirun_exports_what_all_hosts_share(container: Any) -> None:
    cluster = container.launchers.Cluster(("algo-1", "algo-2"), "algo-1")
    env = {"SM_HOSTS": "[]", "SM_CURRENT_HOST": "algo-1", "HOSTNAME": "algo-1", "PYTHONPATH": "/x"}
    exported = options(container.launchers.launched("mpirun", cluster, 2, env, "python3", []))["-x"]
    assert {"SM_HOSTS", "PYTHONPATH"} <= exported and not {"SM_CURRENT_HOST", "HOSTNAME"} & exported


def test_mpiruns_other_hosts_start_nothing_themselves(container: Any) -> None:
    cluster = container.launchers.Cluster(("algo-1", "algo-2"), "algo-2")
    assert container.launchers.launched("smddprun", cluster, 8, {}, "python3", []) is None


def places(container: Any, base: Path) -> Any:
    write(base / "input" / "config" / "resourceconfig.json", {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]})
    return container.instructions.Places(base)


def test_braces_are_filled_in_and_all_else_is_left(container: Any, tmp_path: Path) -> None:
    where = places(container, tmp_path)
    cluster = where.cluster()
    value = {
        "a": ["{channel:train}/x", {"b": "{input:train}{output:store}"}, 3, None, True],
        "c": "{checkpoints}:{model}:{output_data}:{tensorboard}:{bundle}:{host_index}/{host_count}",
        "d": "$f'{x}' + \"{}\" + '{channel}' it's {channel:a b} {{host_index}}",
    }
    base = str(tmp_path)
    parts = ("checkpoints", "model", "output/data", "output/tensorboard", "work/bundle")
    assert where.fill(value, cluster) == {
        "a": [f"{base}/input/data/train/x", {"b": f"{base}/input/data/train{base}/processing/output/store"}, 3, None,
              True],
        "c": ":".join(f"{base}/{part}" for part in parts) + ":1/2",
        "d": "$f'{x}' + \"{}\" + '{channel}' it's {channel:a b} {1}",
    }  # fmt: skip
    processing = container.instructions.Places(tmp_path / "processing-job")
    assert processing.fill("{input:data}", cluster) == str(tmp_path / "processing-job/processing/input/data")


def test_hyperparameters_are_overrides_of_their_own_type(container: Any) -> None:
    given = {
        "lr": "0.01", "batch_size": "2", "norm": '["group", {"num_groups": 8}]', "name": "it's", "amsgrad": "true",
        "sagemaker_program": '"entry.py"', "_tuning_objective_metric": "val", "sagemaker_submit_directory": "x",
    }  # fmt: skip
    assert container.instructions.knobs(given, {"lr": "optimizer::lr"}) == {
        "optimizer::lr": 0.01, "batch_size": 2, "norm": ["group", {"num_groups": 8}], "name": "it's", "amsgrad": True,
    }  # fmt: skip


TORCHRUN_LOG = """16:25:15 train: 6 training cases
Traceback (most recent call last):
  File "handler.py", line 3, in <module>
ZeroDivisionError: division by zero

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
RuntimeError: Failed to evaluate the expression
E1121 16:25:24.262000 14 /x/torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1)
Traceback (most recent call last):
torch.distributed.elastic.multiprocessing.errors.ChildFailedError: 
"""


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (TORCHRUN_LOG, "ZeroDivisionError: division by zero"),
        (
            "RuntimeError: Connection closed by peer\n" + "error: 1 case is too few; add some.",
            "error: 1 case is too few",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory.\nlast words", "torch.OutOfMemoryError: CUDA out of memory."),
        ("started\n[rank1]: Traceback\n[rank1]: ValueError: of rank 1\nlast words", "ValueError: of rank 1"),
        ("started\n[1,3]<stderr>:error: of rank 3.", "error: of rank 3."),
        ("nothing to see", "the process ended with exit status 3"),
    ],
)
def test_a_failure_begins_with_its_cause(container: Any, lines: str, sentence: str) -> None:
    text = container.entry.reason(3, lines.splitlines())
    assert text.startswith(sentence) and "ChildFailedError" not in text
    assert lines.splitlines()[0] in text


@pytest.mark.parametrize(("visible", "count"), [("0,1", 2), ("", 0), ("-1", 0), ("MIG-x", 1)])
def test_gpus_are_those_that_may_be_used(
    container: Any, visible: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert container.entry.count_gpus() == count


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ({}, "/b/models"),
        ({"ckpt_dir": "/opt/ml/checkpoints"}, "/opt/ml/checkpoints"),
        ({"ckpt_dir": "weights/best"}, "/b/weights/best"),
        ({"ckpt_dir": "$@bundle_root + '/x'"}, "/b/models"),
    ],
)
def test_weights_are_taken_from_the_bundles_own_folder(container: Any, overrides: dict[str, str], folder: str) -> None:
    assert container.instructions.checkpoint_folder(overrides, Path("/b")) == Path(folder)


def test_the_artifact_is_the_bundle_with_its_trained_weights(container: Any, tmp_path: Path) -> None:
    bundle, kept, model = tmp_path / "bundle", tmp_path / "kept", tmp_path / "model"
    write(bundle / "configs" / "train.json", {"epochs": 1})
    write(bundle / "scripts" / "__pycache__" / "x.pyc", "cached")
    write(bundle / "models" / "model.pt", "pretrained")
    write(bundle / "docs" / "README.md", "card")
    for name in ("model.pt", "model.json", "model_last.pt", ".part-7-model.pt"):
        write(kept / name, f"trained {name}")
    model.mkdir()
    names = container.artifact.assemble(
        bundle, kept, model, ["configs/*", "models/*", "!models/*_last.pt"], {"lr": "it's"}
    )
    assert names == ["bundle/configs/train.json", "bundle/models/model.pt", "bundle/models/model.json"]
    assert (model / "bundle" / "models" / "model.pt").read_text() == "trained model.pt"
    manifest = json.loads((model / "manifest.json").read_text())
    assert manifest["overrides"] == {"lr": "it's"} and manifest["format"] == 1
    found = {path.relative_to(model).as_posix(): path for path in model.rglob("*") if path.is_file()}
    assert set(found) == {*names, "manifest.json"}
    for name, entry in manifest["files"].items():
        content = found[name].read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    everything = container.artifact.assemble(bundle, kept, tmp_path / "all" / "model", ["*"], {})
    assert sorted(everything) == sorted([*names, "bundle/docs/README.md", "bundle/models/model_last.pt"])


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (None, "job.json: cannot be read"),
        ("{", "job.json: is not valid JSON"),
        ({}, "the kind is 'None'"),
        ({"kind": "dance"}, "the kind is 'dance', but train or module is wanted"),
        ({"kind": "train", "launch": "srun"}, "launch is 'srun', but one of none, torchrun, mpirun, smddprun"),
    ],
)
def test_a_broken_plan_is_one_sentence_and_the_failure_file(job: Any, message: str, tmp_path: Path) -> None:
    code = tmp_path / "code"
    (code / "bundle").mkdir(parents=True)
    for file in CONTAINER.glob("*.py"):
        write(code / file.name, file.read_text())
    if job is not None:
        write(code / "job.json", job)
    write(tmp_path / "ml" / "input" / "config" / "resourceconfig.json", {"current_host": "a", "hosts": ["a"]})
    env = {"PATH": "/usr/bin:/bin", "SAGEMAKER_BASE_DIR": str(tmp_path / "ml")}
    done = subprocess.run(
        [sys.executable, str(code / "entry.py")], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr + done.stdout
    failure = (tmp_path / "ml" / "output" / "failure").read_text()
    assert message in failure and "\n" not in failure


def test_trials_of_a_search_do_not_share_checkpoints(
    container: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"kind": "train", "configs": ["configs/train.json"], "overrides": {"ckpt_dir": "{checkpoints}/models"}}
    found = []
    for trial, hyperparameters in (("search-001", {"lr": "lr"}), ("search-002", {}), ("alone", None)):
        monkeypatch.setenv("TRAINING_JOB_NAME", trial)
        write(tmp_path / trial / "input" / "config" / "resourceconfig.json", {})
        (tmp_path / trial / "work").mkdir()
        places = container.instructions.Places(tmp_path / trial)
        more = {} if hyperparameters is None else {"hyperparameters": hyperparameters}
        _, overrides = container.instructions.arguments_of({**job, **more}, places, places.cluster())
        found.append(Path(overrides["ckpt_dir"]).relative_to(tmp_path / trial).as_posix())
    assert found == ["checkpoints/search-001/models", "checkpoints/search-002/models", "checkpoints/models"]
