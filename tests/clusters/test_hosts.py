"""torchrun on two hosts, which are two network namespaces: they train one model, and neither outlives the other."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import machines
import pytest
import torch
from forked import LEAN
from machines import BUNDLE, Machines
from overrides import knobs

PORT = 29400
CONFIGS = "['configs/train.json','configs/multi_gpu_train.json']"
# A run that is only ended from outside.
ENDLESS = 100_000


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Machines]:
    machines.require()
    with machines.machines(("east", "west"), tmp_path) as made:
        yield made


def environment(folder: Path) -> dict[str, str]:
    """What a process needs to know on such a host: both have several interfaces."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    cache = str(folder / "cache")
    return {"PATH": path, "HOME": str(folder), "BRATS_CACHE_DIR": cache, "OMP_NUM_THREADS": "1"} | {
        "GLOO_SOCKET_IFNAME": "eth0", **LEAN,
    }  # fmt: skip


def torchrun(two: Machines, name: str, folder: Path, arguments: list[str]) -> list[str]:
    """The command that is typed on a host, each with a folder of models of its own."""
    models = ["--run_name", "run", "--ckpt_dir", str(folder / name)]
    return [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d",
        f"--rdzv_endpoint={two.addresses['east']}:{PORT}", f"--local_addr={two.addresses[name]}",
        "-m", "monai.bundle", "run", "--config_file", CONFIGS, *models, *arguments,
    ]  # fmt: skip


def start_both(two: Machines, data: Path, folder: Path, epochs: int) -> list:
    """torchrun on both hosts; logs are ``NAME.log``."""
    arguments, env = knobs(data, folder, epochs=str(epochs)), environment(folder)
    names = ("east", "west")
    return [two.start(n, torchrun(two, n, folder, arguments), folder / f"{n}.log", env) for n in names]


def test_a_host_that_is_lost_ends_the_other(two: Machines, tiny_decathlon: Path, tmp_path: Path) -> None:
    both = dict(zip(("east", "west"), start_both(two, tiny_decathlon, tmp_path, ENDLESS), strict=True))
    with machines.running(both["east"]), machines.running(both["west"]):
        states = [tmp_path / name / "model_last.pt" for name in both]
        machines.wait_for("training", lambda: any(state.exists() for state in states), 150)
        both["west"].kill()
        machines.wait_for("end of east", lambda: both["east"].poll() is not None, 120)
        log = (tmp_path / "east.log").read_text()
        assert both["east"].returncode != 0
        # gloo's words for the connection that broke, in the traceback of the process that was left.
        assert re.search(r"closed by peer|reset by peer", log, re.IGNORECASE), log
        assert "ChildFailedError" in log
    # Which of the hosts has rank 0 is torchrun's choice; they train one model.
    assert [state.exists() for state in states].count(True) == 1


# Rank 0 never comes to what rank 1 waits for, from before the cut on or from when there is a file of that name.
PEERS = """
import sys, time
from pathlib import Path
from scripts import distributed, keepalive
keepalive.IDLE_S, keepalive.INTERVAL_S = 4, 2
rank = distributed.start("gloo")
print("met", flush=True)
if rank == 0:
    time.sleep(600)
while not Path(sys.argv[1]).exists():
    time.sleep(0.1)
distributed.from_rank_zero(str)
"""


@pytest.mark.parametrize("fault", ["while it is waited for", "before it is waited for"])
def test_a_host_that_vanishes_ends_the_other(two: Machines, tmp_path: Path, fault: str) -> None:
    """Who waits already has nothing to send, and asks; who comes later sends, and gets no answer: 10 s here."""
    names, flag = ("east", "west"), tmp_path / "wait"
    env = environment(tmp_path) | {"MASTER_ADDR": two.addresses["east"], "MASTER_PORT": str(PORT)}
    env |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    command = [sys.executable, "-c", PEERS, flag]
    ranks = [two.start(n, command, tmp_path / n, env | {"RANK": str(rank)}) for rank, n in enumerate(names)]
    with machines.running(ranks[0]), machines.running(ranks[1]):
        machines.wait_for("meeting", lambda: all("met" in (tmp_path / n).read_text() for n in names), 150)
        if fault == "while it is waited for":
            flag.touch()
            # Time to come to the wait; either order of events must end it.
            time.sleep(1)
        two.cut("east")
        flag.touch()
        machines.wait_for("end of west", lambda: ranks[1].poll() is not None, 120)
        assert ranks[0].poll() is None
        assert re.search(r"timed out|No route to host", (tmp_path / "west").read_text(), re.IGNORECASE)


