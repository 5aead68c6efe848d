"""Who started this process, as which of how many: torchrun, mpirun, Slurm's srun, or SageMaker's mpirun.

Each launcher tells it in variables of its own; PyTorch reads torchrun's. The nearest launcher wins: torchrun inside of
a Slurm job over Slurm, mpirun over the srun that mpirun itself uses.

Sources of the names: docs.pytorch.org/docs/stable/elastic/run.html; Open MPI's docs, "Environment variables that
Open MPI sets"; MPICH's Hydra; slurm.schedmd.com/srun.html, "Output environment variables"; the ENVIRONMENT_VARIABLES.md
of github.com/aws/sagemaker-training-toolkit.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from scripts.errors import InputError

TORCHRUN, MPIRUN, SRUN = "torchrun", "mpirun", "srun"
TORCH_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
OPEN_MPI = {
    "rank": "OMPI_COMM_WORLD_RANK",
    "local_rank": "OMPI_COMM_WORLD_LOCAL_RANK",
    "world_size": "OMPI_COMM_WORLD_SIZE",
    "local_world_size": "OMPI_COMM_WORLD_LOCAL_SIZE",
}
# MPICH and Intel MPI. srun can set PMI_RANK as well, but only Hydra numbers the processes of a host.
HYDRA = {
    "rank": "PMI_RANK",
    "local_rank": "MPI_LOCALRANKID",
    "world_size": "PMI_SIZE",
    "local_world_size": "MPI_LOCALNRANKS",
}
LOCALHOST = "127.0.0.1"
# Above the ports of services, below those that Linux gives to outgoing connections (32768 on).
FIRST_PORT, PORTS = 15000, 17000


@dataclass(frozen=True)
class Launch:
    """A process among those of its job.

    Attributes:
        launcher: ``torchrun``, ``mpirun`` or ``srun``.
        rank: of this process among all, from 0.
        local_rank: of this process among those of its machine, from 0: the number of its GPU.
        world_size: number of all processes.
        local_world_size: number of processes on this machine.
        master_addr: name or address of the machine of rank 0.
        master_port: TCP port there on which the processes meet.
    """

    launcher: str
    rank: int
    local_rank: int
    world_size: int
    local_world_size: int
    master_addr: str
    master_port: int

    def variables(self) -> dict[str, str]:
        """The environment that PyTorch and libraries on top of it read."""
        return {
            "RANK": str(self.rank),
            "LOCAL_RANK": str(self.local_rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_WORLD_SIZE": str(self.local_world_size),
            "MASTER_ADDR": self.master_addr,
            "MASTER_PORT": str(self.master_port),
        }

    def command(self) -> list[str]:
        """The words that start such processes, to be put before a Python program's arguments."""
        if self.launcher == MPIRUN:
            return ["mpirun", "-n", str(self.world_size), "python"]
        if self.launcher == SRUN:
            return ["srun", f"--ntasks={self.world_size}", "python"]
        several = self.world_size > self.local_world_size
        nodes = f"--nnodes={self.world_size // self.local_world_size}" if several else "--standalone"
        return ["torchrun", nodes, f"--nproc_per_node={self.local_world_size}"]


def find_launch(env: Mapping[str, str] = os.environ) -> Launch | None:
    """What the environment tells about this process; None where no launcher started it.

    Args:
        env: variables by name.

    Raises:
        InputError: the variables contradict each other, or one that is needed is absent or no number.
    """
    if "RANK" in env:
        return _torchrun(env)
    for names in (OPEN_MPI, HYDRA):
        if names["rank"] in env and names["local_rank"] in env:
            return _mpirun(env, names)
    # A shell of salloc or sbatch has SLURM_NTASKS and even SLURM_PROCID, but only srun starts tasks of a step. Ray's
    # workers inherit the variables of the srun that started Ray.
    if "SLURM_PROCID" in env and "SLURM_STEP_NUM_TASKS" in env and "RAY_RAYLET_PID" not in env:
        return _srun(env)
    if env.get("WORLD_SIZE", "1") not in ("", "1"):
        raise InputError(
            f"WORLD_SIZE is {env['WORLD_SIZE']}, but RANK is not set and no launcher is known; start with torchrun, "
            "mpirun or srun, or unset WORLD_SIZE."
        )
    return None


def _torchrun(env: Mapping[str, str]) -> Launch:
    missing = [name for name in TORCH_VARIABLES if not env.get(name)]
    if missing:
        raise InputError(
            f"RANK is set, but {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not; torchrun sets them "
            f"all: start with it, or set all of {', '.join(TORCH_VARIABLES)}."
        )
    world_size = _number(env, "WORLD_SIZE")
    local_world_size = _number(env, "LOCAL_WORLD_SIZE") if env.get("LOCAL_WORLD_SIZE") else world_size
    return _checked(
        Launch(
            TORCHRUN,
            _number(env, "RANK"),
            _number(env, "LOCAL_RANK"),
            world_size,
            local_world_size,
            env["MASTER_ADDR"],
            _number(env, "MASTER_PORT"),
        )
    )


