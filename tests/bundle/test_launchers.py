"""Who started the processes, from the variables that each launcher sets."""

from __future__ import annotations

import json

import pytest
from scripts.errors import InputError
from scripts.launchers import Launch, find_launch, first_host

TORCHRUN = {
    "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "gpu1",
    "MASTER_PORT": "29400",
}  # fmt: skip
MPIRUN = {
    "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "prterun-gpu1-77@1",
}  # fmt: skip
HYDRA = {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
# What srun sets in a task, beside what the job's shell has.
JOB = {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
SRUN = JOB | {
    "SLURM_PROCID": "3", "SLURM_LOCALID": "0", "SLURM_NODEID": "2", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[07-08,11]", "SLURM_STEP_TASKS_PER_NODE": "2,1(x2)", "SLURM_JOB_NODELIST": "gpu[07-11]",
}  # fmt: skip
SM = {"SM_HOSTS": json.dumps(["algo-1", "algo-2"]), "SM_CURRENT_HOST": "algo-2"}


def test_no_launcher() -> None:
    for env in ({}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": ""}, {"MASTER_ADDR": "gpu1"}, SM):
        assert find_launch(env) is None


def test_torchrun() -> None:
    assert find_launch(TORCHRUN) == Launch("torchrun", 5, 1, 8, 4, "gpu1", 29400)
    assert find_launch(TORCHRUN).variables() == TORCHRUN
    assert find_launch(TORCHRUN).command() == ["torchrun", "--nnodes=2", "--nproc_per_node=4"]


def test_torchrun_wins_over_the_job_that_it_runs_in() -> None:
    for outer in (SRUN, JOB, MPIRUN, HYDRA):
        assert find_launch(outer | TORCHRUN) == find_launch(TORCHRUN)


def test_mpirun_on_one_machine() -> None:
    alone = MPIRUN | {"OMPI_COMM_WORLD_LOCAL_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "3"}
    launch = find_launch(alone)
    assert (launch.launcher, launch.rank, launch.local_rank, launch.world_size) == ("mpirun", 3, 3, 4)
    assert launch.master_addr == "127.0.0.1" and launch.command() == ["mpirun", "-n", "4", "python"]
    ports = {launch.master_port, find_launch(alone | {"PMIX_NAMESPACE": "prterun-gpu1-78@1"}).master_port}
    assert len(ports) == 2 and ports <= set(range(15000, 32000))


def test_mpirun_on_several_machines_needs_a_master() -> None:
    with pytest.raises(InputError, match="MASTER_ADDR is not set.*mpirun -x MASTER_ADDR=HOST"):
        find_launch(MPIRUN)
    named = find_launch(MPIRUN | {"MASTER_ADDR": "gpu1", "MASTER_PORT": "1234"})
    assert (named.master_addr, named.master_port, named.local_world_size) == ("gpu1", 1234, 2)


def test_mpirun_of_mpich() -> None:
    assert find_launch(HYDRA) == Launch("mpirun", 1, 1, 2, 2, "127.0.0.1", find_launch(HYDRA).master_port)


def test_mpirun_of_sagemaker_meets_on_its_first_host() -> None:
    assert find_launch(MPIRUN | SM).master_addr == "algo-1"
    first = MPIRUN | {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
    with pytest.raises(InputError, match="rank 0 runs on algo-2, but the first of SM_HOSTS is algo-1"):
        find_launch(first | SM)
    with pytest.raises(InputError, match="SM_HOSTS is 'algo-1', not a JSON list"):
        find_launch(MPIRUN | {"SM_HOSTS": "algo-1"})


def test_srun() -> None:
    launch = find_launch(SRUN)
    assert (launch.launcher, launch.rank, launch.local_rank, launch.world_size) == ("srun", 3, 0, 4)
    assert (launch.local_world_size, launch.master_addr) == (1, "gpu07")
    assert launch.command() == ["srun", "--ntasks=4", "python"]
    # Every task finds the same place to meet, and the next job another one.
    task = find_launch(SRUN | {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODEID": "0"})
    assert task.local_world_size == 2
    assert (task.master_addr, task.master_port) == (launch.master_addr, launch.master_port)
    assert find_launch(SRUN | {"SLURM_JOB_ID": "4712"}).master_port != launch.master_port
    assert find_launch(SRUN | {"MASTER_ADDR": "10.0.0.7"}).master_addr == "10.0.0.7"


def test_a_shell_of_slurm_is_no_task() -> None:
    assert find_launch(JOB) is None
    assert find_launch({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4"}) is None


def test_a_worker_of_ray_that_srun_started_is_no_task() -> None:
    assert find_launch(SRUN | {"RAY_RAYLET_PID": "77"}) is None


def test_mpirun_within_slurm_is_mpirun() -> None:
    assert find_launch(SRUN | MPIRUN | {"MASTER_ADDR": "gpu07"}).launcher == "mpirun"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu1", "gpu1"), ("gpu1,gpu2", "gpu1"), ("gpu[03-05,9],login", "gpu03"), ("a[1,3]-b[2-4],c", "a1-b2"),
        ("node-a,node-b", "node-a"), ("rack[1-2]node[01-16]", "rack1node01"), ("", ""),
    ],
)  # fmt: skip
def test_first_of_slurms_hosts(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE is 4, but RANK is not set"),
        ({"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}, "MASTER_ADDR and MASTER_PORT are not"),
        (TORCHRUN | {"MASTER_ADDR": ""}, "MASTER_ADDR is not"),
        (TORCHRUN | {"RANK": "8"}, "contradict each other: rank 8 of 8"),
        (TORCHRUN | {"LOCAL_RANK": "4"}, "local rank 4 of 4"),
        (TORCHRUN | {"WORLD_SIZE": "many"}, "WORLD_SIZE is 'many', not a whole number"),
        ({name: value for name, value in MPIRUN.items() if not name.endswith("WORLD_SIZE")}, "OMPI_COMM_WORLD_SIZE is"),
        (
            {name: value for name, value in SRUN.items() if not name.endswith("NODELIST")},
            "neither SLURM_STEP_NODELIST nor MASTER_ADDR",
        ),
    ],
)
def test_variables_that_contradict_each_other_are_one_sentence(env: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_launch(env)
