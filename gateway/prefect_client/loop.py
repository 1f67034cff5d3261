"""Runs Prefect's client on an event loop of its own, in a thread.

One call of Prefect's client takes a dozen turns of its event loop. On the loop that serves the
requests, each turn would wait for those of all concurrent requests. With a thousand requests at
once, the read from Prefect that all of them need would take longer than a status may be old.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import get_client

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

T = TypeVar("T")


class PrefectLoop:
    """The loop and its client; made by :func:`open_prefect_loop`."""

    def __init__(
        self, client: PrefectClient, loop: asyncio.AbstractEventLoop, stop: asyncio.Event
    ) -> None:
        self._client = client
        self._loop = loop
        self._stop = stop

    async def run(self, work: Callable[[PrefectClient], Coroutine[Any, Any, T]]) -> T:
        """The result of ``work``, which is cancelled with its caller.

        Raises:
            RuntimeError: the loop was closed.
        """
        if self._stop.is_set() or self._loop.is_closed():
            raise RuntimeError("the client is closed")
        task = asyncio.run_coroutine_threadsafe(work(self._client), self._loop)
        return await asyncio.wrap_future(task)

    def close(self) -> None:
        """Stop the loop; running work is cancelled."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)


@contextlib.asynccontextmanager
async def open_prefect_loop() -> AsyncIterator[PrefectLoop]:
    """A running loop with an open client; the server need not answer yet."""
    opened: Future[PrefectLoop] = Future()

    async def hold() -> None:
        stop = asyncio.Event()
        async with get_client() as client:
            opened.set_result(PrefectLoop(client, asyncio.get_running_loop(), stop))
            await stop.wait()
            # Before the client: a call that outlives its pool leaves its connection open.
            calls = asyncio.all_tasks() - {asyncio.current_task()}
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        # Closed transports release their sockets in the loop's next round.
        await asyncio.sleep(0)

    def main() -> None:
        try:
            asyncio.run(hold())
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)

    # Prefect keeps its settings in the context.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(main,), name="prefect", daemon=True)
    thread.start()
    prefect = await asyncio.wrap_future(opened)
    try:
        yield prefect
    finally:
        prefect.close()
        await asyncio.to_thread(thread.join)
