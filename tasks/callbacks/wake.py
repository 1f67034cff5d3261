"""Wakes a waiting task when a provider's callback arrives.

A callback is only a signal: the task then reads the job's status from the provider's API.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from pro_video.core.settings import get_settings


class Bell:
    """The signal of one wait, for :func:`pro_video.core.waiting.wait_for`; thread-safe."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def is_set(self) -> bool:
        return self._event.is_set()

    def clear(self) -> None:
        self._event.clear()

    async def wait(self) -> bool:
        return await self._event.wait()

    def ring(self) -> None:
        """Wake the wait, which lives in another thread's event loop."""
        # A closed loop has no wait left.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)


class Bells:
    """The bells of one process, by provider and the provider's job id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bells: dict[tuple[str, str], set[Bell]] = {}

    @contextlib.contextmanager
    def listening(self, provider: str, job_id: str) -> Iterator[Bell]:
        """A bell that rings for one provider's job while the block runs."""
        bell = Bell()
        key = (provider, job_id)
        with self._lock:
            self._bells.setdefault(key, set()).add(bell)
        try:
            yield bell
        finally:
            with self._lock:
                remaining = self._bells[key] - {bell}
                if remaining:
                    self._bells[key] = remaining
                else:
                    del self._bells[key]

    def ring(self, provider: str, job_id: str) -> int:
        """Ring for one provider's job; how many waits in this process heard it."""
        with self._lock:
            found = list(self._bells.get((provider, job_id), ()))
        for bell in found:
            bell.ring()
        return len(found)


bells = Bells()
"""The bells of this process."""


def doorbell_url(provider: str) -> str | None:
    """The address for a provider's callbacks; None when it cannot reach this installation."""
    public = get_settings().public_url.rstrip("/")
    return f"{public}/doorbells/{provider}" if public else None
