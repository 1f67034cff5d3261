"""Threads for blocking storage work, with bounds.

A process moves a few files at a time, each over a few connections, however many jobs wait. Small
calls (HEAD, a short PUT) have threads of their own, so that they never queue behind a transfer.
asyncio's default executor stays free.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from pro_video.core.stopping import current_stop
from pro_video.net.interrupt import Interrupt, Interrupted

T = TypeVar("T")

_CHECK_SECONDS = 0.1
"""Seconds between two checks of deadline and stop order."""
_CLEAN_UP = 15.0
"""Seconds that a cancelled caller waits for the transfer to clean up in S3."""


class Workers:
    """The threads of one process.

    Args:
        transfers: files moved at the same time; further ones queue, outside their deadlines.
        calls: small calls at the same time.
    """

    def __init__(self, *, transfers: int = 4, calls: int = 8) -> None:
        self._transfers = ThreadPoolExecutor(transfers, thread_name_prefix="transfer")
        self._calls = ThreadPoolExecutor(calls, thread_name_prefix="storage")

    async def call(self, work: Callable[[], T]) -> T:
        """Run one short blocking call."""
        context = contextvars.copy_context()
        return await asyncio.wrap_future(self._calls.submit(context.run, work))

    async def transfer(
        self, work: Callable[[Interrupt], T], *, deadline: float, what: str = "The transfer"
    ) -> T:
        """Run one transfer; cancelling or stopping the caller ends it after its clean-up.

        Args:
            work: does the transfer, checks the given interrupt, and cleans up.
            deadline: seconds from its begin.
            what: names it in the message of :class:`~pro_video.core.errors.DeadlineExceeded`.

        Raises:
            Stopped: the surrounding stop signal was set.
            Exception: any that ``work`` raises.
        """
        signal = current_stop()
        signal.raise_if_set()
        cancelled = False
        running: list[Interrupt] = []

        def run() -> T:
            # The time in the queue does not count.
            interrupt = Interrupt(deadline, lambda: cancelled or signal.is_set(), what=what)
            running.append(interrupt)
            interrupt.check()
            return work(interrupt)

        context = contextvars.copy_context()
        job = self._transfers.submit(context.run, run)
        waiter = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(waiter)
        except asyncio.CancelledError:
            cancelled = True
            job.cancel()
            for interrupt in running:
                interrupt.fire()
            await asyncio.wait({waiter}, timeout=_CLEAN_UP)
            waiter.add_done_callback(_forget)
            raise
        except Interrupted:
            signal.raise_if_set()
            raise

    def close(self) -> None:
        """Wait for running work and end the threads."""
        self._transfers.shutdown(cancel_futures=True)
        self._calls.shutdown(cancel_futures=True)


def _forget(waiter: asyncio.Future[T]) -> None:
    # The caller is gone; reading the exception keeps asyncio from reporting it as lost.
    if not waiter.cancelled():
        waiter.exception()


@functools.lru_cache(maxsize=1)
def default_workers() -> Workers:
    """The threads that all storages of this process share by default."""
    return Workers()


def supervise(
    jobs: Iterator[Callable[[], T]],
    *,
    workers: int,
    interrupt: Interrupt,
    on_done: Callable[[T], None],
) -> None:
    """Run jobs, ``workers`` at a time, while this thread watches deadline and stop order.

    ``jobs`` is consumed as threads become free. The first error cuts reads in progress, and is
    raised once all threads have ended, so that no part is uploaded afterwards.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="part") as pool:
        pending: set[Future[T]] = set()
        try:
            drained = False
            while True:
                while not drained and len(pending) < workers:
                    job = next(jobs, None)
                    if job is None:
                        drained = True
                    else:
                        pending.add(pool.submit(job))
                if not pending:
                    return
                done, pending = wait(pending, timeout=_CHECK_SECONDS, return_when=FIRST_COMPLETED)
                interrupt.check()
                for future in done:
                    on_done(future.result())
        except BaseException:
            interrupt.fire()
            for future in pending:
                future.cancel()
            raise


def supervised(job: Callable[[], T], interrupt: Interrupt) -> T:
    """Run one blocking job in a thread while this one watches deadline and stop order."""
    results: list[T] = []
    supervise(iter([job]), workers=1, interrupt=interrupt, on_done=results.append)
    return results[0]
