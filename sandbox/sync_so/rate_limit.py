"""A sliding window over the last minute, as the vendor's rate limits are stated."""

import time
from collections import deque

WINDOW = 60.0


class RateLimit:
    """Counts calls; not persisted, a restart begins anew."""

    def __init__(self) -> None:
        self._calls: deque[float] = deque()

    def take(self, limit: float | None) -> float | None:
        """Count a call; the seconds until the next is allowed when it is one too many."""
        if limit is None:
            return None
        now = time.monotonic()
        while self._calls and now - self._calls[0] >= WINDOW:
            self._calls.popleft()
        if len(self._calls) >= limit:
            return WINDOW - (now - self._calls[0]) if self._calls else WINDOW
        self._calls.append(now)
        return None
