"""The order to stop waiting: by a user's cancel, or because this process hands its jobs over.

The signal may be set from any thread or event loop and ends a wait at once. The provider's job goes
on.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Iterator
from enum import Enum
from typing import TypeVar

T = TypeVar("T")


class StopReason(Enum):
    """The reason of a stop."""

    CANCELLED = "cancelled"
    """A user cancelled the job."""
    HANDOVER = "handover"
    """This process ends; another one goes on with the job."""


class Stopped(Exception):
    """Work was left on purpose. Not an error of the job, so not a ``ProVideoError``."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"stopped: {self.reason.value}"


class StopSignal:
    """A stop order that any thread may give and any event loop may wait for; the first holds.

    Args:
        may_park: whether a long wait may leave this process, because a later one takes it up.
    """

    def __init__(self, *, may_park: bool = False) -> None:
        self.may_park = may_park
        self._lock = threading.Lock()
        self._reason: StopReason | None = None
        self._waiters: set[asyncio.Future[StopReason]] = set()

    @property
    def reason(self) -> StopReason | None:
        """The reason; None before a stop order."""
        return self._reason

    def is_set(self) -> bool:
        return self._reason is not None

    def set(self, reason: StopReason) -> None:
        """Give the order; a second order changes nothing. May be called from any thread."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            # A closed event loop has no waiters any more.
            with contextlib.suppress(RuntimeError):
                waiter.get_loop().call_soon_threadsafe(_resolve, waiter, reason)

    async def wait(self) -> StopReason:
        """Wait until the order is given."""
        waiter: asyncio.Future[StopReason] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._reason is not None:
                return self._reason
            self._waiters.add(waiter)
        try:
            return await waiter
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    def raise_if_set(self) -> None:
        """Raise :class:`Stopped` when the order has been given."""
        if self._reason is not None:
            raise Stopped(self._reason)


def _resolve(waiter: asyncio.Future[StopReason], reason: StopReason) -> None:
    if not waiter.done():
        waiter.set_result(reason)


_current: contextvars.ContextVar[StopSignal | None] = contextvars.ContextVar(
    "pro_video_stop", default=None
)


def current_stop() -> StopSignal:
    """The stop signal of the surrounding :func:`use_stop`, or one that is never set."""
    return _current.get() or StopSignal()


@contextlib.contextmanager
def use_stop(signal: StopSignal) -> Iterator[StopSignal]:
    """Make ``signal`` the one that :func:`current_stop` returns inside the block."""
    token = _current.set(signal)
    try:
        yield signal
    finally:
        _current.reset(token)


async def unless_stopped(work: Awaitable[T]) -> T:
    """Await something, and leave it as soon as :func:`current_stop` is set.

    Raises:
        Stopped: the order was given; the work is cancelled.
    """
    stop = current_stop()
    doing = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        stop.raise_if_set()
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise Stopped(stopping.result())
    finally:
        for each in (doing, stopping):
            each.cancel()
