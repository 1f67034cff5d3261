"""Announcing ends: once among all processes, and also for jobs that could not do it themselves."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Crashed, Failed, Scheduled

from flows.webhook_delivery import webhook_delivery_flow
from gateway.jobs.views import job_view
from gateway.prefect_client.runs import Run
from gateway.status.status_reader import Ended, Snapshot
from pro_video.core.job_names import JobKeys
from pro_video.records import JobError, JobResult
from pro_video.s3.storage import Storage
from pro_video.webhooks.records import Delivery, EventType, gone_key, webhook_id
from tasks.webhooks.announce import (
    TAG,
    announce_event,
    end_data,
    keep_target,
    read_delivery,
    round_of,
)
from tasks.webhooks.watch import EndWatch

ALL: Sequence[EventType] = ("job.completed", "job.failed", "job.cancelled")
LATER = timedelta(seconds=60)
HOUR = timedelta(hours=1)


@flow(name="job-of-a-test")
async def nothing() -> None:
    """Never runs."""


@dataclass
class World:
    """Prefect with the delivery's deployment, and the bucket."""

    prefect: PrefectClient
    storage: Storage

    async def job(
        self, *states: State[Any], tags: Sequence[str] = (TAG,), events: Sequence[EventType] = ALL
    ) -> UUID:
        run = await self.prefect.create_flow_run(nothing, tags=tags, state=Scheduled())
        await keep_target(self.storage, str(run.id), url="https://example.com/hook", events=events)
        await self.enter(run.id, *states)
        return run.id

    async def enter(self, job: UUID, *states: State[Any]) -> None:
        for state in states:
            await self.prefect.set_flow_run_state(job, state, force=True)

    async def look(self, watch: EndWatch | None = None, after: timedelta = LATER) -> None:
        await (watch or EndWatch()).look(self.prefect, self.storage, datetime.now(UTC) + after)

    async def kept(self, job: UUID, type_: EventType, round_: int = 1) -> Delivery | None:
        return await read_delivery(self.storage, str(job), webhook_id(str(job), type_, round_))

    async def announce(
        self, job: UUID, data: dict[str, Any], round_: int = 1, at: datetime | None = None
    ) -> None:
        """Announce a good end, as the job itself does."""
        at = at or datetime.now(UTC)
        await announce_event(
            self.prefect, self.storage, str(job), "job.completed", data, at, round_=round_
        )

    async def started(self, job: UUID) -> list[dict[str, Any]]:
        """Parameters of the delivery runs of a job."""
        answer = await self.prefect.request(
            "POST", "/flow_runs/filter", json={"flow_runs": {"name": {"like_": str(job)}}}
        )
        return [row["parameters"] for row in answer.json()]


@pytest.fixture
async def world(prefect_api: str, storage: Storage) -> AsyncIterator[World]:
    async with get_client() as client:
        flow_id = await client.create_flow(webhook_delivery_flow)
        await client.create_deployment(
            flow_id=flow_id, name="local", enforce_parameter_schema=False
        )
        yield World(client, storage)


@pytest.mark.parametrize(
    ("state", "type_", "status"),
    [
        (Completed(message="done"), "job.completed", "completed"),
        (Failed(message="Lip-sync failed: no"), "job.failed", "failed"),
        (Cancelled(message="Cancelled by user"), "job.cancelled", "cancelled"),
    ],
)
async def test_an_end_that_nobody_told_is_told(
    world: World, state: State[Any], type_: EventType, status: str
) -> None:
    job = await world.job(state)
    await world.look()
    record = await world.kept(job, type_)
    assert record is not None
    assert (record.data["status"], record.data["message"]) == (status, state.message)
    message = webhook_id(str(job), type_, 1)
    assert await world.started(job) == [{"job_id": str(job), "webhook_id": message}]


@pytest.mark.parametrize("message", [None, "Its own words."])
@pytest.mark.parametrize(
    ("make", "type_"),
    [
        (Completed, "job.completed"),
        (Failed, "job.failed"),
        (Cancelled, "job.cancelled"),
        (Crashed, "job.failed"),
    ],
)
async def test_the_message_has_the_words_of_the_status(
    world: World, make: Callable[..., State[Any]], type_: EventType, message: str | None
) -> None:
    job = await world.job(make(message=message))
    await world.look(after=timedelta(minutes=20))
    record = await world.kept(job, type_)
    assert record is not None
    run = await world.prefect.read_flow_run(job)
    assert run.state is not None
    # As it is shown when the message is sent.
    state = run.state.model_dump(mode="json") | {"timestamp": run.state.timestamp - HOUR}
    shown = Run.model_validate({**run.model_dump(mode="json"), "state": state})
    view = job_view(Snapshot(shown, 0.0), None)
    assert (record.data["status"], record.data["message"]) == (view.status, view.message)
    error = view.error and view.error.model_dump(include={"code", "message"})
    assert record.data["error"] == error


