"""Prefect's flow engine without a thread for each run, and one loop of heartbeats in their place.

For each run Prefect's own engine starts a thread that sends heartbeats, and one with an event loop
and a client that looks for a suspension. The heartbeats of all runs come from one thread here, and
:class:`deployments.worker.job_runner.JobRunner` looks for the suspensions of all of them.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import prefect
from prefect._flow_run_suspension import (
    FlowRunSuspensionRequest,
    register_flow_run_suspension_request,
)
from prefect.client.schemas.objects import State
from prefect.flow_engine import AsyncFlowRunEngine

logger = logging.getLogger("prefect.workers.pro_video")

_USED = (
    "setup_flow_run_suspension_request",
    "heartbeat_seconds",
    "_get_flow_run_suspension_request",
    "_emit_flow_run_heartbeat",
)
# Pause between two looks at the runs, in seconds; shifts a heartbeat by no more.
_TICK = 1.0

for _name in _USED:
    if not hasattr(AsyncFlowRunEngine, _name):
        raise ImportError(
            f"Prefect {prefect.__version__} has another flow engine: {_name} is gone. Without it "
            "each job would start threads of its own; install the version that this release names."
        )


class JobEngine(AsyncFlowRunEngine[Any, Any]):
    """The engine of one run; starts no thread.

    Attributes:
        next_heartbeat: time of the next heartbeat on the monotonic clock.
    """

    next_heartbeat = 0.0

    @property
    def heartbeat_seconds(self) -> int | None:
        """None: :class:`Heartbeats` sends them."""
        return None

    @contextmanager
    def setup_flow_run_suspension_request(self) -> Iterator[FlowRunSuspensionRequest]:
        """Register the run for a suspension, which somebody else reports."""
        assert self.flow_run is not None
        request = self._get_flow_run_suspension_request()
        with register_flow_run_suspension_request(self.flow_run.id, request):
            request.raise_if_requested()
            yield request

    async def run(self) -> State[Any]:
        """Run to the end; the last state, as :func:`prefect.flow_engine.run_flow_async` returns
        it."""
        async with self.start():
            while self.is_running():
                async with self.run_context():
                    _ = await self.call_flow_fn()
        return self.state


class Heartbeats:
    """One thread that sends the heartbeats of all running flow runs.

    A thread, as in Prefect: a loop that is busy for a while is no lost worker.

    Args:
        seconds: between two heartbeats of one run.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._engines: dict[int, JobEngine] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def stop(self) -> None:
        """End the thread; it does not wait for that."""
        self._stop.set()

    @contextmanager
    def of(self, engine: JobEngine) -> Iterator[None]:
        """Send heartbeats of a run, while it is in a running state; the first run starts the
        thread, with its settings of Prefect."""
        with self._lock:
            self._engines[id(engine)] = engine
            if self._thread is None:
                self._thread = threading.Thread(
                    target=contextvars.copy_context().run,
                    args=(self._run,),
                    name="pro-video-heartbeats",
                    daemon=True,
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._engines[id(engine)]

    def _run(self) -> None:
        while not self._stop.wait(_TICK):
            self.send(time.monotonic())

    def send(self, now: float) -> None:
        """Send the heartbeats that are due."""
        with self._lock:
            engines = list(self._engines.values())
        for engine in engines:
            # Under the lock: a heartbeat behind an end or a parking would make the run look lost.
            with self._lock:
                here = id(engine) in self._engines and engine.is_running()
                if here and engine.next_heartbeat <= now:
                    self._send(engine, now)

    def _send(self, engine: JobEngine, now: float) -> None:
        engine.next_heartbeat = now + self._seconds
        try:
            engine._emit_flow_run_heartbeat()
        except Exception as error:  # noqa: BLE001 - the next one is soon
            logger.debug("No heartbeat of a job: %s", type(error).__name__)
