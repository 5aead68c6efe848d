"""A request's body on its way to a file."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from fastapi import Request
from starlette.requests import ClientDisconnect

from .errors import Refusal
from .settings import MB, Settings

# A client that is still sending does not read an answer, and loses it when the connection is closed on what it sends:
# so much of a refused body is read and thrown away first.
DRAINED_BYTES = 64 * MB
DRAIN_SECONDS = 10.0


class Body:
    """The body of one request, received at most once.

    Args:
        request: the request.
        settings: limits of size and time.
    """

    def __init__(self, request: Request, settings: Settings) -> None:
        self._request = request
        self._settings = settings
        self._ended = False

    async def save(self, target: Path) -> Path:
        """Write the body to a file as it arrives.

        Raises:
            Refusal: 413 it is larger than allowed, 408 it does not arrive in time, 400 the client went away.
        """
        limit = self._settings.max_body_bytes
        too_large = Refusal(413, f"The body is larger than the {limit // MB} MB that this server takes.")
        declared = self._request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise too_large

        async def receive() -> None:
            size = 0
            with target.open("wb") as file:
                async for chunk in self._request.stream():
                    size += len(chunk)
                    if size > limit:
                        raise too_large
                    file.write(chunk)
            self._ended = True

        try:
            await asyncio.wait_for(receive(), self._settings.body_seconds)
        except asyncio.TimeoutError as error:
            raise Refusal(408, f"The body did not arrive in {self._settings.body_seconds:.0f} seconds.") from error
        except ClientDisconnect as error:
            raise Refusal(400, "The connection ended before the body did.") from error
        return target

    async def drain(self) -> None:
        """Throw away what is still on its way, up to a size and time."""

        async def receive() -> None:
            size = 0
            async for chunk in self._request.stream():
                size += len(chunk)
                if size > DRAINED_BYTES:
                    return

        if not self._ended:
            with contextlib.suppress(asyncio.TimeoutError, ClientDisconnect):
                await asyncio.wait_for(receive(), DRAIN_SECONDS)
