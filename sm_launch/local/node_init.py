"""The first process of a node: makes its view of the machine, starts the command, ends everything with it.

    python node_init.py SPEC.json     runs a node; see ``nodes.py`` for what the file holds
    python node_init.py --hold        keeps a network namespace with a loopback alive until its standard input ends

Orders come by standard input: the line TERM sends SIGTERM to the command; its end (the parent's death included) kills
everything. Standard library only: the interpreter may be any.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

OPT, ML = Path("/opt"), Path("/opt/ml")
KILLED = 128 + signal.SIGKILL
# linux/sockios.h and linux/if.h
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x1 | 0x40
PR_SET_CHILD_SUBREAPER = 36


def mount(*words: str) -> None:
    """Call mount(8)."""
    subprocess.run(["mount", *words], check=True, stdin=subprocess.DEVNULL)


def place_tree(tree: str, stash: str) -> None:
    """Make ``tree`` appear as /opt/ml, in this namespace alone; what the machine has in /opt stays where it is.

    Args:
        tree: folder.
        stash: an empty folder outside /opt, for the machine's own /opt.
    """
    if not ML.is_dir():
        mount("--rbind", str(OPT), stash)
        mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(OPT))
        for entry in Path(stash).iterdir():
            again = OPT / entry.name
            if entry.is_symlink():
                again.symlink_to(os.readlink(entry))
                continue
            if entry.is_dir():
                again.mkdir()
            else:
                again.touch()
            mount("--rbind", str(entry), str(again))
        ML.mkdir()
    mount("--rbind", tree, str(ML))


def raise_loopback() -> None:
    """A new network namespace has a loopback that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", IFF_UP_RUNNING, b""))


def hold() -> None:
    """Keep the namespace; tell when it is ready."""
    raise_loopback()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


def descendants() -> list[int]:
    """Processes beneath this one, by /proc; empty where there is none."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The second field is a name that may hold blanks and brackets.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
    found = [os.getpid()]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found[1:]


def end_everything() -> None:
    """Kill what the command has started. The first process of a namespace need not: its end is theirs."""
    if os.getpid() == 1:
        return
    while left := descendants():
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return


def obey(child: subprocess.Popen[bytes]) -> None:
    """In a thread: carry out orders until there are no more."""
    for order in sys.stdin:
        if order.strip() == "TERM":
            # Not by Popen: the main thread reaps.
            os.kill(child.pid, signal.SIGTERM)
    end_everything()
    os._exit(KILLED)


def run(spec: dict[str, Any]) -> int:
    """Run a node's command; returns its exit status, 128 + N for signal N."""
    if spec["namespace"]:
        for source, target in spec["files"].items():
            mount("--bind", source, target)
        place_tree(spec["tree"], spec["stash"])
        socket.sethostname(spec["hostname"])
    elif sys.platform == "linux":
        # Orphans come here, so that they can be found.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(
        spec["command"], cwd=spec["cwd"], env=spec["environment"], stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    threading.Thread(target=obey, args=(child,), daemon=True).start()
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            # The thread that obeys has killed everything, and reaped the command before this one could.
            return KILLED
        if pid == child.pid:
            break
    code = os.waitstatus_to_exitcode(status)
    end_everything()
    return code if code >= 0 else 128 - code


def main() -> int:
    """See the module."""
    if sys.argv[1] == "--hold":
        hold()
        return 0
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        code = run(spec)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"error: the node cannot start: {error}\n")
        code = 126
    Path(spec["status"]).write_text(str(code), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
