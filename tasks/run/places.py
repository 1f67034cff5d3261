"""Bounds the jobs that move and read files at the same time, first come first served.

A job holds its place over all files of one part, so that the first job of a burst is at its
provider while the last ones have not begun to upload. A waiting job holds none.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal
from weakref import WeakKeyDictionary

from pro_video.core.stopping import unless_stopped

Work = Literal["sources", "results"]

# More than the threads for transfers, so that these have work while other jobs read or check.
_AT_ONCE: Final = 8

_places: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Work, asyncio.Semaphore]] = (
    WeakKeyDictionary()
)


@asynccontextmanager
async def place_for(work: Work) -> AsyncIterator[None]:
    """Wait for a place, and hold it for the body.

    Raises:
        Stopped: the job was cancelled or is handed over.
    """
    free = _places.setdefault(
        asyncio.get_running_loop(), defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))
    )[work]
    acquiring = asyncio.ensure_future(free.acquire())
    try:
        await unless_stopped(acquiring)
        yield
    finally:
        if acquiring.done() and not acquiring.cancelled():
            free.release()
