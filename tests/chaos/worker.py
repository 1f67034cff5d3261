"""A worker process that halts chosen jobs at checkpoints, where the suite kills it.

Unlike in the product's worker each job has an event loop and a thread of its own, so that one job
can halt at its checkpoint while the others go on to theirs. Then one SIGKILL ends all of them
exactly there.

Reads one line of JSON from standard input, its orders, and ends when that closes:

- ``kills``: by job, the checkpoint at which it halts
- ``pauses``: by job, the checkpoint at which its thread sleeps, and for how many seconds
- ``skew``: seconds that its wall clock is ahead
- ``refusals``: by job, how many of its requests to Prefect get 503 after that took it as Pending
- ``trace``: whether each checkpoint that a job reaches is noted
- ``run``: the only job to run, whatever its state; without it, the process works on a pool

Appends one line of JSON to the ``--events`` file for each job that ``halted``, ``paused`` or was
``refused``, and for each ``hit`` of a checkpoint that is noted.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect import Flow, get_client
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from deployments.worker.job_runner import JobRunner
from deployments.worker.worker import ProVideoWorker, _load_flow
from flows.pro_video import pro_video_flow
from pro_video.core import checkpoints
from pro_video.core.clock import SystemClock
from pro_video.core.settings import Settings
from pro_video.core.stopping import StopReason
from pro_video.net.threads import default_workers
from tasks.run.job import current_job

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

# A job that halts in a transfer keeps its thread; the others need threads too.
_TRANSFERS = 64


class OneJobRunner(JobRunner):
    """A runner without the search for cancelled jobs."""

    def start(self) -> None:
        self._thread.start()

    def halt(self) -> None:
        """Block the event loop for ever."""
        self._loop.call_soon_threadsafe(block_for_ever)


class JobRunners(JobRunner):
    """A runner for each job."""

    def __init__(self, *, cancel_poll_seconds: float) -> None:
        self._pause = cancel_poll_seconds
        self._runners: dict[UUID, OneJobRunner] = {}
        self._runners_lock = threading.Lock()

    def start(self) -> None:
        """Nothing to start before the first job."""

    def submit(
        self, flow: Flow[..., Any], flow_run: FlowRun, settings: Settings | None = None
    ) -> Future[State[Any]]:
        with self._runners_lock:
            runner = self._runners.get(flow_run.id)
            if runner is None:
                runner = OneJobRunner(cancel_poll_seconds=self._pause)
                self._runners[flow_run.id] = runner
                runner.start()
        return runner.submit(flow, flow_run, settings)

    def stop(self, flow_run_id: UUID, reason: StopReason) -> bool:
        runner = self._runners.get(flow_run_id)
        return runner is not None and runner.stop(flow_run_id, reason)

    @property
    def running(self) -> frozenset[UUID]:
        return frozenset(run for runner in list(self._runners.values()) for run in runner.running)

    def halt(self, flow_run_id: UUID) -> None:
        """Block a job's event loop for ever."""
        runner = self._runners.get(flow_run_id)
        if runner is not None:
            runner.halt()

    async def close(self, *, grace_seconds: float) -> None:
        runners = list(self._runners.values())
        await asyncio.gather(*(runner.close(grace_seconds=grace_seconds) for runner in runners))


class ChaosWorker(ProVideoWorker):
    """The product's worker with a thread for each job."""

    observer: Observer | None = None

    async def setup(self) -> None:
        await super().setup()
        await self.runner.close(grace_seconds=1)
        runners = JobRunners(cancel_poll_seconds=self._settings.cancel_poll_seconds)
        self._runner = runners
        if self.observer is not None:
            self.observer.runner = runners


