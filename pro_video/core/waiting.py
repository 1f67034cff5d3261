"""Polls a provider's job until it is done or failed, or until the deadline.

Pure in (clock, fetch, policy): it knows no provider and no flow engine, so virtual time runs six
hours of it in milliseconds.

* The deadline is counted on the wall clock from ``started_at``, which survives a restart. A clock
  that is set back does not extend the wait (the monotonic clock goes on counting), one that is set
  forward does not end it before one more look.
* A provider's hint for the next look holds for that one look. Otherwise the policy's pace holds.
* A transient error never ends a wait before its deadline. A terminal one ends it at once.
* "Not ready yet" is no event: it is not logged.
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
    """One observation of a provider's job.

    Attributes:
        done: the job ended well and ``value`` is its result.
        value: the job as it is.
        progress: the provider's own progress, 0 … 1, when it tells one.
        next_poll: the provider's wish for the pause before the next look, seconds.
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
        first: pause after the first look, and around the expected end.
        longest: longest pause of our own choosing.
        factor: growth from pause to pause.
        jitter: share of a pause that is random, 0 … 1.
        transient_limit: longest pause of our own choosing after transient errors.
        hint_limit: longest pause that a provider's hint is obeyed for.
        expected: usual length of the job; far from it looks are rare, near it they are frequent.
        look_limit: longest time for one look; a longer one counts as a transient error.
        wake_gap: least time between two looks when the doorbell rings again and again.
    """

    deadline: float
    first: float = 2.0
    longest: float = 10.0
    factor: float = 1.5
    jitter: float = 0.1
    transient_limit: float = 60.0
    hint_limit: float = LONGEST_HINT
    expected: float | None = None
    look_limit: float = 180.0
    wake_gap: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.deadline) and self.deadline > 0):
            raise ValueError("a wait needs a finite deadline")
        if not (self.first > 0 and self.longest > 0 and self.factor >= 1):
            raise ValueError("pauses are positive and do not shrink")

    def pause(self, looks: int, elapsed: float) -> float:
        """Pause before the next look, without jitter.

        Args:
            looks: answered looks so far, 1 or more.
            elapsed: seconds since the wait's start.
        """
        if self.expected is not None and elapsed < self.expected:
            # A fraction of what is left: a long job is not asked often at its beginning.
            pause = (self.expected - elapsed) / 4
        else:
            pause = self.first * self.factor ** min(looks - 1, 60)
        return min(max(pause, min(self.first, self.longest)), self.longest)


class Wake(Protocol):
    """A doorbell, ``asyncio.Event`` for one: rung when a look is worth its while now."""

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
    bell = asyncio.ensure_future(wake.wait()) if wake is not None else None
    tasks: list[asyncio.Future[Any]] = [t for t in (sleeper, stopper, bell) if t is not None]
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
    """Look with ``fetch`` until it observes the end of the job, and return the job's value.

    Args:
        fetch: one look. It raises a ``TransientError`` when it could not see, a ``TerminalError``
            when the job failed. It is cancelled when the stop signal is set, so it must only read.
        policy: pace and deadline.
        clock: where time comes from.
        stop: ends the wait at once when set, during a sleep and during a look.
        wake: a doorbell; its ring brings the next look forward. It is cleared before each look.
        on_observation: told each observation and the seconds since ``started_at``, the last too.
        started_at: when the job's wait began, seconds since the epoch; now when not given. A wait
            that is taken up again after a restart gives the first one's time.
        what: names the job in texts.
        rng: randomness for the jitter, numbers in 0 … 1.

    Raises:
        DeadlineExceeded: not done at the deadline, after one last look.
        Stopped: the stop signal is set.
        TerminalError: as ``fetch`` raised it.
    """
    elapsed = _Elapsed(clock, started_at)
    trouble = Backoff(policy.first, max(policy.factor, 2.0), policy.transient_limit, policy.jitter)
    looks = failures = 0
    last_error: TransientError | None = None
    while True:
        if wake is not None:
            wake.clear()
        looked_at = clock.monotonic()
        # Judged before the look: only a look that began at the deadline is the last one. One during
        # which the clock jumped, or the machine slept, is followed by another.
        is_last = elapsed() >= policy.deadline - 0.001
        try:
            observation = await _look(fetch, policy.look_limit, stop, what)
        except TransientError as error:
            failures += 1
            if failures == 1:
                logger.warning("Cannot see %s, looking again: %s", what, error)
            last_error = error
            hint = error.retry_after
            own = trouble.pause(failures, rng=rng)
        else:
            if failures:
                logger.info("%s can be seen again after %d tries", what, failures)
            looks, failures, last_error = looks + 1, 0, None
            if on_observation is not None:
                await on_observation(observation, elapsed())
            if observation.done:
                return observation.value
            hint = observation.next_poll
            own = spread(policy.pause(looks, elapsed()), policy.jitter, rng)
        if is_last:
            raise _too_late(policy, what, last_error) from None
        left = max(0.0, policy.deadline - elapsed())
        await _sleep(
            _choose(hint, own, policy.hint_limit, left), looked_at, policy, clock, stop, wake
        )


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
    """Make ``call`` again while the provider answers that the account has no room for it now.

    ``SlotUnavailable`` and ``RateLimited`` mean that nothing was created; every other error is the
    caller's. Unlike a look, the call is never cancelled by the stop signal: it may be paying.

    Args:
        call: one create.
        policy: pace and deadline of the waiting.
        clock: where time comes from.
        stop: ends the pause between two calls at once when set.
        on_wait: told the error, the seconds since ``started_at`` and the pause that follows.
        started_at: when the waiting began, seconds since the epoch; now when not given.
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


async def _look(
    fetch: Callable[[], Awaitable[Observation[T]]],
    limit: float,
    stop: StopSignal | None,
    what: str,
) -> Observation[T]:
    if stop is not None:
        stop.raise_if_set()
    look: asyncio.Future[Observation[T]] = asyncio.ensure_future(fetch())
    tasks: list[asyncio.Future[Any]] = [look]
    if stop is not None:
        tasks.append(asyncio.ensure_future(stop.wait()))
    try:
        await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        # The result goes before the stop: one that has arrived is not thrown away.
        if look.done():
            return look.result()
        if stop is not None and stop.reason is not None:
            raise Stopped(stop.reason)
        raise ServiceUnavailable(f"No answer about {what} within {_span(limit)}.")
    finally:
        await _end(tasks)


async def _sleep(
    seconds: float,
    looked_at: float,
    policy: WaitPolicy,
    clock: Clock,
    stop: StopSignal | None,
    wake: Wake | None,
) -> None:
    rung = await pause(seconds, clock=clock, stop=stop, wake=wake)
    early = policy.wake_gap - (clock.monotonic() - looked_at)
    if rung and early > 0:
        await pause(min(early, seconds), clock=clock, stop=stop)


def _choose(hint: float | None, own: float, hint_limit: float, left: float) -> float:
    """The next pause: never beyond the deadline, so that the last look falls on it."""
    if hint is None or math.isnan(hint):
        return min(own, left)
    # A hint of zero must not become a loop without a pause.
    return min(max(0.05, min(hint, hint_limit)), left)


def _too_late(policy: WaitPolicy, what: str, last_error: TransientError | None) -> DeadlineExceeded:
    seen = f" Last answer: {last_error.message}" if last_error is not None else ""
    return DeadlineExceeded(
        f"No result of {what} within {_span(policy.deadline)}; it may still go on.{seen} "
        "Retry the run to take it up again.",
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
