"""Jobs that were at work at two losses of a worker work one at a time, until the next loss shows
the cause."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Completed, Crashed, Failed, Pending, Running

from pro_video.core.errors import DiedTooOften
from pro_video.core.progress import Stage
from pro_video.core.settings import get_settings
from pro_video.core.stopping import Stopped, StopReason, StopSignal, use_stop
from tasks.connections.run_history import DIED, TAKEN_UP, RunHistory
from tasks.run.turns import Turn


def suspect() -> Turn:
    turn = Turn()
    turn.needed = True
    return turn


class Worker:
    """Processes that run jobs one after the other, each until one of its jobs ends it.

    Every job comes to work as early and as often as it can beside the one that ends its process.
    """

    def __init__(self, innocents: Sequence[str], *, at_their_begin: bool) -> None:
        self.jobs = [*innocents[::2], "culprit", *innocents[1::2]]
        self.at_their_begin = at_their_begin
        self.states: dict[str, list[State[Any]]] = defaultdict(list)
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.beside: list[int] = []

    def show(self, job: str, *states: State[Any]) -> None:
        for state in states:
            self.time += timedelta(seconds=1)
            self.states[job].append(state.model_copy(update={"timestamp": self.time}))

    def last(self, job: str) -> State[Any]:
        return self.states[job][-1]

    def ended(self, job: str) -> bool:
        return bool(self.states[job]) and self.last(job).type.value in ("COMPLETED", "FAILED")

    async def job(self, name: str, dead: asyncio.Event) -> None:
        history = RunHistory.of(self.states[name])
        try:
            history.check()
        except DiedTooOften as error:
            self.show(name, Failed(message=str(error)))
            return
        self.show(name, Pending(), Running())
        turn = Turn()
        turn.needed = history.suspect
        await turn.take()
        self.show(name, Running(name=Stage.UPLOADING.value.name))
        # Time for all others to come to work too; the shorter one of the innocent ends first.
        beside = 200 if self.at_their_begin else 1
        for _ in range(100 if name == "culprit" else beside):
            await asyncio.sleep(0)
        if name == "culprit":
            self.beside.append(
                sum(self.last(job).name == Stage.UPLOADING.value.name for job in self.jobs) - 1
            )
            dead.set()
            return
        turn.release()
        self.show(name, Running(name=Stage.LIP_SYNC_PROCESSING.value.name))
        while not self.ended("culprit"):  # noqa: ASYNC110
            await asyncio.sleep(0)
        self.show(name, Completed())

    async def process(self) -> None:
        dead = asyncio.Event()
        running = [
            asyncio.ensure_future(self.job(job, dead)) for job in self.jobs if not self.ended(job)
        ]
        death: asyncio.Future[Any] = asyncio.ensure_future(dead.wait())
        everything: asyncio.Future[Any] = asyncio.gather(*running)
        await asyncio.wait({death, everything}, return_when=asyncio.FIRST_COMPLETED)
        for task in (death, everything):
            task.cancel()
        await asyncio.gather(death, everything, return_exceptions=True)
        for job in self.jobs:
            if not self.ended(job):
                lost: State[Any] = Crashed(name="WorkerLost", message=DIED)
                self.show(job, lost, AwaitingRetry(message=TAKEN_UP))

    def run(self) -> None:
        for _ in range(50):
            if all(self.ended(job) for job in self.jobs):
                return
            # The locks of a process end with it.
            asyncio.run(self.process())
        raise AssertionError("it never ends")


@pytest.mark.parametrize("at_their_begin", [False, True])
def test_the_innocent_lose_nothing_by_the_one_that_ends_their_process(
    at_their_begin: bool,
) -> None:
    innocents = [f"innocent {number}" for number in range(20)]
    worker = Worker(innocents, at_their_begin=at_their_begin)
    worker.run()
    assert {worker.last(job).type.value for job in innocents} == {"COMPLETED"}
    assert worker.last("culprit").type.value == "FAILED"
    deaths = get_settings().max_recoveries + 1
    assert f"lost {deaths} times" in str(worker.last("culprit").message)
    assert len(worker.beside) == deaths
    # Beside it there were others at first, and nobody in the end.
    assert worker.beside[0] == (20 if at_their_begin else 0)
    assert worker.beside[2:] == [0] * (deaths - 2)
    for job in innocents:
        assert RunHistory.of(worker.states[job]).crashes <= 2


async def test_one_suspect_works_at_a_time_in_the_order_of_coming() -> None:
    at_work: list[int] = []
    order: list[int] = []

    async def work(number: int) -> None:
        turn = suspect()
        await turn.take()
        # Taken once is enough.
        await turn.take()
        order.append(number)
        at_work.append(number)
        assert at_work == [number]
        await asyncio.sleep(0)
        at_work.remove(number)
        turn.release()
        turn.release()

    await asyncio.gather(*(work(number) for number in range(5)))
    assert order == [*range(5)]


async def test_others_need_no_turn() -> None:
    held, free = suspect(), Turn()
    await held.take()
    await free.take()
    held.release()
    free.release()


async def test_a_stop_order_ends_the_wait_for_a_turn() -> None:
    held, next_one, stop = suspect(), suspect(), StopSignal()
    await held.take()
    with use_stop(stop):
        waiting = asyncio.ensure_future(next_one.take())
    await asyncio.sleep(0)
    stop.set(StopReason.CANCELLED)
    with pytest.raises(Stopped):
        await waiting
    held.release()
    # The one that left holds up no other.
    third = suspect()
    await third.take()
    third.release()
