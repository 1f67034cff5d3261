from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from pro_video.core.clock import SYSTEM_CLOCK, VirtualClock
from pro_video.core.errors import (
    DeadlineExceeded,
    JobFailed,
    OutcomeUnknown,
    RateLimited,
    ServiceUnavailable,
    SlotUnavailable,
)
from pro_video.core.stopping import Stopped, StopReason, StopSignal
from pro_video.core.waiting import Observation, WaitPolicy, pause, until_slot, wait_for

STEADY = WaitPolicy(deadline=100, first=10, longest=10, jitter=0)


class Job:
    """A provider's job: done at a time, or scripted look by look."""

    def __init__(
        self,
        clock: VirtualClock,
        done_at: float = float("inf"),
        script: Sequence[Observation[str] | Exception] = (),
    ) -> None:
        self.clock = clock
        self.done_at = done_at
        self.looked: list[float] = []
        self.script = list(script)

    async def look(self) -> Observation[str]:
        self.looked.append(self.clock.monotonic())
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, Exception):
                raise step
            return step
        done = self.clock.monotonic() >= self.done_at
        return Observation(done, "result" if done else "running", 1.0 if done else 0.5)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


async def test_six_hours_take_no_time(clock: VirtualClock) -> None:
    started = time.monotonic()
    job = Job(clock, done_at=6 * 3600 - 5)
    policy = WaitPolicy(deadline=6 * 3600, longest=60)
    assert await wait_for(job.look, policy, clock=clock) == "result"
    assert clock.monotonic() >= 6 * 3600 - 5
    assert time.monotonic() - started < 5


async def test_pauses_grow_and_stay_below_the_longest(clock: VirtualClock) -> None:
    job = Job(clock, done_at=60)
    policy = WaitPolicy(deadline=1000, first=2, factor=2, longest=20, jitter=0)
    await wait_for(job.look, policy, clock=clock)
    assert job.looked == [0, 2, 6, 14, 30, 50, 70]


async def test_a_known_length_saves_early_looks(clock: VirtualClock) -> None:
    job = Job(clock, done_at=600)
    policy = WaitPolicy(deadline=3600, first=2, longest=120, jitter=0, expected=600)
    await wait_for(job.look, policy, clock=clock)
    assert job.looked[1:4] == [120, 240, 330]
    assert len(job.looked) < 25
    assert job.looked[-1] - 600 < 5
    # Near the expected end the looks are frequent, long after it they are rare again.
    assert policy.pause(polls=9, elapsed=599) == 2
    assert policy.pause(polls=30, elapsed=2000) == 120


async def test_jitter_keeps_waiters_apart() -> None:
    def looks(rng: float) -> Callable[[], Awaitable[list[float]]]:
        async def run() -> list[float]:
            clock = VirtualClock()
            job = Job(clock, done_at=15)
            policy = WaitPolicy(deadline=100, first=10, longest=10, jitter=0.2)
            await wait_for(job.look, policy, clock=clock, rng=lambda: rng)
            return job.looked

        return run

    assert await looks(0.0)() == [0, 8, 16]
    assert await looks(1.0)() == [0, 12, 24]


async def test_a_hint_holds_for_one_look_and_is_capped(clock: VirtualClock) -> None:
    job = Job(
        clock,
        script=[
            Observation(False, "running", next_poll=3),
            Observation(False, "running"),
            Observation(False, "running", next_poll=10_000),
            Observation(False, "running", next_poll=0),
            Observation(False, "running", next_poll=float("nan")),
            Observation(True, "result"),
        ],
    )
    policy = WaitPolicy(deadline=1000, first=10, longest=10, jitter=0, hint_limit=50)
    assert await wait_for(job.look, policy, clock=clock) == "result"
    gaps = [round(b - a, 3) for a, b in zip(job.looked, job.looked[1:], strict=False)]
    assert gaps == [3, 10, 50, 0.05, 10]


