"""A Slurm cluster on this machine: the real slurmctld, slurmd and munged; a node is a machine of ``machines``."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from forked import LEAN
from machines import BUNDLE, HOME, Machines, machines, running, wait_for

NODES = ("node1", "node2")
COMMANDS = ("slurmctld", "slurmd", "munged", "sbatch")
# cred_expire: a job that is requeued waits until its old credential has expired, two minutes by default.
CONFIG = """
ClusterName=test
SlurmctldHost={host}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SlurmctldPort=6817
SlurmdPort=6818
ReturnToService=2
KillWait=30
{nodes}
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """Commands of a running cluster, as its user types them in bundle/.

    Attributes:
        machines: the nodes.
        env: environment of the commands.
    """

    def __init__(self, folder: Path, nodes: Machines) -> None:
        self.folder = folder
        self.machines = nodes
        python = Path(sys.executable).parent
        self.env = {"PATH": f"{python}:{os.environ['PATH']}", "SLURM_CONF": str(folder / "slurm.conf")}
        self.env |= {"BRATS_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1", **LEAN}

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        """Run one of Slurm's commands; return what it prints."""
        done = subprocess.run(
            command, cwd=BUNDLE, env=self.env | dict(env or {}), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}{self.logs()}"
        return done.stdout

    def submit(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """Submit a file; return the job's number."""
        output = f"--output={self.folder}/%j.out"
        # No GPUs here: one CPU a node, so that two jobs' worth of processes share this machine's two.
        return self.run(
            "sbatch", "--parsable", output, "--gpus-per-node=0", "--nodes=2", "--cpus-per-task=2", *arguments, env=env
        ).strip()

    def state(self, job: str) -> dict[str, str]:
        """Fields of ``scontrol show job``."""
        shown = self.run("scontrol", "--oneliner", "show", "job", job)
        return dict(field.split("=", 1) for field in shown.split() if "=" in field)

    def output(self, job: str) -> str:
        """What the job has printed."""
        file = self.folder / f"{job}.out"
        return file.read_text() if file.exists() else ""

    def wait(self, job: str, seconds: float) -> dict[str, str]:
        """Wait until a job has ended; return its fields."""
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        wait_for(f"end of job {job}", lambda: self.state(job)["JobState"] in ended, seconds)
        return self.state(job)

    def logs(self) -> str:
        """The daemons' last words, for a test that failed."""
        files = sorted(self.folder.glob("*.log"))
        return "".join(f"\n== {file.name}\n" + "\n".join(file.read_text().splitlines()[-15:]) for file in files)


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """A cluster of two nodes with two CPUs each, for as long as the block runs; everything lies in ``folder``."""
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    with ExitStack() as stack:
        nodes = stack.enter_context(machines(NODES, folder))
        listed = [f"NodeName={name} NodeAddr={nodes.addresses[name]} CPUs=2 RealMemory=2000" for name in NODES]
        host, address = socket.gethostname().split(".")[0], nodes.addresses[HOME]
        config = CONFIG.format(host=host, address=address, folder=folder, nodes="\n".join(listed))
        (folder / "slurm.conf").write_text(config)
        cluster = Slurm(folder, nodes)
        munged = [f"--{what}={folder}/munge.{what.split('-')[0]}" for what in ("socket", "key-file", "seed-file")]
        munged += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log"]
        # --force: the test's folder may lie under one that any user may write to.
        daemons = {"munged": ["munged", "--foreground", "--force", *munged], "slurmctld": ["slurmctld", "-D"]}
        for name, command in daemons.items():
            stack.enter_context(running(_daemon(command, folder / f"{name}.out", cluster.env)))
            if name == "munged":
                wait_for("munged's socket", (folder / "munge.socket").exists, 20)
        for node in NODES:
            command = [shutil.which("slurmd"), "-D", "-N", node]
            stack.enter_context(running(nodes.start(node, command, folder / f"{node}.out", cluster.env)))
        wait_for("idle nodes", lambda: cluster.run("sinfo", "-h", "-o", "%T %D").split() == ["idle", "2"], 60)
        yield cluster


def _daemon(command: list[str], log: Path, env: Mapping[str, str]) -> subprocess.Popen[str]:
    with log.open("a") as out:
        return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, text=True)
