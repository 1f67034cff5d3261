"""Keys of recent callbacks, so that a repeated one is not handled again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable


class ReplayCache:
    """Keys, bounded in time and number; the oldest are dropped first.

    Args:
        seconds: time for which a key is kept.
        size: most keys.
        monotonic: source of time.
    """

    def __init__(
        self,
        *,
        seconds: float,
        size: int = 20_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._size = size
        self._monotonic = monotonic
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def add(self, key: Hashable) -> bool:
        """Add a key; False when it was there."""
        now = self._monotonic()
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        if key in self._until:
            return False
        self._until[key] = now + self._seconds
        if len(self._until) > self._size:
            self._until.popitem(last=False)
        return True

    def discard(self, key: Hashable) -> None:
        """Remove a key, because the handling of its callback failed."""
        self._until.pop(key, None)
