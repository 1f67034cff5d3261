"""A bounded pool of processes for media work, which would block the event loop and may crash."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_TRIES = 2


class WorkerDiedError(RuntimeError):
    """The process that did the work died, each time it was tried."""


class MediaPool:
    """Runs plain picklable functions in worker processes.

    A worker that dies takes the pool with it; a new pool is made and the work tried once more.
    Workers live no longer than the process that made them, even when that one is killed.
    """

    def __init__(self, workers: int = 1) -> None:
        """`workers`: how many pieces of work run at once; the others wait in line."""
        self._workers = workers
        self._lock = threading.Lock()
        self._executor: ProcessPoolExecutor | None = None
        self._lifeline: Connection | None = None
        self._closed = False

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a worker and return its result; its own exceptions come through.

        Raises WorkerDiedError when the worker died at each try, RuntimeError after close().
        """
        for _ in range(_TRIES):
            executor = self._current()
            try:
                future = executor.submit(function, *args, **kwargs)
                return await asyncio.wrap_future(future)
            except BrokenProcessPool:
                await asyncio.to_thread(self._discard, executor)
        raise WorkerDiedError(f"the worker for {function.__name__} died {_TRIES} times")

    def close(self) -> None:
        """Stop the workers at once, with whatever they are doing; safe to repeat. It blocks."""
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
            lifeline, self._lifeline = self._lifeline, None
        _stop(executor, lifeline)

    def _current(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._closed:
                raise RuntimeError("the media pool is closed")
            if self._executor is None:
                context = multiprocessing.get_context("spawn")
                ours, theirs = context.Pipe()
                self._executor = ProcessPoolExecutor(
                    self._workers, mp_context=context, initializer=_begin, initargs=(theirs,)
                )
                self._lifeline = ours
            return self._executor

    def _discard(self, broken: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._executor is not broken:
                return
            lifeline = self._lifeline
            self._executor = self._lifeline = None
        _stop(broken, lifeline)


def _stop(executor: ProcessPoolExecutor | None, lifeline: Connection | None) -> None:
    if lifeline is not None:
        lifeline.close()
    if executor is not None:
        executor.shutdown(wait=True, cancel_futures=True)


def _begin(lifeline: Any) -> None:
    """In the worker: leave Ctrl-C to the parent, and end when its end of the line closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        try:
            lifeline.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
