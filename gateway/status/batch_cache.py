"""A cache that batches its reads upstream: one read renews all keys that are polled."""

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

_GATHER_SECONDS = 0.005
# A key is renewed along with others when it was asked for within this time.
_POLLED_SECONDS = 5.0
# A value that is asked for at this part of its life or later is renewed before it is too old, so
# that nobody waits; renewing earlier would cost more looks.
_RENEWAL_SHARE = 0.5


@dataclass
class _Entry(Generic[V]):
    value: V | None
    looked_at: float
    asked_at: float
    # A look that is to replace the value has begun.
    is_renewed: bool = False


class GatheredCache(Generic[K, V]):
    """Values by key, bounded in number and age; the absence of one is kept just as long.

    A value's age counts from the begin of the look, which is one read upstream. A request for a
    value that is getting old starts a look within a few milliseconds. The look takes along all
    other keys that are polled, so that there are few. Only a request for a value that is missing or
    too old waits for the look; one that is under way is shared. While a look that began in time
    takes long, the old value serves on for a bounded time.

    Args:
        look: reads the values of keys, without those that do not exist.
        seconds: longest age of a value that is handed out, in seconds.
        late: seconds more while a look for the key is under way that began before that.
        size: bound of the number of values; the oldest go first.
        batch: most keys of one look.
        clock: source of time, in seconds.
    """

    def __init__(
        self,
        look: Callable[[Sequence[K]], Awaitable[dict[K, V]]],
        *,
        seconds: float,
        late: float,
        size: int,
        batch: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._seconds = seconds
        self._late = late
        self._size = size
        self._batch = batch
        self._clock = clock
        # In the order of the looks.
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._pending: dict[K, asyncio.Future[V | None]] = {}
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def fresh(self, key: K) -> V | None:
        """The value when it is here and young enough."""
        entry = self._young(key)
        return None if entry is None else entry.value

    def peek(self, key: K) -> V | None:
        """The value that was read last, of any age."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    async def get(self, key: K) -> V | None:
        """The value; None when there is none. Errors of the look reach all who wait for it."""
        entry = self._young(key)
        if entry is not None:
            return entry.value
        # A client that goes away must not end the read of the others.
        return await asyncio.shield(self._pending.get(key) or self._ask(key))

    def forget(self, key: K) -> None:
        """Look anew next time, also when a look is under way: it may have read before."""
        self._entries.pop(key, None)
        if key not in self._asked:
            self._pending.pop(key, None)

    async def close(self) -> None:
        """End the looks that are under way."""
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for waiter in self._asked.values():
            waiter.cancel()

    def _young(self, key: K) -> _Entry[V] | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = entry.asked_at = self._clock()
        age = now - entry.looked_at
        if age >= self._seconds:
            is_served = entry.is_renewed and key in self._pending
            return entry if is_served and age < self._seconds + self._late else None
        if age >= _RENEWAL_SHARE * self._seconds and not entry.is_renewed:
            # Once: a look that fails is repeated by those who wait for it, not by all who ask.
            entry.is_renewed = True
            if key not in self._pending:
                self._ask(key)
        return entry

    def _ask(self, key: K) -> asyncio.Future[V | None]:
        waiter: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        if not self._asked:
            task = asyncio.create_task(self._gather())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._pending[key] = self._asked[key] = waiter
        return waiter

    async def _gather(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        asked, self._asked = self._asked, {}
        now = self._clock()
        for key in self._polled(now, -len(asked) % self._batch):
            self._entries[key].is_renewed = True
            asked[key] = self._pending[key] = asyncio.get_running_loop().create_future()
        keys = list(asked)
        groups = [keys[first : first + self._batch] for first in range(0, len(keys), self._batch)]
        await asyncio.gather(*(self._read(group, asked, now) for group in groups))

    def _polled(self, now: float, room: int) -> list[K]:
        """Keys to take along; drops values that are too old to be served."""
        if self._seconds == 0:
            return []
        found: list[K] = []
        useless: list[K] = []
        for key, entry in self._entries.items():
            if len(found) >= room or entry.looked_at > now - _RENEWAL_SHARE * self._seconds:
                break
            if now - entry.asked_at > _POLLED_SECONDS:
                if now >= entry.looked_at + self._seconds:
                    useless.append(key)
            elif key not in self._pending and entry.value is not None:
                found.append(key)
        for key in useless:
            del self._entries[key]
        return found

    async def _read(
        self, keys: Sequence[K], asked: dict[K, asyncio.Future[V | None]], began: float
    ) -> None:
        try:
            values = await self._look(keys)
        except BaseException as error:
            for key in keys:
                self._done(key, asked[key])
                if isinstance(error, Exception):
                    asked[key].set_exception(error)
                    # There may be no waiter, which asyncio would report as an error that was lost.
                    asked[key].exception()
                else:
                    asked[key].cancel()
            if not isinstance(error, Exception):
                raise
            return
        for key in keys:
            value = values.get(key)
            if self._done(key, asked[key]):
                self._keep(key, value, began)
            asked[key].set_result(value)

    def _done(self, key: K, future: asyncio.Future[V | None]) -> bool:
        """False when the key was forgotten since."""
        if self._pending.get(key) is not future:
            return False
        del self._pending[key]
        return True

    def _keep(self, key: K, value: V | None, began: float) -> None:
        earlier = self._entries.pop(key, None)
        self._entries[key] = _Entry(value, began, began if earlier is None else earlier.asked_at)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)
