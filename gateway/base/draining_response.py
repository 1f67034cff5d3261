"""A response that is sent before the request body has been read."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_SECONDS = 2.0
_BYTES = 32 * 1024 * 1024


class DrainingResponse(Response):
    """Sends ``response`` at once, drains the request for a moment, then closes the connection.

    A server that closes its connection while bytes are on their way resets it, and the client's
    system discards the response: the client sees a broken connection instead of, say, a 413.
    """

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.status_code = response.status_code
        self.body = response.body
        self.raw_headers = response.raw_headers
        self.headers["Connection"] = "close"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    left = _BYTES
    try:
        async with asyncio.timeout(_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
