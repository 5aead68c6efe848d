"""TCP connections that ask now and then whether the other machine is still there.

gloo's do not: a process that waits for data from a machine that has lost its power has nothing to send, so nothing
tells it, and it waits until the group's timeout. Keep-alive (tcp(7)) lets the kernel ask; a process that is busy or
stopped still answers by its kernel, so only a machine or a cable that is gone ends the wait.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

# Half a minute without an answer: longer than a switch takes to restart a port.
IDLE_S, INTERVAL_S, PROBES = 15, 5, 3
# Linux; macOS and BSD. Windows has neither.
DESCRIPTORS = ("/proc/self/fd", "/dev/fd")
TCP_IDLE = getattr(socket, "TCP_KEEPIDLE" if sys.platform == "linux" else "TCP_KEEPALIVE", None)


def keep_alive() -> int:
    """Switch keep-alive on for all TCP connections that this process has by now.

    Returns:
        How many there are.
    """
    folder = next((Path(name) for name in DESCRIPTORS if Path(name).is_dir()), None)
    if folder is None:
        return 0
    return sum(_asks(int(entry.name)) for entry in list(folder.iterdir()))


def _asks(descriptor: int) -> bool:
    """Whether a descriptor is a TCP connection, which now asks."""
    try:
        # A copy, as a Python socket closes what it is given; options belong to the connection, whoever holds it.
        connection = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        # It is no socket, or it was that of the listing and is closed.
        return False
    with connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
            return False
        try:
            connection.getpeername()
        except OSError:
            # It listens, or its other end has gone.
            return False
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((TCP_IDLE, IDLE_S), (socket.TCP_KEEPINTVL, INTERVAL_S), (socket.TCP_KEEPCNT, PROBES)):
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return True
