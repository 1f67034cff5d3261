"""Time as an argument: the system's clock, and a virtual one in which hours take milliseconds."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """The clock of code that waits."""

    def time(self) -> float:
        """Wall clock, seconds since the epoch; may jump when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds since some start; never jumps, and has a meaning within one run of this machine
        only. Suspended time counts where the system measures it."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds; zero or less yields to other tasks once."""
        ...


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        # Linux stops its CLOCK_MONOTONIC while the machine is suspended.
        return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


SYSTEM_CLOCK = SystemClock()


class VirtualClock:
    """A clock that jumps to the next sleeper as soon as the event loop is idle.

    For one event loop. Sleepers wake in the order of their times. Real input and output does not
    hold the clock: sleepers of other tasks may go ahead while a task waits for a real server.

    Args:
        start: wall clock at the beginning, seconds since the epoch.
        grace_turns: idle turns of the event loop before time moves on.
    """

    def __init__(self, start: float = 1_767_225_600.0, *, grace_turns: int = 20) -> None:
        self._monotonic = 0.0
        self._wall_offset = start
        self._grace_turns = grace_turns
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._quiet_turns: int | None = None
        self.slept: list[float] = []
        """Length of every requested sleep in seconds, in order."""

    def time(self) -> float:
        return self._monotonic + self._wall_offset

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move the wall clock and the monotonic clock forwards at once."""
        if seconds < 0:
            raise ValueError("time passes forwards; use jump() to set the wall clock back")
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forwards or backwards, as an administrator or NTP does."""
        self._wall_offset += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        alarm: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), alarm))
        if self._quiet_turns is None:
            loop.call_soon(self._turn, loop)
        self._quiet_turns = 0
        await alarm

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Runs once in each turn of the loop while there are sleepers."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if not self._sleepers:
            self._quiet_turns = None
            return
        self._quiet_turns = (self._quiet_turns or 0) + 1
        if self._quiet_turns > self._grace_turns or self._sleepers[0][0] <= self._monotonic:
            wakes_at, _, alarm = heapq.heappop(self._sleepers)
            self._monotonic = max(self._monotonic, wakes_at)
            self._quiet_turns = 0
            alarm.set_result(None)
        loop.call_soon(self._turn, loop)
