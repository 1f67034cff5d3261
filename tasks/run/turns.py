"""Serialises the jobs that were at work at two losses of a worker.

The next loss then shows which of them ends the worker: the others are waiting, so the loss does not
count against them. There is one lock for each process, because a process ends with all its jobs.
"""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

from pro_video.core.stopping import unless_stopped

logger = logging.getLogger("prefect.pro_video.turns")

# Seconds. Longer than a job works between two waits, with transfers of some gigabytes. A job that
# has waited for longer goes on beside the others.
_LONGEST_WAIT = 3600.0

_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class Turn:
    """A job's hold on the lock.

    Attributes:
        needed: the job was at work at two losses; other jobs never take the lock.
    """

    def __init__(self) -> None:
        self.needed = False
        self._held: asyncio.Lock | None = None

    async def take(self) -> None:
        """Wait until no other such job is at work.

        Raises:
            Stopped: the job was cancelled or is handed over.
        """
        if not self.needed or self._held is not None:
            return
        lock = _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        if lock.locked():
            logger.info("A job waits for another one: both were at work when workers were lost")
        acquiring = asyncio.ensure_future(lock.acquire())
        try:
            async with asyncio.timeout(_LONGEST_WAIT):
                await unless_stopped(acquiring)
            self._held = lock
        except TimeoutError:
            logger.warning("The job goes on without its turn after %.0f s", _LONGEST_WAIT)
        finally:
            if self._held is None and acquiring.done() and not acquiring.cancelled():
                # The lock was acquired together with the stop.
                lock.release()

    def release(self) -> None:
        """Release the lock."""
        if self._held is not None:
            self._held.release()
            self._held = None
