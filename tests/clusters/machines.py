"""Machines made of Linux namespaces: each has its own network, processes and host name; files are shared.

A machine's first process ends with the one that started it and takes all others of that machine with it, so no test
leaves a daemon.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundle"
HOME = "home"
# In a machine of its own: the names of all, and its own.
ENTER = """
mount --bind "$1" /etc/hosts
hostname "$2"
shift 2
exec "$@"
"""


def require(*commands: str) -> None:
    """Skip the test unless it runs as Linux's root with these commands, and may make namespaces."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("network namespaces and Slurm's daemons need root")
    missing = [command for command in ("ip", "nsenter", "unshare", *commands) if shutil.which(command) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    probe = subprocess.run(["unshare", "--net", "--pid", "--fork", "--mount-proc", "true"], capture_output=True)
    if probe.returncode:
        pytest.skip(f"this machine allows no namespaces: {probe.stderr.decode().strip()}")


def wait_for(what: str, happened: Callable[[], bool], seconds: float) -> None:
    """Wait until something has happened; fail the test after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:g} s")
        time.sleep(0.2)


def stop(process: subprocess.Popen[str], seconds: float = 20) -> None:
    """End a process, and all of its machine if it is one's first.

    Not by SIGTERM: unshare(1) ignores it while it waits for what it started.
    """
    process.kill()
    process.wait(seconds)


class Machines:
    """Machines on one bridge, to which the testing machine belongs as ``home``.

    Attributes:
        addresses: IPv4 addresses by name.
        hosts: the file that names them.
    """

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        # Names of interfaces have at most 15 characters; those of another test session must differ.
        self.mark = f"t{os.getpid() % 100000}"
        subnet = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.addresses = {name: f"{subnet}.{index + 1}" for index, name in enumerate(names)} | {HOME: f"{subnet}.254"}
        self.hosts = folder / "hosts"
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self.addresses.items())]
        self.hosts.write_text("\n".join(lines) + "\n")

    def enter(self, name: str, command: Sequence[str | Path]) -> list[str]:
        """``command`` as the first process of the machine ``name``."""
        space = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--mount-proc"]
        script = ["sh", "-ec", ENTER, "enter", str(self.hosts), name]
        # Not `ip netns exec`: it hides the control groups, without which slurmd does not start.
        return ["nsenter", f"--net=/run/netns/{self.mark}{name}", *space, *script, *map(str, command)]

    def start(
        self, name: str, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start ``command`` on a machine, in bundle/, its output to the file ``log``."""
        with log.open("a") as out:
            return subprocess.Popen(
                self.enter(name, command), cwd=BUNDLE, env=env, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip

    def cut(self, name: str) -> None:
        """Unplug a machine."""
        _ip("link", "set", self.mark + name, "down")

    def plug(self) -> None:
        """Make bridge, namespaces and cables."""
        _ip("link", "add", self.mark, "type", "bridge")
        _ip("addr", "add", f"{self.addresses[HOME]}/24", "dev", self.mark)
        _ip("link", "set", self.mark, "up")
        for name in self.addresses.keys() - {HOME}:
            space = self.mark + name
            _ip("netns", "add", space)
            _ip("link", "add", space, "master", self.mark, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", space, "up")
            inside = [("link", "set", "lo", "up"), ("link", "set", "eth0", "up")]
            inside.append(("addr", "add", f"{self.addresses[name]}/24", "dev", "eth0"))
            for command in inside:
                _ip("-n", space, *command)

    def unplug(self) -> None:
        """Remove all of that, whatever there is of it."""
        for name in self.addresses.keys() - {HOME}:
            subprocess.run(["ip", "netns", "del", self.mark + name], capture_output=True)
            subprocess.run(["ip", "link", "del", self.mark + name], capture_output=True)
        subprocess.run(["ip", "link", "del", self.mark], capture_output=True)


@contextmanager
def machines(names: Sequence[str], folder: Path) -> Iterator[Machines]:
    """Machines with these names, for as long as the block runs."""
    made = Machines(names, folder)
    try:
        made.plug()
        yield made
    finally:
        made.unplug()


@contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is stopped at the end of the block."""
    try:
        yield process
    finally:
        stop(process)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)
