"""Server-sent events, with a time limit for each write to the client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

HEARTBEAT = b": still here\n\n"
"""A comment, which keeps proxies from closing an idle connection."""


def frame(event_id: str, data: object) -> bytes:
    """One event. JSON without indents has no line breaks and fits into one ``data`` line."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event_id}\ndata: {text}\n\n".encode()


class EventStreamResponse(Response):
    """Sends chunks until they end, the client disconnects, or it stops reading.

    Args:
        chunks: of the body.
        close: called once at the end, in any case.
        send_seconds: longest time in which the client reads nothing.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        close: Callable[[], Awaitable[None]],
        send_seconds: float,
    ) -> None:
        super().__init__(
            headers={
                "Cache-Control": "no-store",
                # nginx, and proxies like it, would buffer events.
                "X-Accel-Buffering": "no",
            }
        )
        del self.headers["content-length"]
        self._chunks = chunks
        self._close = close
        self._send_seconds = send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = asyncio.ensure_future(self._write(send))
        disconnect = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({writer, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writer, disconnect):
                task.cancel()
            results = await asyncio.gather(writer, disconnect, return_exceptions=True)
            await self._close()
        for result in results:
            # A client that disconnected or was dropped is no error of the gateway.
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
        # TimeoutError is an OSError: the body stays incomplete, so that the server closes the
        # connection.
        async with asyncio.timeout(self._send_seconds):
            await send(message)


async def _disconnected(receive: Callable[[], Awaitable[Message]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
