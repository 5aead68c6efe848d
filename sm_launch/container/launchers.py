"""The command lines that start a job's processes on one host or several. Standard library only, Python 3.8 on.

torchrun is the usual one. mpirun and smddprun are for SMDDP, whose AllReduce needs them (AWS docs, "Use the SMDDP
library in your PyTorch training script"); their command lines are those of the sagemaker-training toolkit 5.1.4
(mpi.py, smdataparallel.py), untested on AWS.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

logger = logging.getLogger("sm_launch")

NONE, TORCHRUN, MPIRUN, SMDDPRUN = "none", "torchrun", "mpirun", "smddprun"
LAUNCHERS = (NONE, TORCHRUN, MPIRUN, SMDDPRUN)
# The toolkit's (sagemaker_pytorch_container/training.py, smdataparallel.py).
MASTER_PORT, SMDDP_PORT, SSH_PORT = 7777, 7592, 22
# Another port, for jobs that share a machine. The toolkit sets MASTER_PORT itself.
PORT_VARIABLE = "SM_LAUNCH_MASTER_PORT"
# SM_EFA_NCCL_INSTANCES and SM_EFA_RDMA_INSTANCES of the toolkit, as far as they have NVIDIA GPUs.
RDMA_INSTANCES = ("ml.p4d.24xlarge", "ml.p4de.24xlarge", "ml.p5.48xlarge", "ml.p5e.48xlarge", "ml.p6e-gb200.36xlarge")
EFA_INSTANCES = ("ml.g4dn.8xlarge", "ml.g4dn.12xlarge", "ml.g5.48xlarge", "ml.p3dn.24xlarge") + RDMA_INSTANCES
# What tells a process about its own host must not come from the first one.
OF_ONE_HOST = ("HOME", "HOSTNAME", "OLDPWD", "PWD", "SHLVL", "SM_CURRENT_HOST", "TERM", "_")
SSHD = "/usr/sbin/sshd"
# What the toolkit waits for its hosts, in seconds.
HOSTS_WAIT = 900.0


@dataclass(frozen=True)
class Cluster:
    """This host among those of the job, from resourceconfig.json.

    Attributes:
        hosts: names, algo-1 first.
        current: this host's.
        interface: the network interface between them.
        instance_type: empty where the platform does not tell it.
    """

    hosts: tuple
    current: str
    interface: str = "eth0"
    instance_type: str = ""

    @property
    def index(self) -> int:
        """This host's place among the hosts, from 0."""
        return self.hosts.index(self.current)


def torchrun(cluster: Cluster, processes: int, port: int, python: str, arguments: Sequence[str]) -> list[str]:
    """``processes`` on this host of those that all hosts start; algo-1 is the meeting place.

    Args:
        cluster: the hosts.
        processes: number of processes on each host.
        port: TCP port on the first of several hosts; a single host finds a free one.
        python: the interpreter.
        arguments: what it gets: ``-m module ...`` or a script.
    """
    if len(cluster.hosts) == 1:
        where = ["--standalone"]
    else:
        where = [
            f"--nnodes={len(cluster.hosts)}", f"--node_rank={cluster.index}", f"--master_addr={cluster.hosts[0]}",
            f"--master_port={port}",
        ]  # fmt: skip
    return [python, "-m", "torch.distributed.run", *where, f"--nproc_per_node={processes}", *arguments]


def mpirun(
    cluster: Cluster,
    processes: int,
    exported: Sequence[str],
    python: str,
    arguments: Sequence[str],
    smddp: bool = False,
    preload: str = "",
    mpi4py: bool = False,
) -> list[str]:
    """What the first host starts; it reaches the others by ssh.

    Args:
        cluster: the hosts.
        processes: number of processes on each host.
        exported: names of environment variables that the processes get.
        python: the interpreter.
        arguments: what it gets.
        smddp: start them through smddprun.
        preload: the toolkit's library that makes gethostname tell algo-N; empty leaves it out.
        mpi4py: run under ``-m mpi4py``, which ends all processes when one raises.
    """
    several = len(cluster.hosts) > 1
    slots = "" if processes == 1 and not (smddp and several) else f":{processes}"
    hosts = cluster.hosts if smddp and not several else [f"{host}{slots}" for host in cluster.hosts]
    command = ["mpirun", "--host", ",".join(hosts), "-np", str(processes * len(cluster.hosts)), "--allow-run-as-root"]
    command += ["--tag-output", *(["--oversubscribe"] if smddp else ["--display-map"])]
    options = {
        "btl_tcp_if_include": cluster.interface,
        "oob_tcp_if_include": cluster.interface,
        "plm_rsh_no_tree_spawn": "1",
        "pml": "ob1",
        "btl": "^openib",
        "orte_abort_on_non_zero_status": "1",
        "btl_vader_single_copy_mechanism": "none",
    }
    if smddp:
        options["plm_rsh_num_concurrent"] = str(len(cluster.hosts))
    else:
        command += ["-bind-to", "none", "-map-by", "slot"]
    for name, value in options.items():
        command += ["-mca", name, value]
    variables = [f"NCCL_SOCKET_IFNAME={cluster.interface}", "NCCL_DEBUG=WARN", "LD_LIBRARY_PATH", "PATH"]
    variables += _smddp_variables(cluster) if smddp else ["NCCL_MIN_NRINGS=4"]
    variables += [f"LD_PRELOAD={preload}"] if preload else []
    if cluster.instance_type in EFA_INSTANCES:
        variables += ["NCCL_PROTO=simple"] + ([] if smddp else ["FI_PROVIDER=efa"])
    if cluster.instance_type in RDMA_INSTANCES:
        variables.append("FI_EFA_USE_DEVICE_RDMA=1")
    named = {variable.partition("=")[0] for variable in variables}
    for variable in [*variables, *(name for name in exported if name not in named)]:
        command += ["-x", variable]
    return [*command, *(["smddprun"] if smddp else []), python, *(["-m", "mpi4py"] if mpi4py else []), *arguments]


