"""Polls a provider's job until it is done or failed, or until the deadline.

Pure in (clock, fetch, policy), without providers and flow engine: virtual time runs six hours of it
in milliseconds.

* The deadline is counted on the wall clock from ``started_at``, which survives a restart. A clock
  set back does not extend the wait (the monotonic clock goes on counting). A clock set forward does
  not end it before one more poll.
* A provider's hint holds for the next poll alone; otherwise the policy's pace holds.
* A transient error never ends a wait before its deadline. A terminal one ends it at once.
* "Not ready yet" is not logged.
* A wait that lasts may be left, and taken up later by any process: it is parked.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pro_video.core.clock import SYSTEM_CLOCK, Clock
from pro_video.core.errors import (
    DeadlineExceeded,
    RateLimited,
    ServiceUnavailable,
    SlotUnavailable,
    TransientError,
)
from pro_video.core.retrying import LONGEST_HINT, Backoff, spread
from pro_video.core.stopping import Stopped, StopSignal

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observation(Generic[T]):
    """The result of one poll of a provider's job.

    Attributes:
        done: the job ended well and ``value`` is its result.
        value: the job as it is.
        progress: the provider's own progress, 0 … 1, if it tells one.
        next_poll: the provider's hint for the pause before the next poll, seconds.
    """

    done: bool
    value: T
    progress: float | None = None
    next_poll: float | None = None


@dataclass(frozen=True, slots=True)
class WaitPolicy:
    """The pace and the end of a wait; all times in seconds.

    Attributes:
        deadline: the wait ends this long after ``started_at``.
        first: pause after the first poll, and around the expected end.
        longest: longest pause of our own pace.
        factor: growth from pause to pause.
        jitter: random share of a pause, 0 … 1.
        transient_limit: longest pause of our own pace after transient errors.
        hint_limit: longest pause by a provider's hint.
        expected: usual length of the job; polls are rare far from it and frequent near it.
        poll_limit: longest time for one poll; a longer one counts as a transient error.
        wake_gap: least time between two polls under repeated wakes.
        park_after: age of a wait that is parked after two polls here; None parks none.
    """

    deadline: float
    first: float = 2.0
    longest: float = 10.0
    factor: float = 1.5
    jitter: float = 0.1
    transient_limit: float = 60.0
    hint_limit: float = LONGEST_HINT
    expected: float | None = None
    poll_limit: float = 180.0
    wake_gap: float = 1.0
    park_after: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.deadline) and self.deadline > 0):
            raise ValueError("a wait needs a finite deadline")
        if not (self.first > 0 and self.longest > 0 and self.factor >= 1):
            raise ValueError("pauses are positive and do not shrink")

    def pause(self, polls: int, elapsed: float) -> float:
        """Pause before the next poll, without jitter.

        Args:
            polls: answered polls so far, 1 or more.
            elapsed: seconds since the wait's start.
        """
        if self.expected is not None and elapsed < self.expected:
            # A fraction of the rest: few polls at the beginning of a long job.
            pause = (self.expected - elapsed) / 4
        else:
            pause = self.first * self.factor ** min(polls - 1, 60)
        return min(max(pause, min(self.first, self.longest)), self.longest)


class Parked(Exception):
    """A wait was left, to be taken up later. Not an error of the job, as ``Stopped`` is none.

    Attributes:
        until: latest time of the next poll, seconds since the epoch.
        message: what the job waits for.
    """

    def __init__(self, until: float, message: str = "") -> None:
        super().__init__(message)
        self.until = until
        self.message = message


# Shortest and longest time that a wait is parked without a poll, in seconds. Between them it is the
# wait's age: a lag at most doubles the wait, and a wait of six hours returns six times.
_PARKED_SHORTEST = 900.0
_PARKED_LONGEST = 7200.0
# A single poll may show what the next one denies.
_POLLS_BEFORE_PARKING = 2


class Wake(Protocol):
    """An event, such as ``asyncio.Event``, that is set when a poll should follow at once."""

    def is_set(self) -> bool: ...

    def clear(self) -> None: ...

    async def wait(self) -> Any: ...


class _Elapsed:
    """Seconds since ``started_at`` that go on counting when the clock is set back."""

    def __init__(self, clock: Clock, started_at: float | None) -> None:
        now = clock.time()
        self._clock = clock
        self._started_at = now if started_at is None else started_at
        self._before = max(0.0, now - self._started_at)
        self._mark = clock.monotonic()
        self._last = 0.0

    def __call__(self) -> float:
        wall = self._clock.time() - self._started_at
        own = self._before + self._clock.monotonic() - self._mark
        self._last = max(self._last, wall, own)
        return self._last


async def pause(
    seconds: float,
    *,
    clock: Clock = SYSTEM_CLOCK,
    stop: StopSignal | None = None,
    wake: Wake | None = None,
) -> bool:
    """Sleep up to ``seconds``; True when ``wake`` ended it.

    Raises:
        Stopped: the stop signal is set, at once.
    """
    if stop is not None:
        stop.raise_if_set()
    sleeper = asyncio.ensure_future(clock.sleep(seconds))
    stopper = asyncio.ensure_future(stop.wait()) if stop is not None else None
    waker = asyncio.ensure_future(wake.wait()) if wake is not None else None
    tasks: list[asyncio.Future[Any]] = [t for t in (sleeper, stopper, waker) if t is not None]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if stop is not None:
            stop.raise_if_set()
        return wake is not None and wake.is_set()
    finally:
        await _end(tasks)


async def wait_for(
    fetch: Callable[[], Awaitable[Observation[T]]],
    policy: WaitPolicy,
    *,
    clock: Clock = SYSTEM_CLOCK,
    stop: StopSignal | None = None,
    wake: Wake | None = None,
    on_observation: Callable[[Observation[T], float], Awaitable[None]] | None = None,
    started_at: float | None = None,
    what: str = "the provider's job",
    rng: Callable[[], float] = random.random,
) -> T:
    """Poll with ``fetch`` until the job has ended, and return its value.

    Args:
        fetch: one poll. It raises a ``TransientError`` when it got no answer, a ``TerminalError``
            when the job failed. The stop signal cancels it, so it must only read.
        policy: pace and deadline.
        clock: source of time.
        stop: ends the wait at once, during a sleep and during a poll.
        wake: brings the next poll forward when set. It is cleared before each poll.
        on_observation: called with each observation and the seconds since ``started_at``.
        started_at: begin of the job's first wait, seconds since the epoch; default is now.
        what: names the job in messages.
        rng: randomness for the jitter, numbers in 0 … 1.

    Raises:
        DeadlineExceeded: not done at the deadline, after one last poll.
        Parked: the wait goes on outside of this process.
        Stopped: the stop signal is set.
        TerminalError: as ``fetch`` raised it.
    """
    elapsed = _Elapsed(clock, started_at)
    trouble = Backoff(policy.first, max(policy.factor, 2.0), policy.transient_limit, policy.jitter)
    polls = failures = here = 0
    last_error: TransientError | None = None
    while True:
        if wake is not None:
            wake.clear()
        polled_at = clock.monotonic()
        # Decided before the poll: only a poll that began at the deadline is the last one. The clock
        # may jump, or the machine be suspended, during a poll.
        is_last = elapsed() >= policy.deadline - 0.001
        try:
            observation = await _poll(fetch, policy.poll_limit, stop, what)
        except TransientError as error:
            failures += 1
            if failures == 1:
                logger.warning("Cannot read %s, polling again: %s", what, error)
            last_error = error
            hint = error.retry_after
            own = trouble.pause(failures, rng=rng)
        else:
            if failures:
                logger.info("%s can be read again after %d tries", what, failures)
            polls, failures, last_error = polls + 1, 0, None
            if on_observation is not None:
                await on_observation(observation, elapsed())
            if observation.done:
                return observation.value
            hint = observation.next_poll
            own = spread(policy.pause(polls, elapsed()), policy.jitter, rng)
        if is_last:
            raise _too_late(policy, what, last_error) from None
        left = max(0.0, policy.deadline - elapsed())
        here += 1
        if _may_park(policy, here, elapsed()):
            age = min(max(elapsed(), _PARKED_SHORTEST), _PARKED_LONGEST)
            raise Parked(clock.time() + min(left, spread(age, policy.jitter, rng)))
        seconds = _choose(hint, own, policy.hint_limit, left)
        woken = await pause(seconds, clock=clock, stop=stop, wake=wake)
        early = policy.wake_gap - (clock.monotonic() - polled_at)
        if woken and early > 0:
            await pause(min(early, seconds), clock=clock, stop=stop)


async def until_slot(
    call: Callable[[], Awaitable[T]],
    policy: WaitPolicy,
    *,
    clock: Clock = SYSTEM_CLOCK,
    stop: StopSignal | None = None,
    on_wait: Callable[[TransientError, float, float], Awaitable[None]] | None = None,
    started_at: float | None = None,
    rng: Callable[[], float] = random.random,
) -> T:
    """Repeat ``call`` while the provider has no slot for it.

    ``SlotUnavailable`` and ``RateLimited`` mean that nothing was created; every other error is
    raised. The stop signal never cancels the call, because it may be paying.

    Args:
        call: one create.
        policy: pace and deadline of the wait.
        clock: source of time.
        stop: ends the pause between two calls at once.
        on_wait: called with the error, the seconds since ``started_at`` and the next pause.
        started_at: begin of the wait, seconds since the epoch; default is now.
        rng: randomness for the jitter, numbers in 0 … 1.

    Raises:
        DeadlineExceeded: no room until the deadline; nothing was created.
        Stopped: the stop signal is set.
    """
    elapsed = _Elapsed(clock, started_at)
    own = Backoff(policy.first, policy.factor, policy.longest, policy.jitter)
    refusals = 0
    while True:
        if stop is not None:
            stop.raise_if_set()
        try:
            return await call()
        except (SlotUnavailable, RateLimited) as error:
            refused = error
        refusals += 1
        left = policy.deadline - elapsed()
        if left <= 0:
            raise DeadlineExceeded(
                f"The provider had no room for the job within {_span(policy.deadline)}; nothing "
                f"was created. Last answer: {refused.message} Retry the run to wait again.",
                code="no_slot",
                provider=refused.provider,
                request_id=refused.request_id,
            )
        seconds = _choose(
            refused.retry_after, own.pause(refusals, rng=rng), policy.hint_limit, left
        )
        if on_wait is not None:
            await on_wait(refused, elapsed(), seconds)
        await pause(seconds, clock=clock, stop=stop)


def _may_park(policy: WaitPolicy, polls_here: int, elapsed: float) -> bool:
    after = policy.park_after
    return after is not None and elapsed >= after and polls_here >= _POLLS_BEFORE_PARKING


async def _poll(
    fetch: Callable[[], Awaitable[Observation[T]]], limit: float, stop: StopSignal | None, what: str
) -> Observation[T]:
    if stop is not None:
        stop.raise_if_set()
    poll: asyncio.Future[Observation[T]] = asyncio.ensure_future(fetch())
    tasks: list[asyncio.Future[Any]] = [poll]
    if stop is not None:
        tasks.append(asyncio.ensure_future(stop.wait()))
    try:
        await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        # A result that has arrived wins over the stop.
        if poll.done():
            return poll.result()
        if stop is not None and stop.reason is not None:
            raise Stopped(stop.reason)
        raise ServiceUnavailable(f"No answer about {what} within {_span(limit)}.")
    finally:
        await _end(tasks)


def _choose(hint: float | None, own: float, hint_limit: float, left: float) -> float:
    """The next pause: never beyond the deadline, so that the last poll falls on it."""
    if hint is None or math.isnan(hint):
        return min(own, left)
    # A hint of zero must not make a loop without pauses.
    return min(max(0.05, min(hint, hint_limit)), left)


def _too_late(policy: WaitPolicy, what: str, last_error: TransientError | None) -> DeadlineExceeded:
    seen = f" Last answer: {last_error.message}" if last_error is not None else ""
    return DeadlineExceeded(
        f"No result of {what} within {_span(policy.deadline)}; it may still go on.{seen} "
        "Retry the run to follow it again; that buys nothing anew.",
        code="deadline_exceeded",
        provider=last_error.provider if last_error is not None else None,
        request_id=last_error.request_id if last_error is not None else None,
    )


def _span(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 120 else f"{seconds:g} s"


async def _end(tasks: list[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
