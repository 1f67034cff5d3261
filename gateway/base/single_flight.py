"""A cache whose concurrent reads of the same key share one read upstream (single flight)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class _Entry(Generic[V]):
    value: asyncio.Future[V]
    until: float


class SingleFlightCache(Generic[K, V]):
    """Values by key, bounded in number and age; the least recently used are dropped first.

    The age of a value counts from the begin of its read. Callers of a read that fails share its
    error, which is not kept.
    """

    def __init__(self, *, size: int) -> None:
        self._entries: LRUCache[K, _Entry[V]] = LRUCache(size)

    async def get(self, key: K, read: Callable[[], Awaitable[V]], *, seconds: float) -> V:
        """The value, at most ``seconds`` old; a read that is running is always shared."""
        now = time.monotonic()
        entry = self._entries.get(key)
        if entry is None or (entry.value.done() and now >= entry.until):
            entry = _Entry(asyncio.ensure_future(read()), now + seconds)
            self._entries[key] = entry
            entry.value.add_done_callback(lambda done: self._drop_failed(key, done))
        # A client that leaves must not end the read of the others.
        return await asyncio.shield(entry.value)

    def _drop_failed(self, key: K, done: asyncio.Future[V]) -> None:
        if done.cancelled() or done.exception() is not None:
            entry = self._entries.get(key)
            if entry is not None and entry.value is done:
                del self._entries[key]