def _smddp_variables(cluster: Cluster) -> list[str]:
    """What SMDDP reads; it meets at the first host where there are several."""
    if len(cluster.hosts) == 1:
        return ["SMDATAPARALLEL_USE_SINGLENODE=1", "FI_PROVIDER=efa", "RDMAV_FORK_SAFE=1"]
    return [
        "SMDATAPARALLEL_USE_HOMOGENEOUS=1",
        "FI_PROVIDER=efa",
        "RDMAV_FORK_SAFE=1",
        f"SMDATAPARALLEL_SERVER_ADDR={cluster.hosts[0]}",
        f"SMDATAPARALLEL_SERVER_PORT={SMDDP_PORT}",
        f"SAGEMAKER_INSTANCE_TYPE={cluster.instance_type}",
    ]


def launched(
    launch: str, cluster: Cluster, processes: int, env: Mapping[str, str], python: str, arguments: Sequence[str]
) -> list[str] | None:
    """The command of this host; None where another host's mpirun starts this one's processes.

    Args:
        launch: one of ``LAUNCHERS``.
        cluster: the hosts.
        processes: number of processes on each host.
        env: the processes' environment; SM_LAUNCH_MASTER_PORT in it chooses torchrun's port.
        python: the interpreter.
        arguments: what it gets.
    """
    if launch == NONE:
        return [python, *arguments]
    if launch == TORCHRUN:
        return torchrun(cluster, processes, int(env.get(PORT_VARIABLE, MASTER_PORT)), python, arguments)
    if cluster.index > 0:
        return None
    shim = find_spec("gethostname")
    return mpirun(
        cluster, processes, sorted(set(env) - set(OF_ONE_HOST)), python, arguments, smddp=launch == SMDDPRUN,
        preload=shim.origin or "" if shim else "", mpi4py=find_spec("mpi4py") is not None,
    )  # fmt: skip


def wait_for_names(cluster: Cluster, seconds: float = HOSTS_WAIT) -> None:
    """Wait until the hosts' names resolve; containers do not start at the same moment.

    Raises:
        TimeoutError: they don't.
    """
    deadline = time.monotonic() + seconds
    for host in cluster.hosts:
        while True:
            try:
                socket.gethostbyname(host)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{host} does not resolve after {seconds:.0f} s") from error
                time.sleep(1)


def start_sshd() -> subprocess.Popen:
    """The daemon through which mpirun reaches this host; the image must carry it and its keys, as AWS's do."""
    return subprocess.Popen([SSHD, "-D"])


def wait_for_ssh(cluster: Cluster, seconds: float = HOSTS_WAIT) -> None:
    """Wait until every host's ssh port is open.

    Raises:
        TimeoutError: one is not.
    """
    deadline = time.monotonic() + seconds
    for host in cluster.hosts:
        while True:
            try:
                socket.create_connection((host, SSH_PORT), timeout=5).close()
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no ssh to {host} after {seconds:.0f} s") from error
                time.sleep(1)


def wait_for_orted(seconds: float = HOSTS_WAIT) -> None:
    """Wait until mpirun's daemon has come and gone on this host.

    Raises:
        TimeoutError: it does not come.
    """
    deadline = time.monotonic() + seconds
    while not _runs("orted"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"mpirun has started nothing on this host after {seconds:.0f} s")
        time.sleep(1)
    while _runs("orted"):
        time.sleep(1)


def _runs(name: str) -> bool:
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == name:
                return True
        except OSError:
            # The process ended meanwhile.
            continue
    return False
