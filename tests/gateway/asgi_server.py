"""Real servers on loopback for these tests: an ASGI application in the test's own event loop, and
raw connections to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvicorn


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve ``app`` on a free port; its base URL."""
    bounds: dict[str, Any] = {"log_config": None, "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(app, port=0, http="h11", ws="none", **bounds))
    # Without its signal handlers, as the test's own loop runs it.
    task = asyncio.create_task(server._serve())
    try:
        await eventually(lambda: server.started or task.done())
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def eventually(check: Any, *, seconds: float = 20.0) -> None:
    """Wait until ``check()`` is true."""
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.01)
