"""TCP connections that notice when the other machine has vanished: its power, its cable, its network.

gloo's do not: a process that waits for data from such a machine has nothing to send, so nothing tells it, and it waits
until the group's timeout; one that sends waits until TCP gives up, after a quarter of an hour. Keep-alive (tcp(7)) lets
the kernel ask while nothing is sent, and TCP_USER_TIMEOUT (RFC 5482; Linux alone) limits how long data stay
unanswered. A process that is busy still answers by its kernel; one that is stopped does too, but not for more data than
its kernel holds.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

# A minute without an answer: longer than a machine pauses when a cloud moves it, or a switch when a port restarts.
IDLE_S, INTERVAL_S, PROBES = 30, 10, 3
# Linux; macOS and BSD. Windows has neither.
DESCRIPTORS = ("/proc/self/fd", "/dev/fd")
TCP_IDLE = getattr(socket, "TCP_KEEPIDLE" if sys.platform == "linux" else "TCP_KEEPALIVE", None)


def keep_alive() -> None:
    """Let all TCP connections that this process has by now end after a minute without an answer."""
    folder = next((Path(name) for name in DESCRIPTORS if Path(name).is_dir()), None)
    if folder is None:
        return
    for entry in list(folder.iterdir()):
        # A copy, as a Python socket closes what it is given; options belong to the connection, whoever holds it.
        try:
            copy = os.dup(int(entry.name))
        except OSError:
            # It was that of the listing, and is closed.
            continue
        try:
            connection = socket.socket(fileno=copy)
        except OSError:
            # It is no socket.
            os.close(copy)
            continue
        with connection:
            _limit(connection)


def _limit(connection: socket.socket) -> None:
    """Set a connection's patience; other sockets are left as they are."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
        return
    options = [(TCP_IDLE, IDLE_S), (socket.TCP_KEEPINTVL, INTERVAL_S), (socket.TCP_KEEPCNT, PROBES)]
    if sys.platform == "linux":
        options.append((socket.TCP_USER_TIMEOUT, 1000 * (IDLE_S + INTERVAL_S * PROBES)))
    try:
        connection.getpeername()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in options:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:
        # It listens, or its other end has gone already.
        return
