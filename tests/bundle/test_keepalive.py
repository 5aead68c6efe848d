"""Which descriptors ask whether their other end is there (that it ends a wait: tests/clusters/test_hosts.py)."""

from __future__ import annotations

import socket
import sys

import pytest
from scripts import keepalive

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows lists no descriptors")


def asks(connection: socket.socket) -> int:
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_connections_ask_and_stay_open() -> None:
    before = keepalive.keep_alive()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        datagram.connect(server.getsockname())
        with socket.create_connection(server.getsockname()) as client, server.accept()[0] as accepted:
            assert keepalive.keep_alive() == before + 2
            assert asks(client)
            assert asks(accepted)
            assert not asks(server)
            assert not asks(datagram)
            assert client.getsockopt(socket.IPPROTO_TCP, keepalive.TCP_IDLE) == keepalive.IDLE_S
            client.sendall(b"still open")
            assert accepted.recv(10) == b"still open"


def test_other_sockets_are_left_alone() -> None:
    before = keepalive.keep_alive()
    one, other = socket.socketpair()
    with one, other:
        assert keepalive.keep_alive() == before
