"""Runs as coroutines of one process: what each of them costs, and what reaches them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, get_client
from prefect._flow_run_suspension import _active_flow_run_suspension_requests
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.exceptions import ObjectAlreadyExists, Pause
from prefect.filesystems import LocalFileSystem
from prefect.states import AwaitingRetry, Pending, Suspended

from deployments.worker import job_runner
from deployments.worker.job_runner import JobRunner
from deployments.worker.loop_lag import watch_loop
from pro_video.core.clock import VirtualClock
from pro_video.core.stopping import Stopped, StopReason, unless_stopped

POOL = "waiting"
JOBS = 40


@flow(name="waiting")
async def waiting() -> State[Any]:
    """A job while its provider works."""
    try:
        await unless_stopped(asyncio.Event().wait())
    except Stopped:
        return AwaitingRetry(message="handed over")
    raise AssertionError("unreachable")


@pytest.fixture
async def client(prefect_api: str) -> AsyncIterator[PrefectClient]:
    async with get_client() as client:
        yield client


@pytest.fixture
async def runner(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JobRunner]:
    """A runner that serves no jobs of others."""
    for other in ("listen_for_callbacks", "watch_ends"):
        monkeypatch.setattr(job_runner, other, asyncio.Event().wait)
    running = JobRunner(cancel_poll_seconds=1.0)
    running.start()
    yield running
    await running.close(grace_seconds=60)


async def start(client: PrefectClient, runner: JobRunner, jobs: int) -> list[FlowRun]:
    """Let jobs run until they wait."""
    with contextlib.suppress(ObjectAlreadyExists):
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="pro-video"))
    deployment = await client.create_deployment(
        flow_id=await client.create_flow(waiting),
        name=POOL,
        work_pool_name=POOL,
        enforce_parameter_schema=False,
    )
    results = LocalFileSystem(basepath="/nowhere")
    await results.asave(POOL, overwrite=True)
    one_of = waiting.with_options(result_storage=results)

    async def start_one() -> FlowRun:
        run = await client.create_flow_run_from_deployment(deployment, tags=["a tag"])
        run.state = (await client.set_flow_run_state(run.id, Pending())).state
        runner.submit(one_of, run)
        return run

    return await asyncio.gather(*(start_one() for _ in range(jobs)))


def costs() -> tuple[int, int]:
    """Threads and open descriptors of this process."""
    return threading.active_count(), sum(1 for _ in Path("/dev/fd").iterdir())


async def heartbeats(client: PrefectClient, run: FlowRun) -> list[Any]:
    wanted = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
    )
    answer = await client.request(
        "POST", "/events/filter", json={"filter": wanted.model_dump(mode="json")}
    )
    return list(answer.json()["events"])


async def eventually(condition: Any) -> Any:
    async with asyncio.timeout(240):
        while not (found := await condition()):  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(0.1)
    return found


async def test_a_waiting_job_has_no_thread_and_no_descriptor_and_a_heartbeat(
    client: PrefectClient, runner: JobRunner
) -> None:
    first = await start(client, runner, 5)
    # The heartbeats' thread, and those of Prefect's logs and events, serve all jobs.
    await eventually(lambda: heartbeats(client, first[0]))
    threads, descriptors = costs()
    runs = first + await start(client, runner, JOBS - len(first))
    shown = await eventually(lambda: heartbeats(client, runs[-1]))
    assert len(runner.running) == JOBS
    more_threads, more_descriptors = costs()
    assert more_threads <= threads
    # One client of Prefect has at most 16 connections.
    assert more_descriptors <= descriptors + 16
    [event] = shown
    roles = {
        each["prefect.resource.role"]: each["prefect.resource.id"] for each in event["related"]
    }
    assert roles["deployment"] == f"prefect.deployment.{runs[-1].deployment_id}"
    assert roles["tag"] == "prefect.tag.a tag"


async def test_a_job_that_a_user_suspends_leaves_at_its_end(
    client: PrefectClient, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_runner, "_SUSPENSION_POLL_SECONDS", 0.1)
    [run] = await start(client, runner, 1)
    await eventually(lambda: heartbeats(client, run))
    await client.set_flow_run_state(run.id, Suspended())

    async def noticed() -> bool:
        return _active_flow_run_suspension_requests[run.id].is_requested()

    await eventually(noticed)
    future = runner.submit(waiting, run)
    runner.stop(run.id, StopReason.HANDOVER)
    with pytest.raises(Pause):
        await asyncio.wrap_future(future)
    assert (await client.read_flow_run(run.id)).state_name == "Suspended"


class LateClock(VirtualClock):
    """Wakes its sleeper later than asked, by the given seconds; then the test is over."""

    def __init__(self, *lags: float) -> None:
        self.lags = list(lags)
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if not self.lags:
            raise asyncio.CancelledError
        self.now += seconds + self.lags.pop(0)


async def test_a_loop_that_runs_late_is_told_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(asyncio.CancelledError):
        await watch_loop("the jobs", clock=LateClock(0.5, 2.0, 3.0, 70.0))
    late = [each.getMessage().split(" s late")[0] for each in caplog.records]
    assert late == [f"The event loop of the jobs runs {lag}" for lag in ("2.0", "70.0")]