async def test_the_deadline_ends_the_wait_with_a_last_look_on_it(clock: VirtualClock) -> None:
    job = Job(clock)
    with pytest.raises(DeadlineExceeded, match="No result of the lip-sync within 100 s") as caught:
        await wait_for(job.look, STEADY, clock=clock, what="the lip-sync")
    assert caught.value.code == "deadline_exceeded"
    assert job.looked[-1] == pytest.approx(100, abs=0.01)
    assert len(job.looked) == 11


async def test_a_result_on_the_deadline_counts(clock: VirtualClock) -> None:
    job = Job(clock, done_at=99.9)
    assert await wait_for(job.look, STEADY, clock=clock) == "result"


async def test_a_restart_goes_on_counting(clock: VirtualClock) -> None:
    job = Job(clock)
    with pytest.raises(DeadlineExceeded):
        await wait_for(job.look, STEADY, clock=clock, started_at=clock.time() - 75)
    assert job.looked[-1] == pytest.approx(25, abs=0.01)


async def test_a_restart_after_the_deadline_still_looks_once(clock: VirtualClock) -> None:
    late = clock.time() - 10_000
    assert await wait_for(Job(clock, 0).look, STEADY, clock=clock, started_at=late) == "result"
    job = Job(clock)
    with pytest.raises(DeadlineExceeded):
        await wait_for(job.look, STEADY, clock=clock, started_at=late)
    assert len(job.looked) == 1


@pytest.mark.parametrize("at", [0, 35, 95])
async def test_a_clock_set_back_does_not_extend_the_wait(clock: VirtualClock, at: float) -> None:
    job = Job(clock)

    async def look() -> Observation[str]:
        if clock.monotonic() >= at and clock.time() > 1_000_000:
            clock.jump(-clock.time())
        return await job.look()

    with pytest.raises(DeadlineExceeded):
        await wait_for(look, STEADY, clock=clock)
    assert job.looked[-1] == pytest.approx(100, abs=0.01)


async def test_a_start_in_the_future_does_not_extend_the_wait(clock: VirtualClock) -> None:
    job = Job(clock)
    with pytest.raises(DeadlineExceeded):
        await wait_for(job.look, STEADY, clock=clock, started_at=clock.time() + 5000)
    assert job.looked[-1] == pytest.approx(100, abs=0.01)


async def test_a_clock_set_forward_is_followed_by_another_look(clock: VirtualClock) -> None:
    job = Job(clock)
    results = [False, True]

    async def look() -> Observation[str]:
        await job.look()
        done = results.pop(0)
        clock.jump(1_000_000)
        return Observation(done, "result")

    assert await wait_for(look, STEADY, clock=clock) == "result"
    assert len(job.looked) == 2


