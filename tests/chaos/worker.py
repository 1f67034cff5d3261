"""A worker process that dies at named checkpoints of chosen jobs.

It is the product's worker but for one thing: each job has an event loop and a thread of its own, so
that a job that reached the checkpoint where it is to die can stand still there while the others go
on to theirs. Then one SIGKILL, by the suite, kills all of them exactly where they stand.

Reads one line of JSON from standard input, its orders, and ends when that closes. Appends one line
of JSON to the ``--events`` file for each checkpoint at which a job stands still.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import Flow, get_client

from deployments.worker import ProVideoWorker
from deployments.worker.host import JobHost
from deployments.worker.worker import _load_flow
from flows.pro_video import pro_video_flow
from pro_video.core import checkpoints
from pro_video.core.settings import Settings
from pro_video.core.stopping import StopReason
from pro_video.net.threads import default_workers
from tasks.run.job import current_job

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

# A job that stands still in a transfer keeps its thread; the others need threads too.
_TRANSFERS = 64


class OneJobHost(JobHost):
    """A host that looks for nothing but its job."""

    def start(self) -> None:
        self._thread.start()

    def hold(self) -> None:
        """Let the event loop stand still for ever."""
        self._loop.call_soon_threadsafe(stand_still)


class SpreadHost(JobHost):
    """A host for each job."""

    def __init__(self, *, cancel_poll_seconds: float) -> None:
        self._pause = cancel_poll_seconds
        self._hosts: dict[UUID, OneJobHost] = {}
        self._hosts_lock = threading.Lock()

    def start(self) -> None:
        """Nothing to start before the first job."""

    def submit(
        self, flow: Flow[..., Any], flow_run: FlowRun, settings: Settings | None = None
    ) -> Future[State[Any]]:
        with self._hosts_lock:
            host = self._hosts.get(flow_run.id)
            if host is None:
                host = OneJobHost(cancel_poll_seconds=self._pause)
                self._hosts[flow_run.id] = host
                host.start()
        return host.submit(flow, flow_run, settings)

    def stop(self, flow_run_id: UUID, reason: StopReason) -> bool:
        host = self._hosts.get(flow_run_id)
        return host is not None and host.stop(flow_run_id, reason)

    @property
    def running(self) -> frozenset[UUID]:
        return frozenset(run for host in list(self._hosts.values()) for run in host.running)

    def hold(self, flow_run_id: UUID) -> None:
        """Let a job's event loop stand still for ever."""
        host = self._hosts.get(flow_run_id)
        if host is not None:
            host.hold()

    async def close(self, *, grace_seconds: float) -> None:
        hosts = list(self._hosts.values())
        await asyncio.gather(*(host.close(grace_seconds=grace_seconds) for host in hosts))


class SpreadWorker(ProVideoWorker):
    """The product's worker with a thread for each job."""

    watch: Watch | None = None

    async def setup(self) -> None:
        await super().setup()
        await self.host.close(grace_seconds=1)
        spread = SpreadHost(cancel_poll_seconds=self._settings.cancel_poll_seconds)
        self._host = spread
        if self.watch is not None:
            self.watch.host = spread


class Watch:
    """Sees every checkpoint of this process.

    Args:
        kills: by job id, the checkpoint (name, step, number of the hit) at which it stands still.
        events: file that takes a line for each job that stands still, and for each hit with
            ``trace``.
        stops: by job id, the checkpoint at which its thread stands still for some seconds, as
            that of a frozen machine, and then goes on.
    """

    def __init__(
        self,
        kills: dict[str, tuple[str, str, int]],
        events: Path,
        trace: bool,
        stops: dict[str, tuple[str, str, int, float]],
    ) -> None:
        self._kills = kills
        self._stops = stops
        self._woken: set[str] = set()
        self._events = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._trace = trace
        self._hits: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()
        self.host: SpreadHost | None = None

    def __call__(self, name: str, step: str) -> None:
        try:
            job_id = current_job().job_id
        except LookupError:
            job_id = ""
        with self._lock:
            key = (job_id, name, step)
            self._hits[key] += 1
            hit = self._hits[key]
            kill = self._kills.get(job_id)
            dies = kill is not None and tuple(kill) == (name, step, hit)
            stop = self._stops.get(job_id)
            freezes = stop is not None and tuple(stop[:3]) == (name, step, hit)
            if freezes or dies or self._trace or job_id in self._woken:
                what = "freezes" if freezes else "stands" if dies else "hit"
                line = json.dumps({"job": job_id, "what": what, "name": name, "step": step})
                os.write(self._events, line.encode() + b"\n")
        if freezes and stop is not None:
            time.sleep(stop[3])
            self._woken.add(job_id)
        if dies:
            # A transfer's thread takes the job's event loop along.
            if self.host is not None:
                self.host.hold(UUID(job_id))
            stand_still()


def stand_still() -> None:
    """Never return."""
    while True:
        threading.Event().wait(3600)


def end_with(stream: Any) -> None:
    """End this process when its starter is gone."""

    def wait() -> None:
        stream.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


async def poll(watch: Watch, pool: str) -> None:
    """Work as the product's worker does."""
    worker = SpreadWorker(work_pool_name=pool, create_pool_if_not_found=False)
    worker.watch = watch
    await worker.start(printer=lambda *_: None)


async def run_one(run_id: UUID) -> None:
    """Run one flow run, whatever its state and whoever else runs it."""
    async with get_client() as client:
        flow_run = await client.read_flow_run(run_id)
        assert flow_run.deployment_id is not None
        deployment = await client.read_deployment(flow_run.deployment_id)
    assert deployment.entrypoint is not None
    host = JobHost(cancel_poll_seconds=5)
    host.start()
    await asyncio.wrap_future(host.submit(_load_flow(deployment.entrypoint), flow_run))
    await host.close(grace_seconds=5)


def main() -> None:
    """Entry of ``python -m tests.chaos.worker``."""
    # Where a process that hangs hangs is one signal away.
    faulthandler.register(signal.SIGUSR1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--pool", required=True)
    options = parser.parse_args()
    assert pro_video_flow.name == "pro-video"  # Loaded before the order to begin comes.
    line = sys.stdin.readline()
    if not line:
        return
    orders = json.loads(line)
    end_with(sys.stdin)
    watch = Watch(
        {job: tuple(kill) for job, kill in orders.get("kills", {}).items()},
        options.events,
        bool(orders.get("trace")),
        orders.get("stops", {}),
    )
    checkpoints.observe(watch)
    default_workers()._transfers = ThreadPoolExecutor(_TRANSFERS)
    if "run" in orders:
        asyncio.run(run_one(UUID(orders["run"])))
    else:
        asyncio.run(poll(watch, options.pool))


if __name__ == "__main__":
    main()
