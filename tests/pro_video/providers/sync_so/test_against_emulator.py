"""The client against the Sync.so emulator: bought once, also when responses are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

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
from sandbox.sync_so import create_app
from tests.pro_video.providers.emulators import Emulator, running


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("sync-so")
    with running(
        create_app(data_dir=folder, api_key="sandbox-key"), concurrency_limit=100
    ) as emulator:
        yield emulator


@pytest.fixture
def server(shared_server: Emulator) -> Emulator:
    """The emulator that the tests share; they keep apart by their tokens."""
    shared_server.faults()
    return shared_server


@pytest.fixture
def token() -> str:
    return f"lp1-{uuid4()}"


@pytest.fixture
async def client(server: Emulator) -> AsyncIterator[SyncSoClient]:
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


@pytest.mark.parametrize("kind", ["drop_connection", "502_html", "504", "truncate_json"])
async def test_a_lost_answer_buys_nothing_twice(
    server: Emulator, client: SyncSoClient, kind: str, token: str
) -> None:
    server.faults({"call": "create", "kind": kind, "when": "after", "times": 2})
    first = await client.create(body(token), token)
    again = await client.create(body(token), token)
    assert first.id == again.id
    assert server.accepted(token) == 1


async def test_answers_lost_for_good_are_found_by_the_planted_token(
    server: Emulator, client: SyncSoClient, token: str
) -> None:
    since = datetime.now(UTC)
    await client.create(body("lp1-other-001"), "other")
    server.faults({"call": "create", "kind": "drop_connection", "when": "after", "times": 4})
    with pytest.raises(OutcomeUnknown):
        await client.create(body(token), token)
    found = await client.find_generation(planted(token), since=since)
    assert found is not None
    assert found.output_file_name == token
    assert await client.find_generation(planted("lp1-never-sent"), since=since) is None
    assert server.accepted(token) == 1


async def test_an_unknown_outcome_is_followed(
    server: Emulator, client: SyncSoClient, token: str
) -> None:
    server.faults({"call": "create", "kind": "idempotency_unknown", "when": "after"})
    assert (await client.create(body(token), token)).output_file_name == token
    assert server.accepted(token) == 1


async def test_another_request_under_the_key_is_refused(
    server: Emulator, client: SyncSoClient, token: str
) -> None:
    await client.create(body(token), token)
    with pytest.raises(RequestConflict, match="idempotency key"):
        await client.create(body(token, end=2.5), token)
    assert server.accepted(token) == 1


async def test_a_lack_of_slots(server: Emulator, client: SyncSoClient, token: str) -> None:
    server.faults({"call": "create", "kind": "429_concurrency"})
    with pytest.raises(SlotUnavailable):
        await client.create(body(token), token)
    assert server.accepted(token) == 0


async def test_a_wrong_key(server: Emulator, token: str) -> None:
    async with SyncSoClient(server.url, "another-key") as client:
        with pytest.raises(CredentialsRefused):
            await client.create(body(token), token)


async def test_a_failed_job_tells_its_reason(client: SyncSoClient, token: str) -> None:
    created = await client.create(body(token), token)

    async def look() -> Any:
        return observe(await client.generation(created.id))

    with pytest.raises(JobFailedRetryable) as caught:
        await wait_for(look, WaitPolicy(deadline=20, first=0.05, longest=0.1))
    assert caught.value.code == "generation_input_video_inaccessible"


async def test_progress_and_ids_of_no_job(client: SyncSoClient, token: str) -> None:
    created = await client.create(body(token), token)
    assert isinstance(await client.generation(created.id, progress=True), Generation)
    with pytest.raises(ServiceUnavailable, match="looked at again"):
        await client.generation("6533643b-aceb-4c40-967e-d9ba9baac39e")


async def test_faults_of_a_status_read_do_not_end_a_wait(server: Emulator, token: str) -> None:
    clock = VirtualClock()
    async with SyncSoClient(server.url, "sandbox-key", clock=clock) as client:
        created = await client.create(body(token), token)
        kinds = ("503_html", "drop_connection", "truncate_body", "429_rate")
        server.faults(*({"call": "status", "kind": kind} for kind in kinds))
        assert (await client.generation(created.id)).id == created.id
    assert len(clock.slept) == 4
