"""A cache whose concurrent reads of the same key share one read upstream (single flight)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class _Entry(Generic[V]):
    value: asyncio.Future[V]
    until: float


class SingleFlightCache(Generic[K, V]):
    """Values by key, bounded in number and age; the oldest are dropped first.

    The age of a value counts from the begin of its read. Callers of a read that fails share its
    error, which is not kept.
    """

    def __init__(self, *, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()

    async def get(self, key: K, read: Callable[[], Awaitable[V]], *, seconds: float) -> V:
        """The value, at most ``seconds`` old; a read that is running is always shared."""
        now = time.monotonic()
        entry = self._entries.get(key)
        if entry is None or (entry.value.done() and now >= entry.until):
            entry = _Entry(asyncio.ensure_future(read()), now + seconds)
            self._entries[key] = entry
            self._entries.move_to_end(key)
            entry.value.add_done_callback(lambda done: self._drop_failed(key, done))
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        # A client that leaves must not end the read of the others.
        return await asyncio.shield(entry.value)

    def _drop_failed(self, key: K, done: asyncio.Future[V]) -> None:
        if done.cancelled() or done.exception() is not None:
            entry = self._entries.get(key)
            if entry is not None and entry.value is done:
                del self._entries[key]