SSHD = """
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile {folder}/sshd-{name}.pid
StrictModes no
UsePAM no
"""


@pytest.fixture
def ssh(two: Machines, tmp_path: Path) -> Iterator[str]:
    """An sshd on each host, and the command that gets into both."""
    machines.require("ssh", "sshd", "ssh-keygen")
    for key in ("host_key", "user_key"):
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / key)]
        subprocess.run(made, check=True, timeout=20)
    # The folder that sshd locks itself into, which its service makes elsewhere.
    Path("/run/sshd").mkdir(exist_ok=True)
    with ExitStack() as stack:
        for name in ("east", "west"):
            config = tmp_path / f"sshd-{name}"
            config.write_text(SSHD.format(address=two.addresses[name], folder=tmp_path, name=name))
            command = [shutil.which("sshd"), "-D", "-e", "-f", str(config)]
            log = tmp_path / f"sshd-{name}.log"
            stack.enter_context(machines.running(two.start(name, command, log)))
            machines.wait_for("sshd", lambda log=log: "Server listening" in log.read_text(), 30)
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", f"UserKnownHostsFile={tmp_path}/known"]
        yield " ".join(["ssh", "-i", str(tmp_path / "user_key"), *(f"-o {option}" for option in options)])


def hosts_script(two: Machines, data: Path, folder: Path, ssh: str, epochs: int) -> subprocess.Popen[str]:
    """The script for plain hosts, started on the testing machine; its log is ``hosts.log``."""
    addresses = [two.addresses["east"], two.addresses["west"]]
    setup = folder / "setup.sh"
    setup.write_text("".join(f"export {name}='{value}'\n" for name, value in environment(folder).items()))
    arguments = ["--", *knobs(data, folder, epochs=str(epochs)), "--ckpt_dir", str(folder / "models")]
    env = os.environ | {"SSH": ssh, "SETUP": str(setup), "GLOO_SOCKET_IFNAME": "eth0"}
    with (folder / "hosts.log").open("w") as log:
        return subprocess.Popen(
            ["bash", "docs/clusters/hosts.sh", *addresses, *arguments], cwd=BUNDLE, env=env, text=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


def test_the_script_for_plain_hosts_trains(two: Machines, ssh: str, tiny_decathlon: Path, tmp_path: Path) -> None:
    with machines.running(hosts_script(two, tiny_decathlon, tmp_path, ssh, epochs=1)) as script:
        machines.wait_for("end of the script", lambda: script.poll() is not None, 150)
    assert script.returncode == 0, (tmp_path / "hosts.log").read_text()
    assert torch.load(tmp_path / "models/model.pt", weights_only=True)


def test_the_script_stops_all_hosts_when_one_fails(
    two: Machines, ssh: str, tiny_decathlon: Path, tmp_path: Path
) -> None:
    with machines.running(hosts_script(two, tiny_decathlon, tmp_path, ssh, ENDLESS)) as script:
        machines.wait_for("training", (tmp_path / "models/model_last.pt").exists, 150)
        trainers = training_on(two, "west")
        assert trainers
        os.kill(trainers[-1], signal.SIGKILL)
        machines.wait_for("end of the script", lambda: script.poll() is not None, 60)
    assert script.returncode != 0
    assert "a host ended with exit code" in (tmp_path / "hosts.log").read_text()
    machines.wait_for("end of all processes", lambda: not training_on(two, "east") + training_on(two, "west"), 45)


def training_on(two: Machines, name: str) -> list[int]:
    """Process ids, as this machine counts them, of what runs monai.bundle on a host."""
    listed = subprocess.run(["ip", "netns", "pids", two.mark + name], capture_output=True, text=True, timeout=20)
    return [int(pid) for pid in listed.stdout.split() if is_training(Path(f"/proc/{pid}/cmdline"))]


def is_training(cmdline: Path) -> bool:
    """Whether a process is Python with the bundle's config, not a shell that has it among its words."""
    try:
        words = cmdline.read_text().split("\0")
    except OSError:
        # It has ended since it was listed.
        return False
    return "python" in Path(words[0]).name and "monai.bundle" in words
