"""Runs that crash: taken up again, but neither for ever nor after they have ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate, WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import AwaitingRetry, Completed, Crashed, Pending, Running, Scheduled

from deployments.automations import save_automations
from deployments.worker.job_runner import JobRunner
from deployments.worker.lost_jobs import (
    fail_if_lost_too_often,
    take_up_left_jobs,
    take_up_lost_jobs,
)
from deployments.worker.process_identity import ProcessIdentity
from deployments.worker.worker import ProVideoWorker
from pro_video.core.clock import VirtualClock
from pro_video.core.errors import FieldProblem, RequestRefused
from pro_video.core.job_names import JobKeys
from pro_video.core.progress import Stage
from pro_video.core.settings import get_settings
from tasks.connections.prefect_queries import PROGRESS_KEY, progress_query, read_history
from tasks.connections.run_history import DIED, TAKEN_UP, RunHistory
from tasks.run.ending import AlreadyCompleted, completed, ending
from tasks.run.job import Job
from tasks.run.job_state import JobState
from tasks.run.progress import ProgressReporter
from tasks.run.subflow import adopt_inpainting
from tests.support.scripted import Reply, ScriptedServer
from tests.support.workers.holder import BOOT, holder

POOL = "recoveries"


@flow(name="recovered")
async def nothing() -> None:
    """Never runs."""


@pytest.fixture
async def client(prefect_api: str) -> AsyncIterator[PrefectClient]:
    async with get_client() as client:
        yield client


@pytest.fixture
async def deployment(client: PrefectClient) -> Any:
    with contextlib.suppress(ObjectAlreadyExists):
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="pro-video"))
    return await client.create_deployment(
        flow_id=await client.create_flow(nothing),
        name=POOL,
        work_pool_name=POOL,
        enforce_parameter_schema=False,
    )


async def run_of(client: PrefectClient, deployment: Any, *states: State[Any]) -> FlowRun:
    run = await client.create_flow_run_from_deployment(deployment, state=Scheduled())
    for state in states:
        await client.set_flow_run_state(run.id, state, force=True)
    return await client.read_flow_run(run.id)


async def types(client: PrefectClient, run: FlowRun) -> list[StateType]:
    states = await client.read_flow_run_states(run.id)
    return [each.type for each in sorted(states, key=lambda each: each.timestamp)]


def job_of(run: FlowRun) -> Job:
    job_id, clock = str(run.id), VirtualClock()
    reporter = ProgressReporter(job_id, clock=clock)
    return Job(job_id, job_id, JobKeys(job_id), reporter, JobState(datetime.now(UTC)), clock)


async def complete(client: PrefectClient, run: FlowRun) -> None:
    """End a run as a process does that has kept its result; the server asks no more than that."""
    kept = {"type": "COMPLETED", "data": {"storage_key": "result"}}
    await client.request(
        "POST", "/flow_runs/{id}/set_state", path_params={"id": run.id}, json={"state": kept}
    )


def lost(times: int) -> list[State[Any]]:
    crashed: State[Any] = Crashed(message="cannot be submitted")
    return times * [Pending(), crashed, AwaitingRetry(message=TAKEN_UP)]


async def test_a_run_that_never_gets_to_its_flow_ends_with_the_reason(
    client: PrefectClient, deployment: Any
) -> None:
    allowed = get_settings().max_recoveries
    fresh = await run_of(client, deployment)
    spared = await run_of(client, deployment, *lost(allowed))
    doomed = await run_of(client, deployment, *lost(allowed + 1))
    assert [await fail_if_lost_too_often(client, run) for run in (fresh, spared, doomed)] == [
        False,
        False,
        True,
    ]
    state = (await client.read_flow_run(doomed.id)).state
    assert state is not None
    assert state.is_failed()
    assert "cannot be submitted" in str(state.message)
    assert (await client.read_flow_run(spared.id)).state_name == "AwaitingRetry"


async def test_a_job_that_another_process_completed_is_left_as_it_is(
    client: PrefectClient, deployment: Any
) -> None:
    run = await run_of(client, deployment, Running(), Completed(message="by the other"))
    job = job_of(run)
    with pytest.raises(AlreadyCompleted) as over:
        await completed(job, "by this one")
    assert over.value.state.message == "by the other"
    with pytest.raises(AlreadyCompleted):
        async with ending(job):
            raise RequestRefused([FieldProblem("video", "found by this one")])


async def test_a_completed_job_shows_its_end_whatever_another_process_shows_late(
    client: PrefectClient, deployment: Any
) -> None:
    async def shown(run: FlowRun) -> list[float]:
        answer = await client.request("POST", "/artifacts/filter", json=progress_query([run.id]))
        return [row["data"] for row in answer.json()]

    for leaves_at_its_end in (False, True):
        run = await run_of(client, deployment, Running())
        await client.create_artifact(
            ArtifactCreate(key=PROGRESS_KEY, type="progress", data=40.0, flow_run_id=run.id)
        )
        job = job_of(run)
        await job.reporter.resume()
        await job.reporter.stage(Stage.LIP_SYNC_PROCESSING, 0.9)
        assert 40 < (await shown(run))[0] < 100
        await complete(client, run)
        if leaves_at_its_end:
            with pytest.raises(AlreadyCompleted):
                await completed(job, "by this one")
        else:
            await job.reporter.stage(Stage.LIP_SYNC_COMPLETED)
        assert await shown(run) == [100.0]
        # Later calls of the other process change nothing.
        await job.reporter.fraction(Stage.LIP_SYNC_PROCESSING, 1.0)
        assert await shown(run) == [100.0]
        assert (await client.read_flow_run(run.id)).state_name == "Completed"


async def test_a_job_that_prefect_leaves_alone_is_taken_up_again(
    client: PrefectClient, deployment: Any
) -> None:
    run = await run_of(client, deployment, Running())
    async with ending(job_of(run)) as end:
        await client.request(
            "POST", "/flow_runs/{id}/set_state", path_params={"id": run.id}, json={"state": "odd"}
        )
    assert end.final.is_crashed()
    assert end.final.message == "Prefect's API did not answer: status 422"
    async with ending(job_of(run)) as end:
        await adopt_inpainting(job_of(run), Crashed(message="away"))
    assert end.final.is_crashed()
    assert end.final.message == "Prefect's API did not answer: away"


async def test_a_completed_job_is_not_taken_up(client: PrefectClient, deployment: Any) -> None:
    run = await run_of(client, deployment, Running())
    await complete(client, run)
    # As a late automation, and as a worker that believes to have found a lost process.
    for late in [*lost(1)[1:], Crashed(name="WorkerLost")]:
        await client.set_flow_run_state(run.id, late)
    assert (await types(client, run))[-1] is StateType.COMPLETED


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProcessIdentity:
    """The identity of this process."""
    identity = ProcessIdentity(tmp_path, BOOT)
    monkeypatch.setattr("deployments.worker.lost_jobs.this_process", lambda: identity)
    return identity


@pytest.fixture
def worker() -> Iterator[ProVideoWorker]:
    """A worker without jobs, which is not set up."""
    worker = ProVideoWorker(work_pool_name=POOL)
    worker._runner = JobRunner(cancel_poll_seconds=1)
    yield worker
    worker.runner._loop.close()


def taken(place: str) -> State[Any]:
    return Pending(message=f"Taken by worker process {place}")


async def test_the_jobs_of_a_dead_process_are_taken_up_and_no_others(
    client: PrefectClient, deployment: Any, here: ProcessIdentity, tmp_path: Path
) -> None:
    async def held(pid: str | None, *states: State[Any]) -> FlowRun:
        run = await run_of(client, deployment, *states)
        if pid is not None:
            await client.update_flow_run(run.id, infrastructure_pid=f"{pid}:{run.id}")
        return run

    with holder(tmp_path) as dead:
        begun = await held(dead, taken(dead), Running())
        assert await take_up_lost_jobs(POOL) == 0
    # Prefect writes the holder's name after the start; until then it is that of the one before.
    lost = [begun, await held(None, taken(dead)), await held(None, taken(dead), Running())]
    unknown, before = ProcessIdentity(tmp_path / "own", BOOT).place, "host:99999999"
    others = [
        await held(dead, taken(dead), taken(here.place), Running()),
        await held(dead, taken(here.place)),
        await held(here.place, taken(here.place), Running()),
        await held(unknown, taken(unknown), Running()),
        # As the version before named it.
        await held(before, Pending(), Running()),
    ]
    expected = [(await client.read_flow_run(run.id)).state_id for run in others]
    assert await take_up_lost_jobs(POOL) == len(lost)
    for run in lost:
        assert [kind.value for kind in (await types(client, run))[-2:]] == ["CRASHED", "SCHEDULED"]
    assert [(await client.read_flow_run(run.id)).state_id for run in others] == expected
    assert await take_up_lost_jobs(POOL) == 0


async def test_a_start_that_prefect_refuses_half_way_is_made_again(
    client: PrefectClient,
    deployment: Any,
    here: ProcessIdentity,
    worker: ProVideoWorker,
    tmp_path: Path,
) -> None:
    worker._client = client
    left, starting, dead = [await run_of(client, deployment) for _ in range(3)]
    for run in (left, starting):
        assert await worker._propose_pending_state(run)
        assert not await worker._propose_pending_state(run)
    worker._submitting_flow_run_ids.add(starting.id)
    with holder(tmp_path) as place:
        alive = await run_of(client, deployment, taken(place))
        with holder(tmp_path) as place:
            await client.set_flow_run_state(dead.id, taken(place))
        watch = asyncio.ensure_future(take_up_left_jobs(POOL, worker._is_here, seconds=0.1))
        async with asyncio.timeout(60):
            for run in (left, dead):
                while (await types(client, run))[-1] is not StateType.SCHEDULED:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        watch.cancel()
        for run in (starting, alive):
            assert (await types(client, run))[-1] is StateType.PENDING
    assert await read_history(client, str(left.id)) == RunHistory()
    assert (await read_history(client, str(dead.id))).losses == 1


async def test_a_refusal_before_a_start_ends_no_worker(
    client: PrefectClient, deployment: Any, worker: ProVideoWorker
) -> None:
    run = await run_of(client, deployment)
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        async with (
            ScriptedServer(answer=lambda _: Reply(503)) as busy,
            PrefectClient(busy.url) as refusing,
        ):
            worker._client = refusing
            worker._submitting_flow_run_ids.add(run.id)
            await worker._submit_run(run)
            assert not await worker._propose_pending_state(run)
    assert not worker._is_here(run.id)
    assert (await types(client, run))[-1] is StateType.SCHEDULED


async def test_a_crash_that_is_told_again_counts_nothing(
    client: PrefectClient, deployment: Any
) -> None:
    """As an automation does that repeats its action because the answer was slow."""
    run = await run_of(client, deployment, Running(name=Stage.UPLOADING.value.name))
    for _ in range(3):
        await client.set_flow_run_state(run.id, Crashed(message="no heartbeat"))
    assert (await read_history(client, str(run.id))).crashes == 1
    for _ in range(2):
        await client.set_flow_run_state(run.id, AwaitingRetry(message=TAKEN_UP))
        await client.set_flow_run_state(run.id, Crashed(message="no heartbeat"))
    assert (await read_history(client, str(run.id))).losses == 1


async def test_a_job_that_lost_a_worker_shows_when_a_death_counts_against_it(
    client: PrefectClient, deployment: Any
) -> None:
    run = await run_of(client, deployment, Running())
    await client.create_artifact(
        ArtifactCreate(key=PROGRESS_KEY, type="progress", data=0.0, flow_run_id=run.id)
    )
    job = job_of(run)
    await job.reporter.resume()

    async def counted() -> int:
        """Deaths at work, if this process died now."""
        states = await client.read_flow_run_states(run.id)
        dead: State[Any] = Crashed(name="WorkerLost", message=DIED)
        return RunHistory.of([*states, dead]).crashes

    await job.reporter.stage(Stage.UPLOADING)
    assert await counted() == 1
    await job.reporter.stage(Stage.INPAINTING_PROCESSING)
    await job.reporter.at_work(Stage.INPAINTING_PROCESSING)
    assert await counted() == 0
    job.reporter.was_lost = True
    await job.reporter.at_work(Stage.INPAINTING_PROCESSING)
    assert await counted() == 1
    # Another attempt waits again.
    await job.reporter.stage(Stage.INPAINTING_PROCESSING)
    assert await counted() == 0


async def test_a_suspect_works_when_no_other_one_does(
    client: PrefectClient, deployment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nowhere() -> Any:
        return SimpleNamespace(storage=SimpleNamespace(bucket="bucket", place="s3://bucket"))

    monkeypatch.setattr("tasks.run.job.connections", nowhere)
    work: State[Any] = Running(name=Stage.UPLOADING.value.name)
    dead: State[Any] = Crashed(name="WorkerLost", message=DIED)
    again: State[Any] = AwaitingRetry(message=TAKEN_UP)
    lives = [Pending(), work, dead, again]
    first, second, other = [
        job_of(await run_of(client, deployment, *(times * lives))) for times in (2, 3, 1)
    ]
    await first.begin()
    await other.begin()
    waiting = asyncio.ensure_future(second.begin())
    done, _ = await asyncio.wait([waiting], timeout=1)
    assert not done
    first.turn.release()
    await waiting
    second.turn.release()


async def test_the_automation_takes_up_a_crashed_job(
    client: PrefectClient, deployment: Any
) -> None:
    await save_automations(client, [str(deployment)], 100)
    run = await run_of(client, deployment, Running(), Crashed())

    async with asyncio.timeout(60):
        # The server acts on an event some time after it.
        while (await types(client, run))[-1] is not StateType.SCHEDULED:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    state = (await client.read_flow_run(run.id)).state
    assert state is not None
    assert state.message == TAKEN_UP