async def test_a_reported_failure_has_the_words_of_the_status(world: World) -> None:
    job = await world.job(Failed(message="Upload failed: no"))
    now = datetime.now(UTC)
    result = JobResult(
        job_id=str(job),
        status="failed",
        message="Upload failed: no",
        error=JobError(stage="uploading", kind="SourceRefused", message="Upload failed: no"),
        created_at=now,
        completed_at=now,
    )
    run = Run.model_validate((await world.prefect.read_flow_run(job)).model_dump(mode="json"))
    view = job_view(Snapshot(run, 0.0), Ended(result))
    assert view.error is not None
    told = end_data(result)["error"]
    assert view.error.model_dump() == {name: told[name] for name in view.error.model_dump()}


async def test_announcing_is_once_however_many_do_it(world: World) -> None:
    job = await world.job(Completed(message="done"))

    by_the_job = (world.announce(job, {"status": "completed"}) for _ in range(5))
    await asyncio.gather(*by_the_job, *(world.look() for _ in range(5)))
    assert len(await world.started(job)) == 1


async def test_the_jobs_own_words_stay(world: World) -> None:
    job = await world.job()
    told = datetime.now(UTC)
    round_ = await round_of(world.prefect, str(job))
    await world.announce(job, {"status": "completed", "output_key": "k"}, round_, told)
    await world.enter(job, Completed(message="done"))
    await world.look()
    record = await world.kept(job, "job.completed")
    assert record is not None
    assert (record.data["output_key"], record.timestamp) == ("k", told)


async def test_a_retried_job_ends_again_and_is_told_again(world: World) -> None:
    job = await world.job(Failed(message="first"))
    watch = EndWatch()
    await world.look(watch)
    await world.enter(job, Scheduled(name="AwaitingRetry"))
    assert await round_of(world.prefect, str(job)) == 2
    await world.enter(job, Failed(message="second"))
    await world.look(watch)
    await world.enter(job, Scheduled(name="AwaitingRetry"), Completed(message="third"))
    await world.look(watch)
    assert [
        record.data["message"]
        for record in (
            await world.kept(job, "job.failed", 1),
            await world.kept(job, "job.failed", 2),
            await world.kept(job, "job.completed", 3),
        )
        if record
    ] == ["first", "second", "third"]


async def test_a_crash_is_no_end_unless_it_stays(world: World) -> None:
    job = await world.job(Crashed(message="lost"))
    await world.look()
    assert await world.kept(job, "job.failed") is None
    await world.look(after=timedelta(minutes=20))
    record = await world.kept(job, "job.failed")
    assert record is not None
    assert record.data["error"]["code"] == "crashed"


async def test_a_crash_that_was_recovered_from_begins_no_new_round(world: World) -> None:
    job = await world.job(Crashed(), Scheduled(name="AwaitingRetry"))
    assert await round_of(world.prefect, str(job)) == 1


async def test_the_report_tells_more_than_the_state(world: World) -> None:
    job = await world.job()
    report = JobResult(
        job_id=str(job),
        status="completed",
        message="done",
        output_key=JobKeys(str(job)).final_result,
        created_at=datetime.now(UTC),
        completed_at=datetime.now(UTC),
    )
    await world.storage.put_bytes(JobKeys(str(job)).report, report.model_dump_json().encode())
    await world.enter(job, Completed(message="done"))
    await world.look()
    record = await world.kept(job, "job.completed")
    assert record is not None
    assert record.data["output_key"] == JobKeys(str(job)).final_result


async def test_nobody_is_told_who_did_not_ask(world: World) -> None:
    untagged = await world.job(Completed(), tags=())
    other_end = await world.job(Failed(message="no"), events=["job.completed"])
    gone = await world.job(Failed(message="no"))
    await world.storage.put_bytes(gone_key(str(gone)), b"gone")
    fresh = await world.job(Completed())
    await world.look(after=timedelta(0))
    assert await world.kept(fresh, "job.completed") is None
    await world.look()
    for job in (untagged, other_end, gone):
        assert await world.started(job) == []


async def test_each_end_costs_one_look(world: World) -> None:
    job = await world.job(Completed(message="done"))
    watch = EndWatch()
    now = datetime.now(UTC) + LATER
    assert await watch.look(world.prefect, world.storage, now) >= 1
    assert await watch.look(world.prefect, world.storage, now) == 0
    assert await world.kept(job, "job.completed") is not None


async def test_a_job_without_a_target_is_left_alone(world: World) -> None:
    job, now = str(uuid.uuid4()), datetime.now(UTC)
    told = announce_event(world.prefect, world.storage, job, "job.failed", {}, now, round_=1)
    assert await told is None
