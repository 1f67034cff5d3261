from __future__ import annotations

import asyncio
import time

import pytest

from pro_video.core.clock import SYSTEM_CLOCK, VirtualClock


async def test_virtual_sleepers_wake_in_the_order_of_their_times() -> None:
    clock = VirtualClock(start=1000.0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float, times: int) -> None:
        for _ in range(times):
            await clock.sleep(seconds)
            woken.append((name, clock.monotonic()))

    await asyncio.gather(sleeper("slow", 10, 2), sleeper("fast", 4, 4))
    assert woken == [
        ("fast", 4),
        ("fast", 8),
        ("slow", 10),
        ("fast", 12),
        ("fast", 16),
        ("slow", 20),
    ]
    assert clock.time() == 1020.0


async def test_a_cancelled_sleeper_holds_no_one_up() -> None:
    clock = VirtualClock()
    early = asyncio.create_task(clock.sleep(1))
    late = asyncio.create_task(clock.sleep(100))
    await asyncio.sleep(0)
    early.cancel()
    await late
    assert clock.monotonic() == 100


async def test_a_jump_moves_the_wall_clock_only() -> None:
    clock = VirtualClock(start=1000.0)
    clock.jump(-600)
    assert (clock.time(), clock.monotonic()) == (400.0, 0.0)
    clock.advance(5)
    assert (clock.time(), clock.monotonic()) == (405.0, 5.0)
    with pytest.raises(ValueError, match="forwards"):
        clock.advance(-1)


async def test_sleeps_of_no_length_return() -> None:
    clock = VirtualClock()
    await clock.sleep(0)
    await clock.sleep(-1)
    await SYSTEM_CLOCK.sleep(-1)
    assert clock.monotonic() == 0
    assert clock.slept == [0, -1]


def test_the_system_clock_is_the_machines() -> None:
    assert abs(SYSTEM_CLOCK.time() - time.time()) < 5
    assert abs(SYSTEM_CLOCK.monotonic() - time.monotonic()) < 5
