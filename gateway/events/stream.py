"""Sends server-sent events to a client, with a time limit for each write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

HEARTBEAT = b": still here\n\n"
"""A comment: keeps proxies from closing a quiet connection."""


def frame(event_id: str, data: object) -> bytes:
    """One event; JSON has no line breaks of its own, so that one ``data`` line holds it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event_id}\ndata: {text}\n\n".encode()


class EventStream(Response):
    """Sends chunks until they end, the client goes away, or it stops reading.

    Args:
        chunks: of the body.
        leave: called once at the end, in any case.
        send_seconds: a client that takes no bytes for this time is dropped.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        leave: Callable[[], Awaitable[None]],
        send_seconds: float,
    ) -> None:
        super().__init__(
            headers={
                "Cache-Control": "no-store",
                # Proxies of the nginx kind would hold events back.
                "X-Accel-Buffering": "no",
            }
        )
        del self.headers["content-length"]
        self._chunks = chunks
        self._leave = leave
        self._send_seconds = send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = asyncio.ensure_future(self._write(send))
        leaver = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({writer, leaver}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writer, leaver):
                task.cancel()
            results = await asyncio.gather(writer, leaver, return_exceptions=True)
            await self._leave()
        for result in results:
            # A client that went away or was dropped is no error of ours.
            if isinstance(result, Exception) and not isinstance(result, OSError):
                raise result

    async def _write(self, send: Send) -> None:
        await self._send(
            send,
            {"type": "http.response.start", "status": 200, "headers": self.raw_headers},
        )
        async for chunk in self._chunks:
            await self._send(send, {"type": "http.response.body", "body": chunk, "more_body": True})
        await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, message: Message) -> None:
        # TimeoutError is an OSError: the stream ends without its end, so that the server drops the
        # connection.
        async with asyncio.timeout(self._send_seconds):
            await send(message)


async def _left(receive: Callable[[], Awaitable[Message]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
