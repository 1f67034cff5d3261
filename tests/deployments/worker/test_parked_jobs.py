"""The watch of parked jobs, on a real Prefect server, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate, WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Cancelling, Pending, Running, Scheduled

from deployments.worker.job_runner import JobRunner
from deployments.worker.parked_jobs import ParkedJobs
from pro_video.core.clock import VirtualClock
from pro_video.core.errors import CredentialsRefused, JobFailed, ProviderRefused
from pro_video.core.job_names import AWAITED_LABEL
from pro_video.core.progress import Stage
from pro_video.core.settings import get_settings
from pro_video.core.stopping import StopSignal
from pro_video.core.waiting import Observation
from pro_video.records import Awaited
from tasks.connections.prefect_queries import PROGRESS_KEY, percent_in, read_progress
from tasks.connections.run_history import NEWS
from tests.tasks.conftest import UnaskedProvider

ME = "this worker"
STAGE = Stage.LIP_SYNC_PROCESSING
WAITING = f"{STAGE.value.message} Waiting for Sync.so generation."
PATIENCE = 60.0


@flow(name="parked")
async def nothing() -> None:
    """Never runs."""


class Vendor(UnaskedProvider):
    """A provider with some running jobs; ``state`` of one is its progress, or an error."""

    def __init__(self) -> None:
        self.jobs: dict[str, float | Exception | None] = {}
        self.refuses: Exception | None = None
        self.asked: list[list[str]] = []
        self.unlisted: set[str] = set()

    async def read_many(self, job_ids: Sequence[str]) -> dict[str, Any]:
        self.asked.append(list(job_ids))
        if self.refuses is not None:
            raise self.refuses
        found = set(job_ids) - self.unlisted
        return {job_id: self.jobs[job_id] for job_id in found if job_id in self.jobs}

    async def read(self, job_id: str) -> Any:
        self.asked.append([job_id])
        if job_id not in self.jobs:
            raise ProviderRefused("There is no such generation.")
        return self.jobs[job_id]

    def observe(self, found: Any) -> Observation[Any]:
        if isinstance(found, Exception):
            raise found
        return Observation(done=found == 1.0, value=found, progress=found)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Vendor]:
        yield self


class World:
    """A watch, its provider and its parked runs."""

    def __init__(self, client: PrefectClient, pool: str, deployment: Any) -> None:
        self.client = client
        self.deployment = deployment
        self.clock = VirtualClock(datetime.now(UTC).timestamp())
        self.vendor = Vendor()
        self.woken = 0
        self.parked = ParkedJobs(
            pool, ME, self.note, providers={"sync-so": self.vendor.opened}, clock=self.clock
        )

    def note(self) -> None:
        self.woken += 1

    async def park(self, status: float | Exception | None, worker: str = ME) -> FlowRun:
        """A parked run whose provider's job has a status; None is gone."""
        name = str(uuid.uuid4())
        if status is not None:
            self.vendor.jobs[name] = status
        awaited = Awaited(
            stage=STAGE.label,
            provider="sync-so",
            job_id=name,
            since=datetime.now(UTC),
            expected_seconds=600,
        )
        run = await self.client.create_flow_run_from_deployment(
            self.deployment,
            labels={"prefect.worker.name": worker, AWAITED_LABEL: awaited.model_dump_json()},
        )
        later = datetime.now(UTC) + timedelta(hours=1)
        waiting: State[Any] = Scheduled(
            name=STAGE.value.name, message=WAITING, scheduled_time=later
        )
        states: Iterable[State[Any]] = (Pending(), Running(name=STAGE.value.name), waiting)
        for state in states:
            await self.client.set_flow_run_state(run.id, state, force=True)
        await self.client.create_artifact(
            ArtifactCreate(key=PROGRESS_KEY, type="progress", data=10.0, flow_run_id=run.id)
        )
        return await self.client.read_flow_run(run.id)

    def provider_job(self, run: FlowRun) -> str:
        awaited = Awaited.of(run.labels)
        assert awaited is not None
        return awaited.job_id

    async def state(self, run: FlowRun) -> tuple[State[Any], datetime]:
        found = await self.client.read_flow_run(run.id)
        assert found.state is not None
        return found.state, found.next_scheduled_start_time or found.state.timestamp

    async def until_message(self, run: FlowRun, message: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await self.state(run))[0].message != message:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.parked.watch())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.fixture
