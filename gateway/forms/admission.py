"""The admission queue of forms: bounds those that are received at once, and those that wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gateway.base.problems import ProblemError

# Each holds its connection, and at most 64 KiB that the server has read ahead.
_MOST_WAITING = 64


class FormAdmission:
    """Admits forms in turn. A waiting client sends nothing more until it is admitted.

    Args:
        at_once: forms that are received at the same time.
        seconds: longest wait of a form.
    """

    def __init__(self, at_once: int, *, seconds: float) -> None:
        self._at_once = at_once
        self._seconds = seconds
        self._free = asyncio.Semaphore(at_once)
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait for admission, and hold it while the block runs.

        Raises:
            ProblemError: 503, when the wait is too long or the queue is full.
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
            f"{self._at_once} forms are being received already, and yours was not. Send it again "
            "soon, or upload the files by POST /api/v1/uploads.",
            retry_after=5,
        )
