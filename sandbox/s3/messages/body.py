"""The body of a request, in the pieces in which it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Receive

DRAIN_SECONDS = 1.0
DRAIN_BYTES = 64 * 1024 * 1024


class Disconnected(Exception):
    """The client went away, or an injected fault cuts the connection."""


class Body:
    """A request's body; `declared_length` is that of Content-Length, None without one."""

    def __init__(self, headers: Mapping[str, str], receive: Receive) -> None:
        self._receive = receive
        self._awaited = headers.get("expect", "").lower() == "100-continue"
        self.chunked = "transfer-encoding" in headers
        length = headers.get("content-length")
        self.declared_length = None if length is None or self.chunked else int(length)
        self.complete = not self.chunked and not self.declared_length
        self.pace: Callable[[int], Awaitable[None]] | None = None

    async def read(self) -> bytes:
        """The next bytes, of the server's choice how many; empty at the end."""
        data = b""
        while not data and not self.complete:
            # The server answers 100 Continue when the body is first asked for.
            self._awaited = False
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            data = message.get("body", b"")
            self.complete = not message.get("more_body", False)
        if data and self.pace is not None:
            await self.pace(len(data))
        return data

    async def drain(self) -> None:
        """Reads and drops what the client still sends, so that it gets to see the answer.

        Closing with unread bytes makes the kernel reset the connection, which can destroy an
        answer that the client has not read yet.
        """
        left = 0 if self._awaited else DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while left > 0 and (data := await self.read()):
                    left -= len(data)
        except (TimeoutError, Disconnected):
            """Patience is over, or the client is gone; both end the connection."""
