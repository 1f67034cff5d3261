"""The time at which a job is done, and the tasks that wait for it."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from sandbox.common.settings import SwitchBoard

LONGEST_SLEEP = 3600.0
HOLD_PAUSE = 0.2


def job_seconds(switches: SwitchBoard, real_seconds: float) -> float:
    """From acceptance to done: `seconds_per_job` if set, else the real figure times `time_scale`.

    The caller adds it to the time of acceptance and persists the sum, so that a restarted
    emulator finishes the job when it would have.
    """
    fixed = switches["seconds_per_job"]
    return float(fixed) if fixed is not None else scaled(switches, real_seconds)


def scaled(switches: SwitchBoard, real_seconds: float) -> float:
    """Seconds here for a time span of the vendor."""
    return real_seconds * float(switches["time_scale"])


async def sleep_until(when: float) -> None:
    """Sleep until the wall clock (seconds since the epoch) reaches `when`."""
    # The wall clock may be set while we sleep, so a long sleep is taken in pieces.
    while True:
        left = when - time.time()
        if left <= 0:
            return
        await asyncio.sleep(min(left, LONGEST_SLEEP))


async def until_due(switches: SwitchBoard, when: float) -> None:
    """Sleep until `when`, and longer while the switch `hold` is on."""
    await sleep_until(when)
    # The switch is a row of the database: nothing announces its change.
    while switches["hold"]:  # noqa: ASYNC110
        await asyncio.sleep(HOLD_PAUSE)


class Tasks:
    """Background tasks, one per name, all of them cancelled at shutdown."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` unless a task of that name is running already."""
        running = self._tasks.get(name)
        if running is not None and not running.done():
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._forget(name, done))

    def _forget(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler(
                {"message": f"sandbox task {name} failed", "exception": error, "task": task}
            )

    async def close(self) -> None:
        """Cancel every task and wait for the end of each."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