async def test_transient_errors_do_not_end_the_wait(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    job = Job(clock, script=[*[ServiceUnavailable("away")] * 40, Observation(True, "result")])
    policy = WaitPolicy(deadline=10_000, first=2, jitter=0, transient_limit=60)
    with caplog.at_level(logging.INFO):
        assert await wait_for(job.look, policy, clock=clock) == "result"
    assert max(b - a for a, b in zip(job.looked, job.looked[1:], strict=False)) == 60
    # One line when it begins and one when it ends, not one per try.
    assert len(caplog.records) == 2


async def test_retry_after_of_a_transient_error_is_obeyed(clock: VirtualClock) -> None:
    job = Job(
        clock,
        script=[
            RateLimited("slow down", retry_after=42),
            RateLimited("slow down", retry_after=1e9),
            Observation(True, "result"),
        ],
    )
    policy = WaitPolicy(deadline=10_000, jitter=0, hint_limit=120)
    assert await wait_for(job.look, policy, clock=clock) == "result"
    assert job.looked == [0, 42, 162]


async def test_transient_errors_are_bounded_by_the_deadline(clock: VirtualClock) -> None:
    job = Job(
        clock, script=[ServiceUnavailable("away", provider="sync.so", request_id="r1")] * 1000
    )
    with pytest.raises(DeadlineExceeded, match="Last answer: away") as caught:
        await wait_for(job.look, STEADY, clock=clock)
    assert job.looked[-1] == pytest.approx(100, abs=0.01)
    assert (caught.value.provider, caught.value.request_id) == ("sync.so", "r1")


async def test_a_look_that_hangs_is_given_up(clock: VirtualClock) -> None:
    calls = 0

    async def look() -> Observation[str]:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        return Observation(True, "result")

    policy = WaitPolicy(deadline=100, poll_limit=0.05)
    assert await asyncio.wait_for(wait_for(look, policy, clock=clock), 10) == "result"
    assert calls == 2


async def test_terminal_errors_end_the_wait_at_once(clock: VirtualClock) -> None:
    job = Job(clock, script=[JobFailed("face not found")])
    with pytest.raises(JobFailed, match="face not found"):
        await wait_for(job.look, STEADY, clock=clock)
    assert clock.monotonic() == 0


async def test_not_ready_is_not_logged(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="pro_video"):
        await wait_for(Job(clock, 90).look, STEADY, clock=clock)
    assert not caplog.records


async def test_observations_are_told_with_the_elapsed_time(clock: VirtualClock) -> None:
    told: list[tuple[bool, float | None, float]] = []

    async def tell(observation: Observation[str], elapsed: float) -> None:
        told.append((observation.done, observation.progress, round(elapsed, 3)))

    job = Job(clock, done_at=15)
    started = clock.time() - 5
    await wait_for(job.look, STEADY, clock=clock, on_observation=tell, started_at=started)
    assert told == [(False, 0.5, 5), (False, 0.5, 15), (True, 1.0, 25)]


async def test_an_error_of_the_listener_is_not_a_failed_look(clock: VirtualClock) -> None:
    async def tell(observation: Observation[str], elapsed: float) -> None:
        raise ServiceUnavailable("the progress could not be written")

    with pytest.raises(ServiceUnavailable, match="progress"):
        await wait_for(Job(clock).look, STEADY, clock=clock, on_observation=tell)


async def test_stop_ends_a_real_sleep_at_once() -> None:
    stop = StopSignal()
    asleep = threading.Event()

    async def look() -> Observation[str]:
        asleep.set()
        return Observation(False, "running", next_poll=300)

    def cancel() -> None:
        asleep.wait(10)
        stop.set(StopReason.CANCELLED)

    thread = threading.Thread(target=cancel)
    thread.start()
    policy = WaitPolicy(deadline=3600)
    with pytest.raises(Stopped) as caught:
        await asyncio.wait_for(wait_for(look, policy, clock=SYSTEM_CLOCK, stop=stop), 10)
    assert caught.value.reason is StopReason.CANCELLED
    thread.join()


async def test_stop_ends_a_look_at_once() -> None:
    stop = StopSignal()
    cancelled = False

    async def look() -> Observation[str]:
        nonlocal cancelled
        asyncio.get_running_loop().call_soon(stop.set, StopReason.HANDOVER)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise
        raise AssertionError

    with pytest.raises(Stopped):
        await asyncio.wait_for(wait_for(look, STEADY, stop=stop), 10)
    assert cancelled


async def test_a_signal_set_before_looks_at_nothing(clock: VirtualClock) -> None:
    stop = StopSignal()
    stop.set(StopReason.CANCELLED)
    job = Job(clock)
    with pytest.raises(Stopped):
        await wait_for(job.look, STEADY, clock=clock, stop=stop)
    assert not job.looked


async def test_a_wake_brings_the_poll_forward() -> None:
    wake = asyncio.Event()
    done = False
    looks = 0

    async def look() -> Observation[str]:
        nonlocal looks, done
        looks += 1
        if looks == 1:
            # Set during a poll: that wake must not be lost.
            done = True
            asyncio.get_running_loop().call_soon(wake.set)
            return Observation(False, "running", next_poll=300)
        return Observation(done, "result")

    policy = WaitPolicy(deadline=3600, wake_gap=0.01)
    assert await asyncio.wait_for(wait_for(look, policy, wake=wake), 10) == "result"
    assert looks == 2


async def test_repeated_wakes_do_not_become_a_loop(clock: VirtualClock) -> None:
    class Stuck(asyncio.Event):
        def clear(self) -> None:
            """Set again before the next poll."""

    wake = Stuck()
    wake.set()
    job = Job(clock, done_at=5)
    await wait_for(job.look, STEADY, clock=clock, wake=wake)
    assert len(job.looked) <= 7


async def test_cancelling_the_task_leaves_no_task_behind() -> None:
    waiter = asyncio.create_task(
        wait_for(Job(VirtualClock()).look, WaitPolicy(deadline=3600), stop=StopSignal())
    )
    for _ in range(5):
        await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    "fields",
    [
        {"deadline": 0},
        {"deadline": float("inf")},
        {"deadline": float("nan")},
        {"deadline": 1, "first": 0},
        {"deadline": 1, "factor": 0.5},
    ],
)
def test_a_wait_without_an_end_or_a_pace_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"deadline|pauses"):
        WaitPolicy(**fields)