class Observer:
    """Is called at every checkpoint of this process.

    Args:
        orders: of the process.
        events: file that takes a line for each event.
    """

    def __init__(self, orders: dict[str, Any], events: Path) -> None:
        self._kills = {job: tuple(kill) for job, kill in orders.get("kills", {}).items()}
        self._pauses = {job: tuple(pause) for job, pause in orders.get("pauses", {}).items()}
        self._trace = bool(orders.get("trace"))
        self._events = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._hits: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()
        # Jobs that were paused; their later checkpoints are noted.
        self._woken: set[str] = set()
        self.runner: JobRunners | None = None

    def __call__(self, name: str, step: str) -> None:
        try:
            job_id = current_job().job_id
        except LookupError:
            job_id = ""
        with self._lock:
            self._hits[job_id, name, step] += 1
            reached = (name, step, self._hits[job_id, name, step])
            halts = self._kills.get(job_id) == reached
            *where, seconds = self._pauses.get(job_id, (None, 0))
            pauses = tuple(where) == reached
            if halts or pauses or self._trace or job_id in self._woken:
                what = "paused" if pauses else "halted" if halts else "hit"
                self.note(what, job=job_id, name=name, step=step)
        if pauses:
            time.sleep(float(seconds))
            self._woken.add(job_id)
        if halts:
            # A transfer runs in a thread beside the job's event loop, which halts too.
            if self.runner is not None:
                self.runner.halt(UUID(job_id))
            block_for_ever()

    def note(self, what: str, **details: str) -> None:
        """Append an event."""
        os.write(self._events, json.dumps({"what": what, **details}).encode() + b"\n")


def refuse_starts(refusals: dict[str, int], observer: Observer) -> None:
    """Answer 503 to what follows the acceptance of a job's state Pending, in place of Prefect."""
    send = httpx.AsyncHTTPTransport.handle_async_request
    pending: set[str] = set()

    async def refuse(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        job_id = next((each for each in refusals if each in request.url.path), "")
        if job_id in pending and refusals[job_id] > 0 and request.method != "GET":
            refusals[job_id] -= 1
            if not refusals[job_id]:
                observer.note("refused", job=job_id)
            return httpx.Response(503)
        response = await send(transport, request)
        if job_id and b'"PENDING"' in request.content:
            pending.add(job_id)
        return response

    httpx.AsyncHTTPTransport.handle_async_request = refuse  # type: ignore[assignment,method-assign]


def block_for_ever() -> None:
    """Never return."""
    while True:
        threading.Event().wait(3600)


def end_with(stream: Any) -> None:
    """End this process when a stream ends, as it does with the process that started this one."""

    def wait() -> None:
        stream.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


async def poll(observer: Observer, pool: str) -> None:
    """Work as the product's worker does."""
    worker = ChaosWorker(work_pool_name=pool, create_pool_if_not_found=False)
    worker.observer = observer
    await worker.start(printer=lambda *_: None)


async def run_one(run_id: UUID) -> None:
    """Run one flow run, whatever its state, and although another process may run it."""
    async with get_client() as client:
        flow_run = await client.read_flow_run(run_id)
        assert flow_run.deployment_id is not None
        deployment = await client.read_deployment(flow_run.deployment_id)
    assert deployment.entrypoint is not None
    runner = JobRunner(cancel_poll_seconds=5)
    runner.start()
    await asyncio.wrap_future(runner.submit(_load_flow(deployment.entrypoint), flow_run))
    await runner.close(grace_seconds=5)


def main() -> None:
    """Entry of ``python -m tests.chaos.worker``."""
    # Shows where a process hangs.
    faulthandler.register(signal.SIGUSR1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--pool", required=True)
    options = parser.parse_args()
    assert pro_video_flow.name == "pro-video"  # Loaded before the orders come.
    line = sys.stdin.readline()
    if not line:
        return
    orders = json.loads(line)
    end_with(sys.stdin)
    observer = Observer(orders, options.events)
    checkpoints.observe(observer)
    default_workers()._transfers = ThreadPoolExecutor(_TRANSFERS)
    if "skew" in orders:
        SystemClock.time = lambda _: time.time() + orders["skew"]  # type: ignore[assignment,method-assign]
    with ExitStack() as changed:
        if "refusals" in orders:
            refuse_starts(orders["refusals"], observer)
            # A request that is refused is not repeated for minutes.
            changed.enter_context(temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}))
        if "run" in orders:
            asyncio.run(run_one(UUID(orders["run"])))
        else:
            asyncio.run(poll(observer, options.pool))


if __name__ == "__main__":
    main()
