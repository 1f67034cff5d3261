"""The vendor's rate limits: calls within the last minute."""

import time
from collections import deque

WINDOW = 60.0


class RateLimit:
    """A sliding window; a restart begins a new one."""

    def __init__(self) -> None:
        self._calls: deque[float] = deque()

    def take(self, limit: float | None) -> float | None:
        """Count a call; beyond the limit, the seconds until the next one is allowed."""
        if limit is None:
            return None
        now = time.monotonic()
        while self._calls and now - self._calls[0] >= WINDOW:
            self._calls.popleft()
        if len(self._calls) >= limit:
            return WINDOW - (now - self._calls[0]) if self._calls else WINDOW
        self._calls.append(now)
        return None