async def test_a_slot_is_waited_for(clock: VirtualClock) -> None:
    full = SlotUnavailable("3 of 3", retry_after=7)
    job = Job(clock, 0, script=[full, RateLimited("slow down"), SlotUnavailable("3 of 3")])
    waits: list[tuple[str, float, float]] = []

    async def tell(error: Exception, elapsed: float, seconds: float) -> None:
        waits.append((str(error), elapsed, seconds))

    policy = WaitPolicy(deadline=100, first=2, factor=2, jitter=0)
    assert (await until_slot(job.look, policy, clock=clock, on_wait=tell)).value == "result"
    assert job.looked == [0, 7, 11, 19]
    assert [wait[2] for wait in waits] == [7, 4, 8]


async def test_no_slot_until_the_deadline(clock: VirtualClock) -> None:
    job = Job(clock, script=[SlotUnavailable("3 of 3", provider="sync.so")] * 100)
    with pytest.raises(DeadlineExceeded, match="nothing was created") as caught:
        await until_slot(job.look, STEADY, clock=clock)
    assert caught.value.code == "no_slot"
    assert job.looked[-1] == pytest.approx(100, abs=0.01)


async def test_other_errors_of_a_create_are_the_callers(clock: VirtualClock) -> None:
    job = Job(clock, script=[SlotUnavailable("3 of 3"), OutcomeUnknown("lost")])
    with pytest.raises(OutcomeUnknown):
        await until_slot(job.look, STEADY, clock=clock)


async def test_stop_ends_the_wait_for_a_slot_but_not_a_create(clock: VirtualClock) -> None:
    stop = StopSignal()

    async def create() -> str:
        stop.set(StopReason.HANDOVER)
        await asyncio.sleep(0)
        return "created"

    assert await until_slot(create, STEADY, clock=clock, stop=stop) == "created"
    job = Job(clock)
    with pytest.raises(Stopped):
        await until_slot(job.look, STEADY, clock=clock, stop=stop)
    assert not job.looked


async def test_pause_tells_what_ended_it(clock: VirtualClock) -> None:
    wake = asyncio.Event()
    assert await pause(5, clock=clock, wake=wake) is False
    wake.set()
    assert await pause(5000, clock=SYSTEM_CLOCK, wake=wake) is True


async def test_a_thousand_waits_at_once(clock: VirtualClock) -> None:
    jobs = [Job(clock, done_at=10 + n % 50) for n in range(1000)]
    policy = WaitPolicy(deadline=3600, first=30, longest=30)
    results = await asyncio.gather(
        *(wait_for(job.look, policy, clock=clock, stop=StopSignal()) for job in jobs)
    )
    assert results == ["result"] * 1000
