"""Remembers recent callbacks, so that a repeated one is not handled again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable


class Memory:
    """Remembers keys for a bounded time and in bounded number; the oldest go first.

    Args:
        seconds: how long a key is remembered.
        size: how many keys at most.
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

    def remember(self, key: Hashable) -> bool:
        """True when the key is new."""
        now = self._monotonic()
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        if key in self._until:
            return False
        self._until[key] = now + self._seconds
        if len(self._until) > self._size:
            self._until.popitem(last=False)
        return True

    def forget(self, key: Hashable) -> None:
        """Count the key as new next time, because its handling failed."""
        self._until.pop(key, None)
