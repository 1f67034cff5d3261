"""The cache of statuses: few reads for many requests, and no value older than allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.status.batch_cache import BatchCache

LIFE = 1.0
LATE = 4.0


class Source:
    """The cache's source and clock: each read is recorded, and may be delayed or fail."""

    def __init__(self, **values: int) -> None:
        self.now = 1000.0
        self.reads: list[list[str]] = []
        self.values = values
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None
        self._began = asyncio.Condition()

    async def read(self, keys: Sequence[str]) -> dict[str, int]:
        found = {key: self.values[key] for key in keys if key in self.values}
        async with self._began:
            self.reads.append(sorted(keys))
            self._began.notify_all()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return found

    async def finished(self, count: int) -> None:
        """Wait for that many reads, and for the tasks that are ready then."""
        async with asyncio.timeout(5), self._began:
            await self._began.wait_for(lambda: len(self.reads) >= count)
        for _ in range(5):
            await asyncio.sleep(0)


def cache_of(
    source: Source, *, seconds: float = LIFE, batch: int = 100, size: int = 100
) -> BatchCache[str, int]:
    return BatchCache(
        source.read,
        seconds=seconds,
        late=LATE,
        size=size,
        batch=batch,
        clock=lambda: source.now,
    )


async def test_many_requests_share_one_read() -> None:
    source = Source(a=1, b=2)
    cache = cache_of(source, seconds=60)
    answers = await asyncio.gather(*(cache.get(key) for key in ["a", "b", "none"] * 100))
    assert answers == [1, 2, None] * 100
    assert source.reads == [["a", "b", "none"]]
    assert [await cache.get(key) for key in ("a", "b", "none")] == [1, 2, None]
    assert (cache.fresh("a"), cache.fresh("none"), cache.fresh("c")) == (1, None, None)
    assert len(source.reads) == 1


async def test_groups_are_bounded() -> None:
    source = Source(**{str(number): number for number in range(25)})
    cache = cache_of(source, seconds=60, batch=10)
    assert await asyncio.gather(*map(cache.get, source.values)) == list(range(25))
    assert [len(keys) for keys in source.reads] == [10, 10, 5]


async def test_one_read_refreshes_all_polled_keys() -> None:
    source = Source(**dict.fromkeys("abcdefgh", 1))
    cache = cache_of(source)
    for key in source.values:
        # One after the other, so that each has an age of its own.
        await cache.get(key)
        source.now += LIFE / 16
    assert len(source.reads) == 8
    assert cache.fresh("a") == 1
    await source.finished(9)
    assert source.reads[8] == ["a"]
    source.now += LIFE / 4
    assert cache.fresh("b") == 1
    await source.finished(10)
    # Only keys from half of their life on.
    assert source.reads[9] == ["b", "c", "d", "e"]
    source.now += LIFE / 2
    assert cache.fresh("f") == 1
    await source.finished(11)
    assert source.reads[10] == ["a", "b", "c", "d", "e", "f", "g", "h"]


async def test_keys_without_polls_are_not_refreshed() -> None:
    source = Source(a=1, b=1, c=1)
    cache = cache_of(source)
    await asyncio.gather(cache.get("a"), cache.get("b"), cache.get("missing"))
    source.now += 4
    await cache.get("b")
    source.now += 4
    await cache.get("c")
    assert source.reads[1:] == [["a", "b"], ["b", "c"]]
    source.now += 4
    await cache.get("c")
    assert source.reads[3:] == [["c"]]
    # Nor cached.
    assert (cache.peek("a"), cache.peek("c")) == (None, 1)


async def test_a_value_is_refreshed_before_a_request_has_to_wait() -> None:
    source = Source(a=1)
    cache = cache_of(source)
    await cache.get("a")
    source.values = {"a": 2}
    source.now += 0.6 * LIFE
    assert cache.fresh("a") == 1
    await source.finished(2)
    assert cache.fresh("a") == 2
    source.now += 0.4 * LIFE
    assert cache.fresh("a") == 2
    assert len(source.reads) == 2


async def test_a_slow_read_serves_the_old_value_for_a_bounded_time() -> None:
    source = Source(a=1)
    cache = cache_of(source)
    await cache.get("a")
    source.open.clear()
    source.now += 0.6 * LIFE
    assert cache.fresh("a") == 1
    await source.finished(2)
    source.now += LIFE
    assert await cache.get("a") == 1
    source.now += LATE - 0.7 * LIFE
    assert await cache.get("a") == 1
    source.now += 0.2 * LIFE
    assert cache.fresh("a") is None
    waiter = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    assert not waiter.done()
    source.open.set()
    assert await waiter == 1
    assert len(source.reads) == 2


async def test_an_old_value_without_a_read_is_not_served() -> None:
    source = Source(a=1)
    cache = cache_of(source)
    await cache.get("a")
    source.now += LIFE
    assert cache.fresh("a") is None
    source.values = {"a": 2}
    assert await cache.get("a") == 2


async def test_an_error_reaches_all_waiting_requests_and_is_not_cached() -> None:
    source = Source()
    source.error = ValueError("away")
    cache = cache_of(source, seconds=60)
    found = await asyncio.gather(cache.get("a"), cache.get("a"), return_exceptions=True)
    assert [str(error) for error in found] == ["away", "away"]
    assert len(source.reads) == 1
    source.error, source.values = None, {"a": 1}
    assert await cache.get("a") == 1


async def test_a_failed_refresh_is_not_repeated_until_a_request_has_to_wait() -> None:
    source = Source(a=1)
    cache = cache_of(source)
    await cache.get("a")
    source.error = ValueError("away")
    source.now += 0.6 * LIFE
    assert cache.fresh("a") == 1
    await source.finished(2)
    assert [cache.fresh("a") for _ in range(3)] == [1, 1, 1]
    assert len(source.reads) == 2
    source.now += LIFE
    with pytest.raises(ValueError, match="away"):
        await cache.get("a")


async def test_forget_reads_again_also_during_a_read() -> None:
    source = Source(a=1)
    cache = cache_of(source, seconds=60)
    source.open.clear()
    first = asyncio.create_task(cache.get("a"))
    await source.finished(1)
    source.values = {"a": 2}
    cache.forget("a")
    second = asyncio.create_task(cache.get("a"))
    await source.finished(2)
    source.open.set()
    assert (await first, await second) == (1, 2)
    # The result of the earlier read is not cached.
    assert await cache.get("a") == 2


async def test_a_cancelled_request_cancels_no_read() -> None:
    source = Source(a=1)
    cache = cache_of(source, seconds=60)
    source.open.clear()
    first, second = (asyncio.create_task(cache.get("a")) for _ in range(2))
    await source.finished(1)
    first.cancel()
    source.open.set()
    assert await second == 1


async def test_no_more_values_than_its_size() -> None:
    source = Source(**{str(number): number for number in range(20)})
    cache = cache_of(source, seconds=60, size=5)
    await asyncio.gather(*map(cache.get, source.values))
    assert sum(cache.peek(key) is not None for key in source.values) == 5


async def test_without_a_life_each_request_reads() -> None:
    source = Source(a=1)
    cache = cache_of(source, seconds=0)
    assert [await cache.get("a") for _ in range(3)] == [1, 1, 1]
    assert source.reads == [["a"]] * 3


async def test_close_cancels_reads() -> None:
    source = Source()
    cache = cache_of(source)
    source.open.clear()
    waiting = asyncio.create_task(cache.get("a"))
    await source.finished(1)
    late = asyncio.create_task(cache.get("b"))
    await asyncio.sleep(0)
    await cache.close()
    found = await asyncio.gather(waiting, late, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in found)
