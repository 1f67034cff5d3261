"""The client against the Sync.so emulator: bought once, whatever happens to the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from pro_video.clock import VirtualClock
from pro_video.errors import (
    CredentialsRefused,
    JobFailedRetryable,
    OutcomeUnknown,
    ProviderRefused,
    SlotUnavailable,
)
from pro_video.retrying import Backoff
from pro_video.sync_so.client import SyncSoClient
from pro_video.sync_so.models import (
    AudioInput,
    Generation,
    SegmentInput,
    build_generation_request,
    planted,
)
from pro_video.sync_so.status import observe
from pro_video.waiting import WaitPolicy, wait_for
from sandbox.kit.server import RunningServer, start_app
from sandbox.sync_so import create_app

TOKEN = "lp1-job-0001-1"


@pytest.fixture
def server(tmp_path: Any) -> Iterator[RunningServer]:
    with start_app(create_app(data_dir=tmp_path, api_key="sandbox-key")) as running:
        httpx.put(f"{running.url}/_sandbox/settings", json={"seconds_per_job": 0.05})
        yield running


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[SyncSoClient]:
    backoff = Backoff(first=0.01, longest=0.05, tries=4)
    async with SyncSoClient(server.url, "sandbox-key", backoff=backoff) as client:
        yield client


def body(token: str = TOKEN, end: float = 2.0) -> bytes:
    # Nothing listens on port 9: the emulator accepts the job and cannot fetch its inputs.
    return build_generation_request(
        video_url=f"http://127.0.0.1:9/{token}/v.mp4",
        audios=[AudioInput("line-1", "http://127.0.0.1:9/a.wav")],
        segments=[SegmentInput(1, end, "line-1")],
        model="lipsync-2",
        sync_mode="cut_off",
        temperature=None,
        output_file_name=token,
    )


def faults(server: RunningServer, *given: dict[str, Any]) -> None:
    answer = httpx.put(f"{server.url}/_sandbox/faults", json={"faults": list(given)})
    answer.raise_for_status()


def accepted(server: RunningServer) -> int:
    count = httpx.get(f"{server.url}/_sandbox/audit").raise_for_status().json()["accepted"]
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("kind", ["drop_connection", "502_html", "504", "truncate_json"])
async def test_a_lost_answer_buys_nothing_twice(
    server: RunningServer, client: SyncSoClient, kind: str
) -> None:
    faults(server, {"call": "create", "kind": kind, "when": "after", "times": 2})
    first = await client.create(body(), TOKEN)
    again = await client.create(body(), TOKEN)
    assert first.id == again.id
    assert accepted(server) == 1


async def test_answers_lost_for_good_are_found_by_the_planted_token(
    server: RunningServer, client: SyncSoClient
) -> None:
    since = datetime.now(UTC)
    await client.create(body("lp1-other-001"), "other")
    faults(server, {"call": "create", "kind": "drop_connection", "when": "after", "times": 4})
    with pytest.raises(OutcomeUnknown):
        await client.create(body(), TOKEN)
    found = await client.find_generation(planted(TOKEN), since=since)
    assert found is not None
    assert found.output_file_name == TOKEN
    assert await client.find_generation(planted("lp1-never-sent"), since=since) is None
    assert accepted(server) == 2


async def test_an_unknown_outcome_is_followed(server: RunningServer, client: SyncSoClient) -> None:
    faults(server, {"call": "create", "kind": "idempotency_unknown", "when": "after"})
    assert (await client.create(body(), TOKEN)).output_file_name == TOKEN
    assert accepted(server) == 1


async def test_another_request_under_the_key_is_refused(
    server: RunningServer, client: SyncSoClient
) -> None:
    await client.create(body(), TOKEN)
    with pytest.raises(ProviderRefused, match="idempotency key"):
        await client.create(body(end=2.5), TOKEN)
    assert accepted(server) == 1


async def test_a_lack_of_slots(server: RunningServer, client: SyncSoClient) -> None:
    faults(server, {"call": "create", "kind": "429_concurrency"})
    with pytest.raises(SlotUnavailable):
        await client.create(body(), TOKEN)
    assert accepted(server) == 0


async def test_a_wrong_key(server: RunningServer) -> None:
    async with SyncSoClient(server.url, "another-key") as client:
        with pytest.raises(CredentialsRefused):
            await client.create(body(), TOKEN)


async def test_a_failed_job_tells_its_reason(client: SyncSoClient) -> None:
    created = await client.create(body(), TOKEN)

    async def look() -> Any:
        return observe(await client.generation(created.id, wait=1))

    with pytest.raises(JobFailedRetryable) as caught:
        await wait_for(look, WaitPolicy(deadline=20, first=0.05, longest=0.1))
    assert caught.value.code == "generation_input_video_inaccessible"


async def test_progress_and_ids_of_no_job(client: SyncSoClient) -> None:
    created = await client.create(body(), TOKEN)
    assert isinstance(await client.generation(created.id, progress=True), Generation)
    with pytest.raises(ProviderRefused):
        await client.generation("6533643b-aceb-4c40-967e-d9ba9baac39e")


async def test_faults_of_a_status_read_do_not_end_a_wait(server: RunningServer) -> None:
    clock = VirtualClock()
    async with SyncSoClient(server.url, "sandbox-key", clock=clock) as client:
        created = await client.create(body(), TOKEN)
        kinds = ("503_html", "drop_connection", "truncate_body", "429_rate")
        faults(server, *({"call": "status", "kind": kind} for kind in kinds))
        assert (await client.generation(created.id)).id == created.id
    assert len(clock.slept) == 4
