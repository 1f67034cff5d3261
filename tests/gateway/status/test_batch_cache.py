"""The cache of statuses: few looks for many askers, never older than promised."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.status.batch_cache import BatchCache

LIFE = 1.0
LATE = 4.0


class Source:
    """The cache's source and clock: each read is recorded, can be delayed or made to fail."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.looks: list[list[str]] = []
        self.values: dict[str, int] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None
        self._began = asyncio.Condition()

    async def look(self, keys: Sequence[str]) -> dict[str, int]:
        found = {key: self.values[key] for key in keys if key in self.values}
        async with self._began:
            self.looks.append(sorted(keys))
            self._began.notify_all()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return found

    async def looked(self, count: int) -> None:
        """Wait until there were that many looks, and until what is ready has run."""
        async with asyncio.timeout(5), self._began:
            await self._began.wait_for(lambda: len(self.looks) >= count)
        for _ in range(5):
            await asyncio.sleep(0)


def cache_of(
    source: Source, *, seconds: float = LIFE, batch: int = 100, size: int = 100
) -> BatchCache[str, int]:
    return BatchCache(
        source.look,
        seconds=seconds,
        late=LATE,
        size=size,
        batch=batch,
        clock=lambda: source.now,
    )


async def test_many_askers_one_look() -> None:
    source = Source()
    source.values = {"a": 1, "b": 2}
    cache = cache_of(source, seconds=60)
    answers = await asyncio.gather(*(cache.get(key) for key in ["a", "b", "none"] * 100))
    assert answers == [1, 2, None] * 100
    assert source.looks == [["a", "b", "none"]]
    assert [await cache.get(key) for key in ("a", "b", "none")] == [1, 2, None]
    assert (cache.fresh("a"), cache.fresh("none"), cache.fresh("c")) == (1, None, None)
    assert len(source.looks) == 1


async def test_groups_are_bounded() -> None:
    source = Source()
    source.values = {str(number): number for number in range(25)}
    cache = cache_of(source, seconds=60, batch=10)
    assert await asyncio.gather(*map(cache.get, source.values)) == list(range(25))
    assert [len(keys) for keys in source.looks] == [10, 10, 5]


async def test_one_look_renews_all_that_are_polled() -> None:
    source = Source()
    source.values = dict.fromkeys("abcdefgh", 1)
    cache = cache_of(source)
    for key in source.values:
        # One after the other, so that each is old at a time of its own.
        await cache.get(key)
        source.now += LIFE / 16
    assert len(source.looks) == 8
    assert cache.fresh("a") == 1
    await source.looked(9)
    assert source.looks[8] == ["a"]
    source.now += LIFE / 4
    assert cache.fresh("b") == 1
    await source.looked(10)
    # Keys of an age at which renewing is worth it.
    assert source.looks[9] == ["b", "c", "d", "e"]
    source.now += LIFE / 2
    assert cache.fresh("f") == 1
    await source.looked(11)
    assert source.looks[10] == ["a", "b", "c", "d", "e", "f", "g", "h"]


async def test_what_nobody_polls_any_more_is_not_renewed() -> None:
    source = Source()
    source.values = {"a": 1, "b": 1, "c": 1}
    cache = cache_of(source)
    await asyncio.gather(cache.get("a"), cache.get("b"), cache.get("missing"))
    source.now += 4
    await cache.get("b")
    source.now += 4
    await cache.get("c")
    assert source.looks[1:] == [["a", "b"], ["b", "c"]]
    source.now += 4
    await cache.get("c")
    assert source.looks[3:] == [["c"]]
    # Nor kept.
    assert (cache.peek("a"), cache.peek("c")) == (None, 1)


async def test_a_value_is_renewed_before_anybody_waits() -> None:
    source = Source()
    source.values = {"a": 1}
    cache = cache_of(source)
    await cache.get("a")
    source.values = {"a": 2}
    source.now += 0.6 * LIFE
    assert cache.fresh("a") == 1
    await source.looked(2)
    assert cache.fresh("a") == 2
    source.now += 0.4 * LIFE
    assert cache.fresh("a") == 2
    assert len(source.looks) == 2


async def test_slow_look_serves_the_old_value_for_a_bounded_time() -> None:
    source = Source()
    source.values = {"a": 1}
    cache = cache_of(source)
    await cache.get("a")
    source.open.clear()
    source.now += 0.6 * LIFE
    assert cache.fresh("a") == 1
    await source.looked(2)
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
    assert len(source.looks) == 2


async def test_old_value_without_a_look_is_not_served() -> None:
    source = Source()
    source.values = {"a": 1}
    cache = cache_of(source)
    await cache.get("a")
    source.now += LIFE
    assert cache.fresh("a") is None
    source.values = {"a": 2}
    assert await cache.get("a") == 2


async def test_error_reaches_all_who_wait_and_is_not_kept() -> None:
    source = Source()
    source.error = ValueError("away")
    cache = cache_of(source, seconds=60)
    found = await asyncio.gather(cache.get("a"), cache.get("a"), return_exceptions=True)
    assert [str(error) for error in found] == ["away", "away"]
    assert len(source.looks) == 1
    source.error, source.values = None, {"a": 1}
    assert await cache.get("a") == 1


async def test_failed_renewal_is_tried_once_and_then_told() -> None:
    source = Source()
    source.values = {"a": 1}
    cache = cache_of(source)
    await cache.get("a")
    source.error = ValueError("away")
    source.now += 0.6 * LIFE
    assert cache.fresh("a") == 1
    await source.looked(2)
    assert [cache.fresh("a") for _ in range(3)] == [1, 1, 1]
    assert len(source.looks) == 2
    source.now += LIFE
    with pytest.raises(ValueError, match="away"):
        await cache.get("a")


async def test_forget_looks_anew_also_during_a_look() -> None:
    source = Source()
    source.values = {"a": 1}
    cache = cache_of(source, seconds=60)
    source.open.clear()
    first = asyncio.create_task(cache.get("a"))
    await source.looked(1)
    source.values = {"a": 2}
    cache.forget("a")
    second = asyncio.create_task(cache.get("a"))
    await source.looked(2)
    source.open.set()
    assert (await first, await second) == (1, 2)
    # The look that had read before must not come back.
    assert await cache.get("a") == 2


async def test_asker_who_leaves_ends_no_look() -> None:
    source = Source()
    source.values = {"a": 1}
    cache = cache_of(source, seconds=60)
    source.open.clear()
    first, second = (asyncio.create_task(cache.get("a")) for _ in range(2))
    await source.looked(1)
    first.cancel()
    source.open.set()
    assert await second == 1


async def test_no_more_values_than_its_size() -> None:
    source = Source()
    source.values = {str(number): number for number in range(20)}
    cache = cache_of(source, seconds=60, size=5)
    await asyncio.gather(*map(cache.get, source.values))
    assert sum(cache.peek(key) is not None for key in source.values) == 5


async def test_without_a_life_each_ask_looks() -> None:
    source = Source()
    source.values = {"a": 1}
    cache = cache_of(source, seconds=0)
    assert [await cache.get("a") for _ in range(3)] == [1, 1, 1]
    assert source.looks == [["a"]] * 3


async def test_close_ends_looks() -> None:
    source = Source()
    cache = cache_of(source)
    source.open.clear()
    waiting = asyncio.create_task(cache.get("a"))
    await source.looked(1)
    late = asyncio.create_task(cache.get("b"))
    await asyncio.sleep(0)
    await cache.close()
    found = await asyncio.gather(waiting, late, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in found)