async def world(prefect_api: str) -> AsyncIterator[World]:
    # Of its own: runs of other tests would be looked for too.
    pool = f"parked-{uuid.uuid4()}"
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name=pool, type="pro-video"))
        flow_id = await client.create_flow(nothing)
        deployment = await client.create_deployment(flow_id, name=pool, work_pool_name=pool)
        yield World(client, pool, deployment)


async def test_a_run_is_scheduled_for_now_when_its_providers_job_has_news(world: World) -> None:
    done, failed, gone = [await world.park(status) for status in (1.0, JobFailed("Broken."), None)]
    unlisted, running = await world.park(1.0), await world.park(0.5)
    world.vendor.unlisted = {world.provider_job(unlisted)}
    async with world.watching():
        for run in (done, failed, gone, unlisted):
            await world.until_message(run, NEWS)
        await until(lambda: world.woken >= 4)
        state, scheduled = await world.state(done)
        assert state.is_scheduled()
        assert state.name == STAGE.value.name
        assert scheduled <= datetime.now(UTC)
        # The other one stays, and its percentage goes on.
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await read_progress(world.client, running.id)
                if found is not None and percent_in(found.data) == STAGE.percent(0.5):
                    break
        state, scheduled = await world.state(running)
        assert state.message == WAITING
        assert scheduled > datetime.now(UTC) + timedelta(minutes=50)


async def test_a_cancelled_job_is_not_woken(world: World) -> None:
    run = await world.park(0.5)
    async with world.watching():
        await until(lambda: bool(world.vendor.asked))
        await world.client.set_flow_run_state(run.id, Cancelled(), force=True)
        world.vendor.jobs[world.provider_job(run)] = 1.0
        await until(lambda: not len(world.parked))
    assert (await world.client.read_flow_run(run.id)).state_name == "Cancelled"
    assert world.woken == 0


async def test_a_callback_brings_the_look_forward(world: World) -> None:
    run = await world.park(0.5)
    job_id = world.provider_job(run)
    async with world.watching():
        await until(lambda: len(world.parked) > 0 and bool(world.vendor.asked))
        assert not world.parked.wake("sync-so", "of nobody here")
        assert not world.parked.wake("ghostcut", job_id)
        world.vendor.jobs[job_id] = 1.0
        assert world.parked.wake("sync-so", job_id)
        await world.until_message(run, NEWS)


async def test_a_refused_key_is_shown_until_it_is_accepted(world: World) -> None:
    run = await world.park(0.5)
    before = (await world.state(run))[1]
    world.vendor.refuses = CredentialsRefused("No.", provider="sync.so")
    refused = (
        "Sync.so refuses the key; correct the block sync-so-credentials/pro-video. "
        "The job goes on by itself."
    )
    async with world.watching():
        await world.until_message(run, refused)
        assert (await world.state(run))[1] == before
        world.vendor.refuses = None
        await world.until_message(run, WAITING)
    assert world.woken == 0


async def test_a_job_that_is_cancelled_while_it_leaves_is_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def engine(*_: Any, **__: Any) -> State[Any]:
        """As Prefect's, whose state of a parked job is refused after the cancel."""
        await world.client.set_flow_run_state(run.id, Cancelling(), force=True)
        return (await world.state(run))[0]

    monkeypatch.setattr("deployments.worker.job_runner.JobEngine.run", engine)
    run = await world.park(0.5)
    runner = JobRunner(cancel_poll_seconds=60, parked=world.parked)
    try:
        await runner._execute(nothing, run, StopSignal(may_park=True), get_settings())
    finally:
        # Nobody has started it.
        runner._loop.close()
    assert (await world.client.read_flow_run(run.id)).state_name == "Cancelled"


def test_workers_share_the_looks() -> None:
    """Each looks for its own, and for those of workers that are gone."""
    names = ["first", "second"]
    watches = [ParkedJobs("pool", name, lambda: None) for name in names]
    for watch in watches:
        watch._online = names
    for number in range(40):
        run = FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), work_pool_name="pool")
        for owner, expected in (("first", [True, False]), ("second", [False, True])):
            run.labels["prefect.worker.name"] = owner
            assert [watch.is_ours(run) for watch in watches] == expected
        run.labels["prefect.worker.name"] = f"lost {number}"
        assert sum(watch.is_ours(run) for watch in watches) == 1
        run.work_pool_name = "another pool"
        assert not any(watch.is_ours(run) for watch in watches)
