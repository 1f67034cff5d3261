"""Wakes a waiting task when a provider's callback arrives.

A callback is only a signal: the task then reads the job's status from the provider's API.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from pro_video.core.settings import get_settings


class WakeSignal:
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

    def set(self) -> None:
        """Wake the wait, which may run in another thread's event loop."""
        # A closed loop has no wait left.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)


class WakeSignals:
    """The signals of one process, by provider and the provider's job id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._signals: dict[tuple[str, str], set[WakeSignal]] = {}

    @contextlib.contextmanager
    def waiting(self, provider: str, job_id: str) -> Iterator[WakeSignal]:
        """A signal that is set by callbacks of one provider's job while the block runs."""
        signal = WakeSignal()
        key = (provider, job_id)
        with self._lock:
            self._signals.setdefault(key, set()).add(signal)
        try:
            yield signal
        finally:
            with self._lock:
                self._signals[key].discard(signal)
                if not self._signals[key]:
                    del self._signals[key]

    def wake(self, provider: str, job_id: str) -> int:
        """Wake the waits for one provider's job; the number of them in this process."""
        with self._lock:
            found = list(self._signals.get((provider, job_id), ()))
        for signal in found:
            signal.set()
        return len(found)


wake_signals = WakeSignals()
"""The signals of this process."""


def callback_url(provider: str) -> str | None:
    """The address for a provider's callbacks; None when it cannot reach this installation."""
    public = get_settings().public_url.rstrip("/")
    return f"{public}/doorbells/{provider}" if public else None
