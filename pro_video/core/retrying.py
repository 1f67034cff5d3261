"""Pauses between tries: growing, with jitter, and with a bounded ``Retry-After``."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from pro_video.core.clock import SYSTEM_CLOCK, Clock

logger = logging.getLogger("prefect.pro_video")

LONGEST_HINT = 300.0
"""Longest pause in seconds that a hint of the other side can cause."""


def clamp_hint(value: object, *, limit: float = LONGEST_HINT) -> float | None:
    """A pause in seconds from a number of a response, within 0 … ``limit``.

    None for anything but a number, so that a malformed hint counts as none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    if math.isnan(seconds):
        return None
    return min(max(0.0, seconds), limit)


def parse_retry_after(
    value: str | None, *, now: float, limit: float = LONGEST_HINT
) -> float | None:
    """A ``Retry-After`` header as a pause in seconds, within 0 … ``limit``.

    Both forms of RFC 9110 §10.2.3 are read: seconds, and an HTTP date, which is compared with
    ``now`` (seconds since the epoch). None when the header is absent or malformed.
    """
    if value is None:
        return None
    seconds = clamp_hint(value, limit=limit)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, moment.timestamp() - now), limit)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Growing pauses with jitter.

    Attributes:
        first: pause before the second try, seconds.
        factor: growth from pause to pause.
        longest: no pause is longer, seconds; jitter included.
        jitter: random share of the pause, 0 … 1; keeps clients from retrying in step.
        tries: tries in all, the first included.
    """

    first: float = 1.0
    factor: float = 2.0
    longest: float = 16.0
    jitter: float = 0.25
    tries: int = 5

    def __post_init__(self) -> None:
        if not (self.first >= 0 and self.longest >= 0 and self.factor >= 1):
            raise ValueError("pauses are not negative and do not shrink")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter is a share between 0 and 1")
        if self.tries < 1:
            raise ValueError("there is at least one try")

    def pause(
        self, failures: int, hint: float | None = None, *, rng: Callable[[], float] = random.random
    ) -> float:
        """Seconds to wait after that many failures in a row (1 or more).

        A ``hint`` of the other side, at most :data:`LONGEST_HINT`, replaces our own pace.
        """
        if hint is not None:
            return min(max(0.0, hint), LONGEST_HINT)
        # The exponent is bounded: 2.0 ** 1100 overflows.
        pause = min(self.longest, self.first * self.factor ** min(failures - 1, 60))
        return min(self.longest, spread(pause, self.jitter, rng))


def spread(seconds: float, jitter: float, rng: Callable[[], float] = random.random) -> float:
    """``seconds`` plus or minus up to the share ``jitter``; ``rng`` gives numbers in 0 … 1."""
    return seconds * (1.0 + jitter * (2.0 * rng() - 1.0))


_ANEW = Backoff(first=1.0, longest=60.0, tries=1)
# After work of this length the next pause is short again.
_LASTED_SECONDS = 300.0


async def keep_running(
    name: str, work: Callable[[], Awaitable[None]], *, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Run work as long as the process, and restart it whenever it ends, until it is cancelled.

    The work handles the errors that it expects. Unexpected ones are logged with their tracebacks.

    Args:
        name: of the work, for the log.
        work: makes a new awaitable for each run.
        clock: source of time for the pauses.
    """
    failures = 0
    while True:
        began = clock.monotonic()
        try:
            await work()
            logger.error("%s ended; it begins anew", name)
        except Exception:
            logger.exception("%s met an unexpected error; it begins anew", name)
        failures = 1 if clock.monotonic() - began >= _LASTED_SECONDS else failures + 1
        await clock.sleep(_ANEW.pause(failures))
