"""The client against the Sync.so emulator: bought once, also when responses are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from pro_video.core.clock import VirtualClock
from pro_video.core.errors import (
    CredentialsRefused,
    JobFailedRetryable,
    OutcomeUnknown,
    RequestConflict,
    ServiceUnavailable,
    SlotUnavailable,
)
from pro_video.core.retrying import Backoff
from pro_video.core.waiting import WaitPolicy, wait_for
from pro_video.providers.sync_so.client import SyncSoClient
from pro_video.providers.sync_so.models import (
    AudioInput,
    Generation,
    SegmentInput,
    build_generation_request,
    planted,
)
from pro_video.providers.sync_so.status import observe
from sandbox.common.server import RunningServer, start_app
from sandbox.sync_so import create_app


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("sync-so")
    with start_app(create_app(data_dir=folder, api_key="sandbox-key")) as running:
        settings = {"seconds_per_job": 0, "concurrency_limit": 100}
        answer = httpx.put(f"{running.url}/_sandbox/settings", json=settings)
        answer.raise_for_status()
        yield running


@pytest.fixture
def server(running: RunningServer) -> RunningServer:
    """The emulator that the tests share; they keep apart by their tokens."""
    httpx.delete(f"{running.url}/_sandbox/faults").raise_for_status()
    return running


@pytest.fixture
def token() -> str:
    return f"lp1-{uuid4()}"


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[SyncSoClient]:
    backoff = Backoff(first=0.01, longest=0.05, tries=4)
    async with SyncSoClient(server.url, "sandbox-key", backoff=backoff) as client:
        yield client


def body(token: str, end: float = 2.0) -> bytes:
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


def accepted(server: RunningServer, token: str) -> int:
    audit = httpx.get(f"{server.url}/_sandbox/audit").raise_for_status().json()
    return sum(token in (job["reference"], job.get("idempotency_key")) for job in audit["jobs"])


@pytest.mark.parametrize("kind", ["drop_connection", "502_html", "504", "truncate_json"])
async def test_a_lost_answer_buys_nothing_twice(
    server: RunningServer, client: SyncSoClient, kind: str, token: str
) -> None:
    faults(server, {"call": "create", "kind": kind, "when": "after", "times": 2})
    first = await client.create(body(token), token)
    again = await client.create(body(token), token)
    assert first.id == again.id
    assert accepted(server, token) == 1


async def test_answers_lost_for_good_are_found_by_the_planted_token(
    server: RunningServer, client: SyncSoClient, token: str
) -> None:
    since = datetime.now(UTC)
    await client.create(body("lp1-other-001"), "other")
    faults(server, {"call": "create", "kind": "drop_connection", "when": "after", "times": 4})
    with pytest.raises(OutcomeUnknown):
        await client.create(body(token), token)
    found = await client.find_generation(planted(token), since=since)
    assert found is not None
    assert found.output_file_name == token
    assert await client.find_generation(planted("lp1-never-sent"), since=since) is None
    assert accepted(server, token) == 1


async def test_an_unknown_outcome_is_followed(
    server: RunningServer, client: SyncSoClient, token: str
) -> None:
    faults(server, {"call": "create", "kind": "idempotency_unknown", "when": "after"})
    assert (await client.create(body(token), token)).output_file_name == token
    assert accepted(server, token) == 1


async def test_another_request_under_the_key_is_refused(
    server: RunningServer, client: SyncSoClient, token: str
) -> None:
    await client.create(body(token), token)
    with pytest.raises(RequestConflict, match="idempotency key"):
        await client.create(body(token, end=2.5), token)
    assert accepted(server, token) == 1


async def test_a_lack_of_slots(server: RunningServer, client: SyncSoClient, token: str) -> None:
    faults(server, {"call": "create", "kind": "429_concurrency"})
    with pytest.raises(SlotUnavailable):
        await client.create(body(token), token)
    assert accepted(server, token) == 0


async def test_a_wrong_key(server: RunningServer, token: str) -> None:
    async with SyncSoClient(server.url, "another-key") as client:
        with pytest.raises(CredentialsRefused):
            await client.create(body(token), token)


async def test_a_failed_job_tells_its_reason(client: SyncSoClient, token: str) -> None:
    created = await client.create(body(token), token)

    async def look() -> Any:
        return observe(await client.generation(created.id, wait=1))

    with pytest.raises(JobFailedRetryable) as caught:
        await wait_for(look, WaitPolicy(deadline=20, first=0.05, longest=0.1))
    assert caught.value.code == "generation_input_video_inaccessible"


async def test_progress_and_ids_of_no_job(client: SyncSoClient, token: str) -> None:
    created = await client.create(body(token), token)
    assert isinstance(await client.generation(created.id, progress=True), Generation)
    with pytest.raises(ServiceUnavailable, match="looked at again"):
        await client.generation("6533643b-aceb-4c40-967e-d9ba9baac39e")


async def test_faults_of_a_status_read_do_not_end_a_wait(server: RunningServer, token: str) -> None:
    clock = VirtualClock()
    async with SyncSoClient(server.url, "sandbox-key", clock=clock) as client:
        created = await client.create(body(token), token)
        kinds = ("503_html", "drop_connection", "truncate_body", "429_rate")
        faults(server, *({"call": "status", "kind": kind} for kind in kinds))
        assert (await client.generation(created.id)).id == created.id
    assert len(clock.slept) == 4
