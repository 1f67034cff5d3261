"""Limits per owner: the pace of requests and the bytes of uploads in the bucket."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.app.context import GatewayContext
from gateway.base.problems import ProblemError
from gateway.base.single_flight import FlightCache
from gateway.bucket.objects import in_thread, list_objects

_OWNERS = 10_000
_USAGE_LIFE = 30.0


@dataclass
class _Bucket:
    tokens: float
    at: float


class Pace:
    """A token bucket per owner: an average rate with bursts.

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
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, owner: str) -> None:
        """Count one request.

        Raises:
            ProblemError: 429, with the time until there is room again.
        """
        now = self._clock()
        bucket = self._buckets.setdefault(owner, _Bucket(self._burst, now))
        self._buckets.move_to_end(owner)
        while len(self._buckets) > _OWNERS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.tokens < 1:
            raise ProblemError(
                429,
                "too_many_requests",
                "Too many requests. Slow down; a status is not fresher than a second anyway.",
                retry_after=(1 - bucket.tokens) / self._rate,
            )
        bucket.tokens -= 1


class Usage:
    """Bytes of the owners' uploads: counted in the bucket, which is the truth, now and then."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._counted: FlightCache[str, int] = FlightCache(size=_OWNERS)
        self._added: dict[str, int] = {}

    async def room(self, owner: str) -> int:
        """Bytes that the owner may still store; not below 0."""
        counted = await self._counted.get(owner, lambda: self._count(owner), seconds=_USAGE_LIFE)
        used = counted + self._added.get(owner, 0)
        return max(0, self._context.settings.stored_bytes - used)

    def add(self, owner: str, size: int) -> None:
        """Note bytes that were promised or stored since the last count."""
        self._added[owner] = self._added.get(owner, 0) + size

    async def _count(self, owner: str) -> int:
        self._added.pop(owner, None)
        storage = await self._context.storage()
        return await in_thread(
            self._context.threads,
            lambda: sum(found.size for found in list_objects(storage, owner_prefix(owner))),
        )


def owner_prefix(owner: str) -> str:
    """The prefix of an owner's uploads."""
    return f"uploads/{owner}/"
