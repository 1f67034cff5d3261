"""A value from another server that is read again when it is old, by one read for all callers."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import httpx

from gateway.base.problems import unavailable
from pro_video.core.errors import ProVideoError

logger = logging.getLogger("pro_video.gateway")

T = TypeVar("T")


class RefreshedValue(Generic[T]):
    """The last value that was read, while it is young enough.

    Args:
        read: reads the value; it may raise httpx.HTTPError, ProVideoError, RuntimeError or
            ValueError.
        name: names the value in logs and problems.
        life: age in seconds from which a caller waits for a new value. From half of it on, a new
            one is read beside the requests.
        timeout: longest read in seconds; None leaves it to ``read``.
        pause: seconds after a failed read before the next one.
        stale: age in seconds until which the old value serves when no new one can be read.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        *,
        name: str,
        life: float,
        timeout: float | None,
        pause: float = 2.0,
        stale: float = math.inf,
    ) -> None:
        self._read = read
        self._name = name
        self._life = life
        self._timeout = timeout
        self._pause = pause
        self._stale = stale
        self._value: tuple[T] | None = None
        self._read_at = -math.inf
        self._failed_at = -math.inf
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def last(self) -> T | None:
        """The value of the last read, of any age; None before the first one."""
        return None if self._value is None else self._value[0]

    async def get(self) -> T:
        """The value.

        Raises:
            ProblemError: 503, when it was never read, or when the old value is too old to serve.
        """
        age = time.monotonic() - self._read_at
        if age >= self._life / 2 and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._refresh())
        if age >= self._life and self._refreshing is not None:
            # All callers wait for one read and go on at once; a lock would let them through one
            # after the other. A caller that leaves must not end the read of the others.
            await asyncio.shield(self._refreshing)
        if self._value is None or time.monotonic() - self._read_at > max(self._life, self._stale):
            raise unavailable(self._name)
        return self._value[0]

    async def _refresh(self) -> None:
        began = time.monotonic()
        if began - self._failed_at < self._pause:
            return
        try:
            async with asyncio.timeout(self._timeout):
                self._value = (await self._read(),)
            # From the begin: the value may have changed during the read.
            self._read_at = began
        except (httpx.HTTPError, ProVideoError, TimeoutError, RuntimeError, ValueError) as error:
            logger.warning("%s cannot be read: %s", self._name, type(error).__name__)
            self._failed_at = time.monotonic()
