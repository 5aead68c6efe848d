"""What separates a node from the machine: Linux namespaces, rootless ones too, or nothing but folders."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from sm_launch.errors import LaunchError

NAMESPACES, FOLDERS = "namespaces", "folders"
INIT = Path(__file__).with_name("node_init.py")
# Mounts, processes, host name. --kill-child lets nothing outlive unshare itself.
UNSHARE = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts")
AS_ROOT = ("--user", "--map-root-user")
PROBE_SECONDS = 20


@functools.cache
def privileges() -> tuple[str, ...] | None:
    """What unshare needs besides, here: nothing for root, a user namespace for others; None where it cannot be had."""
    if sys.platform != "linux":
        return None
    for extra in ((), AS_ROOT) if os.geteuid() == 0 else (AS_ROOT,):
        if _works(extra):
            return extra
    return None


def _works(extra: Sequence[str]) -> bool:
    """Whether a node can really be made: containers and hardened kernels refuse one part or another."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        for name in ("tree", "stash"):
            (top / name).mkdir()
        (top / "hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")
        spec = {
            "namespace": True, "files": {str(top / "hosts"): "/etc/hosts"}, "tree": str(top / "tree"),
            "stash": str(top / "stash"), "hostname": "algo-1", "command": ["test", "-d", "/opt/ml"], "cwd": "/",
            "environment": {"PATH": os.environ.get("PATH", os.defpath)}, "status": str(top / "status"),
        }  # fmt: skip
        (top / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        command = ["unshare", *extra, *UNSHARE, sys.executable, str(INIT), str(top / "spec.json")]
        try:
            # The end of its input would be the order to kill.
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as node:
                return node.wait(timeout=PROBE_SECONDS) == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


class Isolation:
    """The way a job's nodes are separated; a context manager that keeps an isolated job's network.

    Args:
        namespaces: False takes folders; None takes namespaces where they are to be had; True insists on them.
        network: whether the nodes may talk to anything but each other.

    Raises:
        LaunchError: namespaces or an isolated network are wanted and not to be had.
    """

    def __init__(self, namespaces: bool | None, network: bool = True) -> None:
        found = privileges() if namespaces is not False else None
        if found is None and namespaces:
            raise LaunchError(
                "this machine gives no Linux namespaces (unshare failed); run as root, allow user namespaces, or leave "
                "the choice to sm_launch, which then runs in folders."
            )
        if found is None and not network:
            raise LaunchError(
                "the job asks for EnableNetworkIsolation, but without Linux namespaces a local run cannot isolate; run "
                "on Linux with user namespaces, or take the isolation out of the local run's spec."
            )
        self.kind = FOLDERS if found is None else NAMESPACES
        self._extra = found or ()
        self._network = network
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> Isolation:
        if not self._network:
            command = ["unshare", *self._extra, "--net", sys.executable, str(INIT), "--hold"]
            self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self._holder.stdout is not None
            if self._holder.stdout.readline() != "ready\n":
                self._holder.wait()
                raise LaunchError("this machine gives no network namespaces (unshare --net failed); run as root.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._holder is not None:
            assert self._holder.stdin is not None and self._holder.stdout is not None
            self._holder.stdin.close()
            self._holder.wait()
            self._holder.stdout.close()
            self._holder = None

    @property
    def namespaces(self) -> bool:
        """Whether nodes see an /opt/ml of their own."""
        return self.kind == NAMESPACES

    def command(self, spec_file: Path) -> list[str]:
        """What starts a node."""
        init = [sys.executable, str(INIT), str(spec_file)]
        if not self.namespaces:
            return init
        if self._holder is None:
            return ["unshare", *self._extra, *UNSHARE, *init]
        enter = ["nsenter", "--target", str(self._holder.pid), "--net"]
        if self._extra:
            enter += ["--user", "--preserve-credentials"]
        return [*enter, "unshare", *UNSHARE, *init]
