"""Bounds the number of forms that are received at the same time, and of those that wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gateway.base.problems import ProblemError

# Each holds its connection, and what the server has read of it ahead, at most 64 KiB.
_MOST_WAITING = 64


class Places:
    """Places that are taken in turn. A waiting client sends nothing more until it has one.

    Args:
        at_once: how many there are.
        seconds: how long one waits for a place.
    """

    def __init__(self, at_once: int, *, seconds: float) -> None:
        self._at_once = at_once
        self._seconds = seconds
        self._free = asyncio.Semaphore(at_once)
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place.

        Raises:
            ProblemError: 503, when none became free in time or too many wait already.
        """
        if self._waiting >= _MOST_WAITING:
            raise self._full()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError:
            raise self._full() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()

    def _full(self) -> ProblemError:
        return ProblemError(
            503,
            "too_many_forms",
            f"{self._at_once} forms are being received already. Try again soon, or use "
            "POST /api/v1/uploads.",
            retry_after=5,
        )
