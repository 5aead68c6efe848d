"""One node of a job: a process with /opt/ml, a host name, an environment and a log of its own."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import threading
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sm_launch.local.isolation import Isolation

ML = "/opt/ml"
BASE_VARIABLE = "SAGEMAKER_BASE_DIR"
# A container has nothing of the user's shell, whose keys and tokens must not leak into a job. These describe the
# machine: its libraries, threads, devices, languages, and the way to a package index.
INHERITED = (
    "CUDA_VISIBLE_DEVICES", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "MKL_NUM_THREADS", "OMP_NUM_THREADS",
    "PIP_CERT", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_TRUSTED_HOST", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE",
    "TZ", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip


@dataclass(frozen=True)
class NodePlan:
    """What a node is.

    Attributes:
        name: algo-1 ...: its host name and the name of its log.
        folder: what belongs to it on this machine; ``ml`` in it becomes /opt/ml.
        command: what it starts; its first word may be ``python3``, which is this Python with packages of its own.
        environment: variables that the platform and the request give.
        addresses: of all hosts of the job.
    """

    name: str
    folder: Path
    command: Sequence[str]
    environment: Mapping[str, str]
    addresses: Mapping[str, str]

    @property
    def tree(self) -> Path:
        """The folder that becomes /opt/ml."""
        return self.folder / "ml"


def make_python(folder: Path) -> Path:
    """A virtual environment that sees all packages of this Python; what a job installs stays in it.

    Returns:
        Its interpreter.
    """
    venv.EnvBuilder(symlinks=os.name != "nt", with_pip=False, clear=True).create(folder)
    shared = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    lines = [f"import site; site.addsitedir({path!r})" for path in shared]
    (packages / "machine.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "bin" / "python3"


def rebased(text: str, tree: Path) -> str:
    """``text`` with /opt/ml replaced: in folders, that is where a node's files lie."""
    return text.replace(ML, str(tree))


class Node:
    """A running node.

    Args:
        plan: what it is.
        isolation: of its job.
        on_line: called with each line of its output, from a thread of its own.
    """

    def __init__(self, plan: NodePlan, isolation: Isolation, on_line: Callable[[str], None]) -> None:
        self.plan = plan
        self._status = plan.folder / "status"
        self._status.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            isolation.command(self._write_spec(isolation)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Orders go at once, or not at all where it has ended.
            bufsize=0,
            # Ctrl-C in the terminal is for the caller, who then stops the nodes.
            start_new_session=True,
        )
        self._error: Exception | None = None
        self._reader = threading.Thread(target=self._read, args=(on_line,), daemon=True)
        self._reader.start()

    def _write_spec(self, isolation: Isolation) -> Path:
        plan, folder = self.plan, self.plan.folder
        for name in ("home", "stash"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        python = make_python(folder / "python")
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        path = [str(python.parent), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        environment |= {"PATH": os.pathsep.join(path), "HOME": str(folder / "home"), **plan.environment}
        command = list(plan.command)
        if not isolation.namespaces:
            environment = {name: rebased(value, plan.tree) for name, value in environment.items()}
            environment[BASE_VARIABLE] = str(plan.tree)
            command = [rebased(word, plan.tree) for word in command]
        hosts = folder / "hosts"
        lines = ["127.0.0.1 localhost", "::1 localhost", *(f"{ip} {name}" for name, ip in plan.addresses.items())]
        hosts.write_text("\n".join(lines) + "\n", encoding="utf-8")
        spec = {
            "namespace": isolation.namespaces,
            "files": {str(hosts): "/etc/hosts"},
            "tree": str(plan.tree),
            "stash": str(folder / "stash"),
            "hostname": plan.name,
            "command": command,
            "cwd": ML if isolation.namespaces else str(plan.tree),
            "environment": environment,
            "status": str(self._status),
        }
        file = folder / "node.json"
        file.write_text(json.dumps(spec, indent=2), encoding="utf-8")
        return file

    def _read(self, on_line: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # A full pipe would stop the node: it is read to its end whatever a listener does.
            if self._error is None:
                try:
                    on_line(line.decode("utf-8", "replace").rstrip("\r\n"))
                except Exception as error:
                    self._error = error

    def poll(self) -> int | None:
        """The exit status once it has ended, 128 + N for signal N; None before.

        Raises:
            Exception: what ``on_line`` raised.
        """
        if self._error is not None:
            raise self._error
        if self._process.poll() is None:
            return None
        self._reader.join()
        if self._status.is_file():
            return int(self._status.read_text(encoding="utf-8"))
        code = self._process.returncode
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """SIGTERM to its command."""
        self._order(b"TERM\n")

    def kill(self) -> None:
        """SIGKILL to everything in it."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _order(self, order: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(order)
        except (BrokenPipeError, ValueError):
            # It has ended.
            return

    def close(self) -> None:
        """Kill it if it runs, and wait for its end."""
        self.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
