"""From the gateway's event to the wait in a worker, over a real Prefect server."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.worker.callbacks import listen_for_callbacks
from pro_video.core.clock import VirtualClock
from tasks.callbacks.event import EVENT, provider_job_of, resource_of
from tasks.callbacks.wake import WakeSignal, WakeSignals

PATIENCE = 30.0


async def emit(client: PrefectClient, *resources: dict[str, str], name: str = EVENT) -> None:
    events = [
        {
            "id": str(uuid.uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": name,
            "resource": resource,
            "related": [],
            "payload": {},
        }
        for resource in resources
    ]
    await client.request("POST", "/events", json=events)


async def emit_until_set(
    client: PrefectClient, signals: list[WakeSignal], *resources: dict[str, str]
) -> None:
    """Emit until all signals are set."""
    async with asyncio.timeout(PATIENCE):
        while not all(signal.is_set() for signal in signals):
            await emit(client, *resources)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.gather(*(signal.wait() for signal in signals))


@contextlib.asynccontextmanager
async def listener(signals: WakeSignals) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(listen_for_callbacks(signals))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_every_listening_process_hears_of_its_own_jobs_alone(prefect_api: str) -> None:
    here, there = WakeSignals(), WakeSignals()
    job, other = str(uuid.uuid4()), "4711.with.dots"
    async with get_client() as client, listener(here), listener(there):
        with (
            here.waiting("sync-so", job) as mine,
            there.waiting("ghostcut", other) as theirs,
            here.waiting("ghostcut", job) as wrong_provider,
        ):
            # An event from before the connections stand may be lost, as any signal may.
            await emit_until_set(
                client,
                [mine, theirs],
                {"prefect.resource.id": "pro-video.provider-job.nonsense"},
                resource_of("sync-so", "nobody waits for this"),
                resource_of("sync-so", job),
                resource_of("ghostcut", other),
            )
            assert not wrong_provider.is_set()
            # Further rings, the same again and out of order, are only further rings.
            mine.clear()
            await emit(client, resource_of("ghostcut", other), resource_of("sync-so", job))
            async with asyncio.timeout(PATIENCE):
                await mine.wait()


async def test_other_events_ring_nothing(prefect_api: str) -> None:
    signals = WakeSignals()
    async with get_client() as client, listener(signals):
        with signals.waiting("sync-so", "a") as first, signals.waiting("sync-so", "b") as second:
            await emit_until_set(client, [second], resource_of("sync-so", "b"))
            second.clear()
            # Listening for sure now: the other event comes before the one that rings.
            await emit(client, resource_of("sync-so", "a"), name="pro-video.other")
            await emit_until_set(client, [second], resource_of("sync-so", "b"))
            assert not first.is_set()


async def test_a_server_that_is_away_is_tried_again_with_growing_pauses() -> None:
    clock = VirtualClock()
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        task = asyncio.create_task(listen_for_callbacks(WakeSignals(), clock=clock))
        async with asyncio.timeout(PATIENCE):
            while len(clock.slept) < 8:  # noqa: ASYNC110 - the clock has no event for it
                await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert clock.slept[-1] > 4 * clock.slept[0]
    assert max(clock.slept) <= 30


@pytest.mark.parametrize(
    "name",
    ["", "prefect.flow-run.x", "pro-video.provider-job.", "pro-video.provider-job.sync-so."],
)
def test_only_names_of_provider_jobs_count(name: str) -> None:
    assert provider_job_of({"prefect.resource.id": name}) is None
    assert provider_job_of({}) is None


def test_a_job_id_may_hold_dots() -> None:
    assert provider_job_of(resource_of("ghostcut", "1.2")) == ("ghostcut", "1.2")
