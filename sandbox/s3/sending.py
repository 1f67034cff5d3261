"""Sends a response, whole or as an injected fault wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.types import Receive, Scope, Send

from sandbox.common.faults import Fault
from sandbox.common.http_faults import connection, cut
from sandbox.s3.faults import Pace
from sandbox.s3.messages.body import Disconnected
from sandbox.s3.messages.request import Request
from sandbox.s3.messages.response import Response

SLICE_BYTES = 1024 * 1024


async def send_response(
    scope: Scope,
    receive: Receive,
    send: Send,
    request: Request,
    response: Response,
    fault: Fault | None,
) -> None:
    """Sends it; raises Disconnected when the client or a fault ends the connection before."""
    kind = fault.kind if fault is not None else ""
    if kind == "lost_answer":
        raise Disconnected
    headers = {"x-amz-request-id": request.id, "x-amz-id-2": request.id, **response.headers}
    bodiless = request.method == "HEAD" or response.status in (204, 304)
    if response.status not in (204, 304):
        headers["Content-Length"] = str(response.length)
    if not request.body.complete:
        headers["Connection"] = "close"
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
                for name, value in headers.items()
            ],
        }
    )
    if not bodiless:
        async with aclosing(_slices(response, fault)) as slices:
            async for data in slices:
                # The server drops what it is given for a client that is gone.
                if connection(scope).is_closing():
                    raise Disconnected
                await send({"type": "http.response.body", "body": data, "more_body": True})
    if kind == "truncate" and not bodiless:
        await cut(scope, receive, flush=True)
        return
    await request.body.drain()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _slices(response: Response, fault: Fault | None) -> AsyncGenerator[bytes]:
    """The body as the fault spoils it."""
    left, size, flip, pace = response.length, SLICE_BYTES, -1, None
    if fault is not None and fault.kind == "truncate":
        left = min(int(fault.number("after_bytes", left // 2)), left)
    elif fault is not None and fault.kind == "corrupt":
        flip = min(int(fault.number("offset", left // 2)), left - 1)
    elif fault is not None and fault.kind == "slow":
        pace = Pace(fault)
        # Small enough to flow instead of coming in one gulp a minute.
        size = max(min(SLICE_BYTES, int(pace.rate) // 10), 1)
    async with aclosing(_stored(response, size)) as pieces:
        async for whole in pieces:
            data = whole[:left]
            if 0 <= flip < len(data):
                data = data[:flip] + bytes([data[flip] ^ 1]) + data[flip + 1 :]
            flip -= len(data)
            left -= len(data)
            if pace is not None:
                await pace(len(data))
            yield data
            if left <= 0:
                return


async def _stored(response: Response, size: int) -> AsyncGenerator[bytes]:
    if response.body:
        yield response.body
    for path, offset, length in response.pieces:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            left = length
            while left > 0:
                data = await asyncio.to_thread(file.read, min(left, size))
                if not data:
                    raise OSError(f"{path} is shorter than its record")
                left -= len(data)
                yield data
