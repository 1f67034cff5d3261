"""The client against the GhostCut emulator: bought once, also when responses are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from pro_video.core.errors import (
    CredentialsRefused,
    JobFailed,
    OutcomeUnknown,
    ProviderRefused,
    RateLimited,
)
from pro_video.core.retrying import Backoff
from pro_video.core.waiting import Observation, WaitPolicy, wait_for
from pro_video.providers.ghostcut.client import GhostCutClient
from pro_video.providers.ghostcut.models import (
    MODE_REGIONS,
    OPEN_END,
    REMOVE_TEXT,
    Mask,
    build_submit_request,
    planted,
)
from pro_video.providers.ghostcut.status import observe
from sandbox.ghostcut import create_app
from tests.pro_video.providers.emulators import Emulator, running


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("ghostcut")
    with running(
        create_app(data_dir=folder, app_key="app", app_secret="secret", points=100.0)
    ) as emulator:
        yield emulator


@pytest.fixture
def server(shared_server: Emulator) -> Emulator:
    """The emulator that the tests share; they keep apart by their tokens."""
    shared_server.faults()
    return shared_server


@pytest.fixture
def token() -> str:
    return f"gc1-{uuid4()}"


@pytest.fixture
async def client(server: Emulator) -> AsyncIterator[GhostCutClient]:
    backoff = Backoff(first=0.01, longest=0.05, tries=5)
    async with GhostCutClient(server.url, "app", "secret", backoff=backoff) as client:
        yield client


def body(token: str) -> bytes:
    # Nothing listens on port 9: the emulator accepts the work and cannot fetch its source.
    return build_submit_request(
        video_url=f"http://127.0.0.1:9/{token}/in.mp4",
        name=token,
        masks=[Mask(REMOVE_TEXT, 0, OPEN_END, (0, 0.8, 1, 0.95))],
        mode=MODE_REGIONS,
        language="all",
        resolution="720p",
        tier="basic",
    )


@pytest.mark.parametrize("kind", ["drop_connection", "502_html", "504", "truncate_json"])
async def test_a_lost_answer_is_found_again(
    server: Emulator, client: GhostCutClient, kind: str, token: str
) -> None:
    since = datetime.now(UTC)
    await client.submit(body("gc1-other-0001"))
    server.faults({"call": "create", "kind": kind, "when": "after"})
    with pytest.raises(OutcomeUnknown):
        await client.submit(body(token))
    found = await client.find_work(planted(token), since=since, until=datetime.now(UTC))
    assert found is not None
    assert found.name == token
    missing = planted("gc1-never-sent")
    assert await client.find_work(missing, since=since, until=datetime.now(UTC)) is None
    assert server.accepted(token) == 1


async def test_a_work_is_followed_to_its_end(client: GhostCutClient, token: str) -> None:
    submission = await client.submit(body(token))

    async def look() -> Observation[Any]:
        work = await client.work(submission.work_id)
        assert work is not None
        assert work.project_id == submission.project_id
        return observe(work)

    with pytest.raises(JobFailed) as caught:
        await wait_for(look, WaitPolicy(deadline=20, first=0.05, longest=0.1))
    assert caught.value.code in ("2", "3")


async def test_reads_survive_faults(server: Emulator, client: GhostCutClient, token: str) -> None:
    submission = await client.submit(body(token))
    kinds = ("503_html", "drop_connection", "truncate_body", "truncate_json")
    server.faults(*({"call": "status", "kind": kind} for kind in kinds))
    work = await client.work(submission.work_id)
    assert work is not None
    assert work.id == submission.work_id
    assert await client.work("100000001") is None


async def test_a_throttled_submit_accepts_nothing(
    server: Emulator, client: GhostCutClient, token: str
) -> None:
    server.faults({"call": "create", "kind": "3006"})
    with pytest.raises(RateLimited):
        await client.submit(body(token))
    assert server.accepted(token) == 0


@pytest.mark.parametrize(("key", "secret"), [("other", "secret"), ("app", "other")])
async def test_a_wrong_key_or_secret(server: Emulator, key: str, secret: str, token: str) -> None:
    async with GhostCutClient(server.url, key, secret) as client:
        with pytest.raises(CredentialsRefused):
            await client.submit(body(token))


async def test_a_refused_submit(client: GhostCutClient) -> None:
    with pytest.raises(ProviderRefused):
        await client.submit(b'{"urls":["http://127.0.0.1:9/x.mp4"]}')
