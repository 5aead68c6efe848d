"""The Slurm files of bundle/docs/clusters, submitted to a real Slurm of two nodes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import machines
import pytest
import torch
from overrides import knobs
from slurm import COMMANDS, Slurm, slurm


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    machines.require(*COMMANDS)
    with slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def epochs(folder: Path, job: str) -> list[int]:
    """Epochs in the job's metrics.jsonl."""
    lines = (folder / "runs" / f"slurm-{job}" / "metrics.jsonl").read_text().splitlines()
    return [line["epoch"] for line in map(json.loads, lines) if "epoch" in line]


def check_trained(cluster: Slurm, job: str, models: Path) -> None:
    """Hold an ended job against what both launchers must leave."""
    ended = cluster.wait(job, 240)
    assert (ended["JobState"], ended["ExitCode"]) == ("COMPLETED", "0:0"), cluster.output(job)
    assert ended["NodeList"] == "node[1-2]"
    assert all(torch.isfinite(value).all() for value in torch.load(models / "model.pt", weights_only=True).values())


def test_two_nodes_train_one_model_by_srun(cluster: Slurm, tiny_decathlon: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    job = cluster.submit(
        "docs/clusters/train.sbatch",
        *knobs(tiny_decathlon, tmp_path, epochs="2", ckpt_dir=str(models)),
        env={"GLOO_SOCKET_IFNAME": "eth0", "LAUNCHER": "srun"},
    )
    check_trained(cluster, job, models)
    assert epochs(tmp_path, job) == [1, 2]


def test_a_job_that_is_told_to_stop_queues_again_and_goes_on(
    cluster: Slurm, tiny_decathlon: Path, tmp_path: Path
) -> None:
    """By torchrun, to the end."""
    models, last = tmp_path / "models", 60
    job = cluster.submit(
        "docs/clusters/train.sbatch",
        *knobs(tiny_decathlon, tmp_path, epochs=str(last), ckpt_dir=str(models)),
        env={"GLOO_SOCKET_IFNAME": "eth0", "LAUNCHER": "torchrun"},
    )
    state = models / "model_last.pt"
    machines.wait_for("a state to go on from", state.exists, 150)
    # What Slurm does by itself before the time is up.
    cluster.run("scancel", "--batch", "--signal=TERM", job)
    machines.wait_for("queueing again", lambda: cluster.state(job)["Restarts"] == "1", 90)
    check_trained(cluster, job, models)
    # Had the second life begun anew, the first epochs would be there twice.
    assert epochs(tmp_path, job) == list(range(1, last + 1))


def test_a_cancelled_job_does_not_come_back(cluster: Slurm, tiny_decathlon: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    job = cluster.submit(
        "docs/clusters/train.sbatch",
        *knobs(tiny_decathlon, tmp_path, epochs="400", ckpt_dir=str(models)),
        env={"GLOO_SOCKET_IFNAME": "eth0"},
    )
    machines.wait_for("a state", (models / "model_last.pt").exists, 150)
    cluster.run("scancel", job)
    ended = cluster.wait(job, 120)
    assert (ended["JobState"], ended["Restarts"]) == ("CANCELLED", "0"), cluster.output(job)


# What a search does first, and leaves: who is in the cluster, by tasks on every node. Its exit code is no other's.
PROBE = """
import json, os, stat, sys
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

ray.init(address="auto", log_to_driver=False)

@ray.remote(num_cpus=1)
def where():
    return [os.uname().nodename, ray.util.get_node_ip_address()]

tasks = [where.options(scheduling_strategy=On(node["NodeID"], soft=False)).remote() for node in ray.nodes()]
token = os.environ["RAY_AUTH_TOKEN_PATH"]
found = {"nodes": sorted(ray.get(tasks)), "cpus": ray.cluster_resources()["CPU"], "token": token}
found["mode"] = stat.S_IMODE(os.stat(token).st_mode)
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
sys.exit(7)
"""


def test_a_ray_cluster_spans_the_nodes_of_a_job(cluster: Slurm, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason='Ray is not installed; pip install "ray[tune]"')
    probe, found = tmp_path / "probe.py", tmp_path / "found.json"
    probe.write_text(PROBE)
    # Ray's sockets lie in this folder, and their paths must be short.
    with tempfile.TemporaryDirectory() as short:
        command = f"--wrap=bash docs/clusters/ray_cluster.sh python {probe} {found}"
        job = cluster.submit(command, env={"TMPDIR": short})
        ended = cluster.wait(job, 240)
    assert found.exists(), cluster.output(job)
    assert (ended["JobState"], ended["ExitCode"]) == ("FAILED", "7:0"), cluster.output(job)
    seen = json.loads(found.read_text())
    assert seen["nodes"] == [[name, cluster.machines.addresses[name]] for name in ("node1", "node2")]
    assert seen["cpus"] == 4
    assert seen["mode"] == 0o600 and not Path(seen["token"]).exists()


def test_the_search_is_the_last_command_of_its_file() -> None:
    text = (machines.BUNDLE / "docs/clusters/search.sbatch").read_text()
    assert "python -m scripts.tune --search" in text.splitlines()[-1]
    # The published search.
    for option in ("--nodes=4", "--gpus-per-node=4", "--time=48:00:00"):
        assert f"#SBATCH {option}\n" in text
