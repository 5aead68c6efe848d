"""Which sockets have their patience limited (that it ends a wait: tests/clusters/test_hosts.py)."""

from __future__ import annotations

import os
import socket
import sys

import pytest
from scripts import keepalive

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows lists no descriptors")


def asks(connection: socket.socket) -> int:
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_connections_ask_and_stay_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        datagram.connect(server.getsockname())
        with socket.create_connection(server.getsockname()) as client, server.accept()[0] as accepted:
            keepalive.keep_alive()
            assert asks(client)
            assert asks(accepted)
            assert not asks(server)
            assert not asks(datagram)
            assert client.getsockopt(socket.IPPROTO_TCP, keepalive.TCP_IDLE) == keepalive.IDLE_S
            client.sendall(b"still open")
            assert accepted.recv(10) == b"still open"


def test_other_descriptors_are_left_alone() -> None:
    reader, writer = os.pipe()
    one, other = socket.socketpair()
    with one, other, os.fdopen(reader, "rb") as source:
        keepalive.keep_alive()
        assert not asks(one)
        # No copy of the writer is left open: the reader sees the end.
        os.close(writer)
        assert source.read() == b""
