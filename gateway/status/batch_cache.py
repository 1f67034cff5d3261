"""A cache that batches its reads upstream: one read refreshes all keys that are polled."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

# Requests for values within this time share one read.
_BATCH_SECONDS = 0.005
# A key that was requested within this time is refreshed along with others.
_POLLED_SECONDS = 5.0
# A request at this part of a value's life, or later, starts the next read, so that no request has
# to wait; an earlier start would cost more reads.
_REFRESH_SHARE = 0.5


@dataclass
class _Entry(Generic[V]):
    value: V | None
    read_at: float
    requested_at: float
    # The read of its successor has begun.
    is_refreshing: bool = False


class BatchCache(Generic[K, V]):
    """Values by key, bounded in number and age; the absence of a value is cached as well.

    The age of a value counts from the begin of its read. A request for a value that is getting old
    starts a read within a few milliseconds, which includes all other keys that are polled. Only a
    request for a missing or too old value waits for the read, and shares a running one. While a
    read that began in time takes long, the old value serves for a bounded time.

    Args:
        read: reads the values of keys; keys without a value are left out.
        seconds: longest age of a value, in seconds.
        late: seconds more during a read of the key that began before that age.
        size: bound of the number of values; the oldest are dropped first.
        batch: most keys of one read.
        clock: source of time, in seconds.
    """

    def __init__(
        self,
        read: Callable[[Sequence[K]], Awaitable[dict[K, V]]],
        *,
        seconds: float,
        late: float,
        size: int,
        batch: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._seconds = seconds
        self._late = late
        self._size = size
        self._batch = batch
        self._clock = clock
        # In the order of their reads.
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._pending: dict[K, asyncio.Future[V | None]] = {}
        self._requested: dict[K, asyncio.Future[V | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def fresh(self, key: K) -> V | None:
        """The cached value, when it is young enough."""
        entry = self._young(key)
        return None if entry is None else entry.value

    def peek(self, key: K) -> V | None:
        """The value that was read last, of any age."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    async def get(self, key: K) -> V | None:
        """The value; None when there is none. All requests that wait for a read get its error."""
        entry = self._young(key)
        if entry is not None:
            return entry.value
        # A client that leaves must not end the read of the others.
        return await asyncio.shield(self._pending.get(key) or self._request(key))

    def forget(self, key: K) -> None:
        """Read again at the next request; a running read may have read before the change."""
        self._entries.pop(key, None)
        if key not in self._requested:
            self._pending.pop(key, None)

    async def close(self) -> None:
        """Cancel the running reads."""
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for waiter in self._requested.values():
            waiter.cancel()

    def _young(self, key: K) -> _Entry[V] | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = entry.requested_at = self._clock()
        age = now - entry.read_at
        if age >= self._seconds:
            is_served = entry.is_refreshing and key in self._pending
            return entry if is_served and age < self._seconds + self._late else None
        if age >= _REFRESH_SHARE * self._seconds and not entry.is_refreshing:
            # Once: a failed read is repeated by the requests that have to wait, not by all.
            entry.is_refreshing = True
            if key not in self._pending:
                self._request(key)
        return entry

    def _request(self, key: K) -> asyncio.Future[V | None]:
        waiter: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        if not self._requested:
            task = asyncio.create_task(self._read_batch())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._pending[key] = self._requested[key] = waiter
        return waiter

    async def _read_batch(self) -> None:
        await asyncio.sleep(_BATCH_SECONDS)
        requested, self._requested = self._requested, {}
        now = self._clock()
        for key in self._polled(now, -len(requested) % self._batch):
            self._entries[key].is_refreshing = True
            requested[key] = self._pending[key] = asyncio.get_running_loop().create_future()
        keys = list(requested)
        groups = [keys[first : first + self._batch] for first in range(0, len(keys), self._batch)]
        await asyncio.gather(*(self._read_group(group, requested, now) for group in groups))

    def _polled(self, now: float, room: int) -> list[K]:
        """Further keys for the read; drops values that are too old to serve."""
        if self._seconds == 0:
            return []
        found: list[K] = []
        too_old: list[K] = []
        for key, entry in self._entries.items():
            if len(found) >= room or entry.read_at > now - _REFRESH_SHARE * self._seconds:
                break
            if now - entry.requested_at > _POLLED_SECONDS:
                if now >= entry.read_at + self._seconds:
                    too_old.append(key)
            elif key not in self._pending and entry.value is not None:
                found.append(key)
        for key in too_old:
            del self._entries[key]
        return found

    async def _read_group(
        self, keys: Sequence[K], requested: dict[K, asyncio.Future[V | None]], began: float
    ) -> None:
        try:
            values = await self._read(keys)
        except BaseException as error:
            for key in keys:
                self._done(key, requested[key])
                if isinstance(error, Exception):
                    requested[key].set_exception(error)
                    # Without a waiter asyncio would report the error as never retrieved.
                    requested[key].exception()
                else:
                    requested[key].cancel()
            if not isinstance(error, Exception):
                raise
            return
        for key in keys:
            value = values.get(key)
            if self._done(key, requested[key]):
                self._keep(key, value, began)
            requested[key].set_result(value)

    def _done(self, key: K, future: asyncio.Future[V | None]) -> bool:
        """Whether the key was not forgotten since."""
        if self._pending.get(key) is not future:
            return False
        del self._pending[key]
        return True

    def _keep(self, key: K, value: V | None, began: float) -> None:
        earlier = self._entries.pop(key, None)
        self._entries[key] = _Entry(
            value, began, began if earlier is None else earlier.requested_at
        )
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)
