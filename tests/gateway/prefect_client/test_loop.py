"""Prefect's client on a loop of its own: results, errors and cancellations reach the caller."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from gateway.prefect_client.loop import PrefectLoop, open_prefect_loop
from tests.gateway.gateways import Upstream


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefect"]


@pytest.fixture
async def prefect(upstream: Upstream) -> AsyncIterator[PrefectLoop]:
    with temporary_settings({PREFECT_API_URL: upstream.prefect_api_url}):
        async with open_prefect_loop() as opened:
            yield opened


async def test_answers_and_errors(prefect: PrefectLoop) -> None:
    async def healthy(client: PrefectClient) -> tuple[bool, str]:
        return await client.api_healthcheck() is None, threading.current_thread().name

    async def fail(client: PrefectClient) -> None:
        raise ValueError("no")

    assert await prefect.run(healthy) == (True, "prefect")
    with pytest.raises(ValueError, match="no"):
        await prefect.run(fail)


async def test_work_continues_while_the_loop_of_the_caller_is_busy(prefect: PrefectLoop) -> None:
    done = threading.Event()

    async def steps(client: PrefectClient) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        done.set()

    asked = asyncio.create_task(prefect.run(steps))
    await asyncio.sleep(0)
    deadline = time.monotonic() + 10
    # This loop takes no step meanwhile.
    while not done.is_set() and time.monotonic() < deadline:
        time.sleep(0.001)  # noqa: ASYNC251
    assert done.is_set()
    await asked


async def test_a_cancelled_caller_cancels_the_work(prefect: PrefectLoop) -> None:
    began, ended = threading.Event(), threading.Event()

    async def wait(client: PrefectClient) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    asked = asyncio.create_task(prefect.run(wait))
    assert await asyncio.to_thread(began.wait, 10)
    asked.cancel()
    assert await asyncio.to_thread(ended.wait, 10)


async def test_closing_cancels_running_work(upstream: Upstream) -> None:
    before = set(loops())
    began = threading.Event()

    async def wait(client: PrefectClient) -> None:
        began.set()
        await asyncio.sleep(60)

    with temporary_settings({PREFECT_API_URL: upstream.prefect_api_url}):
        async with open_prefect_loop() as prefect:
            asked = asyncio.create_task(prefect.run(wait))
            assert await asyncio.to_thread(began.wait, 10)
        found = await asyncio.gather(asked, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        with pytest.raises(RuntimeError, match="closed"):
            await prefect.run(wait)
    assert set(loops()) <= before
