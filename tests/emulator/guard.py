"""No connection beyond loopback: an audit hook sees every socket of the process, whichever library opened it."""

from __future__ import annotations

import ipaddress
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOCAL_NAMES = ("localhost", "", None)


class Beyond(AssertionError):
    """Something tried to leave this machine."""


class _Guard:
    """The hook; it can be switched but, as audit hooks are, never removed."""

    def __init__(self) -> None:
        self.depth = 0
        self.installed = False
        self.lock = threading.Lock()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.depth:
            return
        if event in ("socket.connect", "socket.sendto"):
            address = arguments[1]
            # Anything but a tuple is a Unix socket or another kind that stays on the machine.
            if isinstance(address, tuple) and not is_local(str(address[0])):
                raise Beyond(f"a connection to {address} was refused: a test stays on this machine")
        elif event == "socket.getaddrinfo":
            host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
            if not is_local(host):
                raise Beyond(f"a look-up of {host} was refused: a test stays on this machine")


_guard = _Guard()


def is_local(host: str | None) -> bool:
    """Whether an address or a name is of this machine."""
    if host in LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def install() -> None:
    """Refuse everything beyond loopback until the process ends; for a command's own process."""
    with _guard.lock:
        if not _guard.installed:
            sys.addaudithook(_guard)
            _guard.installed = True
        _guard.depth += 1


def guarded(module: str, *arguments: str) -> list[str]:
    """The command ``python -m MODULE ARGUMENTS`` in which the guard stands before the module's first line."""
    code = (
        "import runpy, sys; "
        f"runpy.run_path({__file__!r})['install'](); sys.argv[0] = {module!r}; "
        f"sys.path.insert(0, ''); runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-c", code, *arguments]


@contextmanager
def loopback_only() -> Iterator[None]:
    """Refuse everything beyond loopback."""
    install()
    try:
        yield
    finally:
        with _guard.lock:
            _guard.depth -= 1
