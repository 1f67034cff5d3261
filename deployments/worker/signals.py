"""Stops the worker at SIGTERM and SIGINT, however it was started.

Prefect's command turns a SIGTERM into a SIGINT for the handler that was set before its own. A shell
starts background processes with SIGINT ignored, so that neither signal would stop them.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("prefect.workers.pro_video")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Cancel the current task at the first of the signals; a second one ends the process at once.

    Does nothing outside of the main thread, where no signals arrive.
    """
    task = asyncio.current_task()
    if task is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = [(number, signal.getsignal(number)) for number in _SIGNALS]

    def stop() -> None:
        logger.info("Stopping: jobs are handed over to the next worker")
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in before:
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
