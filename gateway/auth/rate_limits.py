"""Limits of the rate of requests per owner, as token buckets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from gateway.base.problems import ProblemError
from gateway.base.settings import GatewaySettings

_OWNERS = 10_000


@dataclass
class _TokenBucket:
    tokens: float
    filled_at: float


class RateLimiter:
    """A token bucket per owner: an average rate, with bursts.

    Args:
        rate: requests per second.
        burst: requests at once.
        clock: source of time, in seconds.
    """

    def __init__(
        self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._buckets: LRUCache[str, _TokenBucket] = LRUCache(_OWNERS)

    def take(self, owner: str) -> None:
        """Count one request.

        Raises:
            ProblemError: 429, with the seconds until there is a token again.
        """
        now = self._clock()
        bucket = self._buckets.setdefault(owner, _TokenBucket(self._burst, now))
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled_at) * self._rate)
        bucket.filled_at = now
        if bucket.tokens < 1:
            raise ProblemError(
                429,
                "too_many_requests",
                "You send more requests per second than allowed. This one was not handled; slow "
                "down.",
                retry_after=(1 - bucket.tokens) / self._rate,
            )
        bucket.tokens -= 1


@dataclass(frozen=True)
class RateLimits:
    """The limits of one application.

    Attributes:
        requests: requests other than status reads.
        status_reads: reads of statuses.
    """

    requests: RateLimiter
    status_reads: RateLimiter

    @classmethod
    def of(cls, settings: GatewaySettings) -> RateLimits:
        """The limits of the settings."""
        return cls(
            requests=RateLimiter(settings.requests_per_second, settings.request_burst),
            status_reads=RateLimiter(settings.status_reads_per_second, settings.status_read_burst),
        )
