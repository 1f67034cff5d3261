"""The stream of events over real sockets, in front of a real Prefect server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed, Running, Scheduled
from starlette.types import Message

from gateway.app.app import create_app, end_streams
from gateway.auth.token_store import LOCAL_OWNER
from gateway.base.problems import ProblemError
from gateway.base.services import services_of
from gateway.base.settings import GatewaySettings
from gateway.events.hub import EventHub
from gateway.events.routes import EventStreams
from gateway.events.stream import EventStreamResponse
from gateway.prefect_client.api import PrefectApi
from gateway.prefect_client.runs import TAG, Runs, owner_tag
from gateway.status.status_reader import StatusReader
from pro_video.core.progress import Stage
from tests.gateway.asgi_server import eventually, serving

PATIENCE = 30.0


@flow(name="job-of-a-test")
async def nothing() -> None:
    """Never runs."""


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    id: str
    data: dict[str, Any]

    @property
    def summary(self) -> tuple[str, str | None, int]:
        return self.data["status"], self.data["stage"], self.data["progress"]


class Stream:
    """A client that reads a stream line by line."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.heartbeats = 0
        self._lines = response.aiter_lines()

    async def next(self) -> Event | None:
        """The next event; None at the end of the stream."""
        found = ""
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                if line.startswith(":"):
                    self.heartbeats += 1
                elif line.startswith("id: "):
                    found = line[4:]
                elif line.startswith("data: "):
                    return Event(found, json.loads(line[6:]))
        return None

    async def rest(self) -> list[Event]:
        """All events to the end of the stream."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found

    async def until(self, stage: str | None, progress: int = 0) -> list[Event]:
        """Events up to the first of a stage that has come that far."""
        found: list[Event] = []
        while True:
            event = await self.next()
            assert event is not None, found
            found.append(event)
            if event.data["stage"] == stage and event.data["progress"] >= progress:
                return found


class Gateway:
    """A gateway and Prefect behind it."""

    def __init__(self, app: FastAPI, http: httpx.AsyncClient, prefect: PrefectClient) -> None:
        self.app = app
        self.http = http
        self.prefect = prefect

    @property
    def hub(self) -> EventHub:
        return services_of(self.app)[EventStreams].hub

    async def job(self, owner: str = LOCAL_OWNER) -> UUID:
        run = await self.prefect.create_flow_run(
            nothing, tags=[TAG, owner_tag(owner)], state=Scheduled()
        )
        return run.id

    async def set(self, job_id: UUID, state: State[Any]) -> None:
        await self.prefect.set_flow_run_state(job_id, state, force=True)

    async def stage(self, job_id: UUID, stage: Stage) -> None:
        await self.set(job_id, Running(name=stage.value.name, message=stage.value.message))

    async def percent(self, job_id: UUID, percent: float) -> None:
        await self.prefect.create_artifact(
            ArtifactCreate(
                key="pro-video-progress", type="progress", data=percent, flow_run_id=job_id
            )
        )

    @contextlib.asynccontextmanager
    async def events(self, job_id: UUID, last: str | None = None) -> AsyncIterator[Stream]:
        headers = {} if last is None else {"Last-Event-ID": last}
        url = f"/api/v1/jobs/{job_id}/events"
        async with self.http.stream("GET", url, headers=headers) as response:
            yield Stream(response)


@contextlib.asynccontextmanager
async def opened(**events: Any) -> AsyncIterator[Gateway]:
    settings = GatewaySettings(status_cache_seconds=0.0, upstream_seconds=20, **events)
    app = create_app(settings)
    async with serving(app) as url, get_client() as prefect:
        services = services_of(app)
        hub = EventHub(
            services[PrefectApi],
            services[Runs],
            services[StatusReader],
            look_seconds=0.1,
            queue_size=8,
        )
        services.add(EventStreams(settings, hub))
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
            yield Gateway(app, http, prefect)


@pytest.fixture
async def gateway(prefect_api: str) -> AsyncIterator[Gateway]:
    async with opened() as running:
        yield running


async def test_a_stream_has_the_job_from_its_begin_to_its_end(gateway: Gateway) -> None:
    job = await gateway.job()
    async with gateway.events(job) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"
        first = await stream.next()
        assert first is not None
        assert first.summary == ("processing", "queued", 0)
        await gateway.stage(job, Stage.UPLOADING)
        await stream.until("uploading")
        await gateway.stage(job, Stage.LIP_SYNC_PROCESSING)
        await gateway.percent(job, 33.0)
        seen = await stream.until("lip-sync processing", 33)
        assert seen[-1].data["message"] == "Lip-sync processing..."
        assert seen[-1].data["job_id"] == str(job)
        await gateway.set(job, Completed(message="Pro video processing completed"))
        (last,) = await stream.rest()
        assert last.summary == ("completed", "completed", 100)
    await eventually(lambda: gateway.hub.subscriptions == 0)
    await eventually(lambda: gateway.hub.upstreams == 0)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (Failed(message="Lip-sync failed: no"), "failed"),
        (Cancelled(message="Cancelled during: Uploading"), "cancelled"),
    ],
)
async def test_a_stream_ends_with_the_job_and_does_not_begin_again(
    gateway: Gateway, state: State[Any], status: Literal["failed", "cancelled"]
) -> None:
    job = await gateway.job()
    await gateway.set(job, state)
    async with gateway.events(job) as stream:
        (only,) = await stream.rest()
    assert only.summary[:2] == (status, None)
    assert only.data["message"] == state.message
    async with gateway.events(job, only.id) as stream:
        # EventSource reconnects by itself until it gets this status.
        assert stream.response.status_code == 204


async def test_a_reconnect_misses_nothing(gateway: Gateway) -> None:
    job = await gateway.job()
    await gateway.stage(job, Stage.UPLOADING)
    async with gateway.events(job) as stream:
        last = (await stream.until("uploading"))[-1]
    for stage in (Stage.LIP_SYNC_PROCESSING, Stage.LIP_SYNC_COMPLETED, Stage.INPAINTING_STARTING):
        await gateway.stage(job, stage)
    await gateway.set(job, Completed(message="done"))
    async with gateway.events(job, last.id) as stream:
        stages = [event.data["stage"] for event in await stream.rest()]
    assert stages == [
        "lip-sync processing",
        "lip-sync completed",
        "inpainting starting",
        "completed",
    ]


async def test_many_clients_cost_one_connection_and_get_the_same_events(gateway: Gateway) -> None:
    jobs = [await gateway.job(), await gateway.job()]
    async with contextlib.AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(gateway.events(jobs[number % 2]))
            for number in range(30)
        ]
        for stream in streams:
            await stream.next()
        assert (gateway.hub.subscriptions, gateway.hub.upstreams) == (30, 1)
        for job in jobs:
            await gateway.set(job, Completed(message="done"))
        ends = await asyncio.gather(*(stream.rest() for stream in streams))
    assert {events[-1].summary for events in ends} == {("completed", "completed", 100)}
    assert len({events[-1].id for events in ends}) == 2
    await eventually(lambda: gateway.hub.upstreams == 0)


async def test_a_quiet_stream_shows_that_it_is_there(prefect_api: str) -> None:
    async with opened(events_heartbeat_seconds=0.05) as gateway:
        job = await gateway.job()
        async with gateway.events(job) as stream:
            await stream.next()
            waiting = asyncio.create_task(stream.next())
            await eventually(lambda: stream.heartbeats >= 3)
            await gateway.set(job, Completed(message="done"))
            assert await waiting is not None


async def test_a_stream_ends_in_time_and_its_client_reconnects(prefect_api: str) -> None:
    async with opened(events_longest_seconds=0.2, events_heartbeat_seconds=0.05) as gateway:
        job = await gateway.job()
        async with gateway.events(job) as stream:
            (first,) = await stream.rest()
        await gateway.set(job, Completed(message="done"))
        async with gateway.events(job, first.id) as stream:
            assert [event.summary[0] for event in await stream.rest()] == ["completed"]


async def test_a_client_that_falls_behind_is_dropped_alone(prefect_api: str) -> None:
    async with opened() as gateway:
        job = await gateway.job()
        async with gateway.hub.following(job, None) as slow, gateway.events(job) as quick:
            await quick.next()
            # More than the queue of the slow one holds.
            for percent in range(1, 12):
                await gateway.percent(job, float(percent))
                await quick.until("queued", percent)
            assert slow.subscription.is_over
            kept = [slow.subscription.queue.get_nowait() for _ in range(9)]
            assert [one.view.progress for one in kept if one] == list(range(1, 9))
            assert kept[-1] is None


async def test_a_gateway_that_stops_lets_its_streams_end(gateway: Gateway) -> None:
    job = await gateway.job()
    async with gateway.events(job) as stream:
        first = await stream.next()
        assert first is not None
        end_streams(gateway.app)
        assert await stream.rest() == []
    await gateway.set(job, Completed(message="done"))
    async with gateway.events(job, first.id) as stream:
        assert [event.summary[0] for event in await stream.rest()] == ["completed"]


async def test_a_client_that_takes_no_bytes_is_dropped() -> None:
    closed = asyncio.Event()
    blocked = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b": x\n\n"

    async def close() -> None:
        closed.set()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nobody sends anything")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            blocked.set()
            await asyncio.Event().wait()

    stream = EventStreamResponse(endless(), close=close, send_seconds=0.05)
    async with asyncio.timeout(PATIENCE):
        await stream({"type": "http"}, receive, send)
    assert blocked.is_set()
    assert closed.is_set()


async def test_clients_that_disconnect_free_their_streams(prefect_api: str) -> None:
    async with opened(events_listeners=2) as gateway:
        job = await gateway.job()
        for _ in range(6):
            async with gateway.events(job) as stream:
                assert stream.response.status_code == 200
                await stream.next()
            await eventually(lambda: gateway.hub.subscriptions == 0)
        async with gateway.events(job) as first, gateway.events(job) as second:
            await first.next()
            await second.next()
            async with gateway.events(job) as third:
                assert third.response.status_code == 503
                assert int(third.response.headers["retry-after"]) > 0


async def test_no_owner_takes_the_streams_of_others(prefect_api: str) -> None:
    async with opened(events_listeners=3, events_listeners_of_owner=2) as gateway:
        job = await gateway.job()
        opened_by = services_of(gateway.app)[EventStreams].opened
        async with gateway.events(job) as first, gateway.events(job) as second:
            await first.next()
            await second.next()
            async with gateway.events(job) as third:
                assert third.response.status_code == 429
                assert int(third.response.headers["retry-after"]) > 0
            with opened_by("another"):
                with pytest.raises(ProblemError) as full, opened_by("a-third"):
                    pass
                assert full.value.status == 503
            with opened_by("a-third"):
                pass
        await eventually(lambda: gateway.hub.subscriptions == 0)
        async with gateway.events(job) as again:
            assert again.response.status_code == 200


async def test_other_owners_jobs_and_unknown_ones_are_not_there(gateway: Gateway) -> None:
    foreign = await gateway.job(owner="somebody-else")
    for job in (foreign, uuid.uuid4()):
        async with gateway.events(job) as stream:
            assert stream.response.status_code == 404
            assert (await stream.response.aread()).startswith(b"{")
    assert gateway.hub.subscriptions == 0