def _mpirun(env: Mapping[str, str], names: Mapping[str, str]) -> Launch:
    rank, local_rank, world_size = (_number(env, names[key]) for key in ("rank", "local_rank", "world_size"))
    name = names["local_world_size"]
    local_world_size = _number(env, name) if env.get(name) else world_size
    # The same in all processes of a job, and different between jobs of one machine.
    job = env.get("PMIX_NAMESPACE") or env.get("OMPI_MCA_ess_base_jobid") or ""
    address = env.get("MASTER_ADDR") or _sagemaker_master(env, rank)
    if not address and world_size > local_world_size:
        raise InputError(
            f"mpirun started {world_size} processes on several machines, but MASTER_ADDR is not set; give it the "
            "machine of rank 0: mpirun -x MASTER_ADDR=HOST ..."
        )
    port = _port(env, job)
    return _checked(Launch(MPIRUN, rank, local_rank, world_size, local_world_size, address or LOCALHOST, port))


def _srun(env: Mapping[str, str]) -> Launch:
    world_size = _number(env, "SLURM_STEP_NUM_TASKS")
    rank, local_rank = _number(env, "SLURM_PROCID"), _number(env, "SLURM_LOCALID")
    nodes = env.get("SLURM_STEP_NODELIST") or env.get("SLURM_JOB_NODELIST") or env.get("SLURM_NODELIST") or ""
    # "2(x3),1" tells the tasks of each node in their order.
    tasks = _expanded(env.get("SLURM_STEP_TASKS_PER_NODE", ""))
    node = int(env.get("SLURM_NODEID", "0"))
    local_world_size = tasks[node] if node < len(tasks) else world_size
    job = f"{env.get('SLURM_JOB_ID', '')}.{env.get('SLURM_STEP_ID', '')}"
    address = env.get("MASTER_ADDR") or (first_host(nodes) if nodes else "")
    if not address:
        raise InputError(
            f"srun started {world_size} tasks, but neither SLURM_STEP_NODELIST nor MASTER_ADDR is set; set MASTER_ADDR "
            "to the node of task 0."
        )
    return _checked(Launch(SRUN, rank, local_rank, world_size, local_world_size, address, _port(env, job)))


def first_host(nodelist: str) -> str:
    """The first host of Slurm's compressed list: ``gpu[03-05,9],login`` gives ``gpu03``."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodelist.strip())
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first.group()) if first else ""


def _expanded(tasks: str) -> list[int]:
    """Slurm's ``2(x3),1`` as ``[2, 2, 2, 1]``."""
    counts = re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks)
    return [int(count) for count, times in counts for _ in range(int(times or 1))]


def _sagemaker_master(env: Mapping[str, str], rank: int) -> str:
    """SageMaker's first host, on which its toolkit starts rank 0; empty elsewhere."""
    if not env.get("SM_HOSTS"):
        return ""
    try:
        hosts = json.loads(env["SM_HOSTS"])
        master = str(hosts[0])
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"SM_HOSTS is {env['SM_HOSTS']!r}, not a JSON list of hosts; set MASTER_ADDR.") from error
    here = env.get("SM_CURRENT_HOST", master)
    if rank == 0 and here != master:
        raise InputError(
            f"rank 0 runs on {here}, but the first of SM_HOSTS is {master}; set MASTER_ADDR to {here} in all processes."
        )
    return master


def _port(env: Mapping[str, str], job: str) -> int:
    """MASTER_PORT, or a port that the job's name gives, so that jobs on one machine do not meet."""
    return _number(env, "MASTER_PORT") if env.get("MASTER_PORT") else FIRST_PORT + zlib.crc32(job.encode()) % PORTS


def _number(env: Mapping[str, str], name: str) -> int:
    value = env.get(name, "")
    if not value.isdecimal():
        found = f"is {value!r}, not a whole number" if value else "is not set"
        raise InputError(f"{name} {found}; start with torchrun, mpirun or srun, which set it.")
    return int(value)


def _checked(launch: Launch) -> Launch:
    if launch.rank >= launch.world_size or launch.local_rank >= launch.local_world_size:
        raise InputError(
            f"{launch.launcher}'s variables contradict each other: rank {launch.rank} of {launch.world_size}, local "
            f"rank {launch.local_rank} of {launch.local_world_size}; unset what an earlier launch left behind."
        )
    return launch
