"""The client against the GhostCut emulator: bought once, also when responses are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
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
    REMOVE_TEXT,
    Mask,
    build_submit_request,
    planted,
)
from pro_video.providers.ghostcut.status import observe
from sandbox.common.server import RunningServer, start_app
from sandbox.ghostcut import create_app


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("ghostcut")
    app = create_app(data_dir=folder, app_key="app", app_secret="secret", points=100.0)
    with start_app(app) as running:
        answer = httpx.put(f"{running.url}/_sandbox/settings", json={"seconds_per_job": 0})
        answer.raise_for_status()
        yield running


@pytest.fixture
def server(running: RunningServer) -> RunningServer:
    """The emulator that the tests share; they keep apart by their tokens."""
    httpx.delete(f"{running.url}/_sandbox/faults").raise_for_status()
    return running


@pytest.fixture
def token() -> str:
    return f"gc1-{uuid4()}"


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[GhostCutClient]:
    backoff = Backoff(first=0.01, longest=0.05, tries=5)
    async with GhostCutClient(server.url, "app", "secret", backoff=backoff) as client:
        yield client


def body(token: str) -> bytes:
    # Nothing listens on port 9: the emulator accepts the work and cannot fetch its source.
    return build_submit_request(
        video_url=f"http://127.0.0.1:9/{token}/in.mp4",
        name=token,
        masks=[Mask(REMOVE_TEXT, 0, None, (0, 0.8, 1, 0.95))],
        mode=MODE_REGIONS,
        language="all",
        resolution="720p",
        tier="basic",
    )


def faults(server: RunningServer, *given: dict[str, Any]) -> None:
    answer = httpx.put(f"{server.url}/_sandbox/faults", json={"faults": list(given)})
    answer.raise_for_status()


def accepted(server: RunningServer, token: str) -> int:
    audit = httpx.get(f"{server.url}/_sandbox/audit").raise_for_status().json()
    return sum(token in (job["reference"], job.get("idempotency_key")) for job in audit["jobs"])


@pytest.mark.parametrize("kind", ["drop_connection", "502_html", "504", "truncate_json"])
async def test_a_lost_answer_is_found_again(
    server: RunningServer, client: GhostCutClient, kind: str, token: str
) -> None:
    since = datetime.now(UTC)
    await client.submit(body("gc1-other-0001"))
    faults(server, {"call": "create", "kind": kind, "when": "after"})
    with pytest.raises(OutcomeUnknown):
        await client.submit(body(token))
    found = await client.find_work(planted(token), since=since, until=datetime.now(UTC))
    assert found is not None
    assert found.name == token
    missing = planted("gc1-never-sent")
    assert await client.find_work(missing, since=since, until=datetime.now(UTC)) is None
    assert accepted(server, token) == 1


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


async def test_reads_survive_faults(
    server: RunningServer, client: GhostCutClient, token: str
) -> None:
    submission = await client.submit(body(token))
    kinds = ("503_html", "drop_connection", "truncate_body", "truncate_json")
    faults(server, *({"call": "status", "kind": kind} for kind in kinds))
    work = await client.work(submission.work_id)
    assert work is not None
    assert work.id == submission.work_id
    assert await client.work("100000001") is None


async def test_points(client: GhostCutClient) -> None:
    assert await client.point_balance() == 100.0


async def test_a_throttled_submit_accepts_nothing(
    server: RunningServer, client: GhostCutClient, token: str
) -> None:
    faults(server, {"call": "create", "kind": "3006"})
    with pytest.raises(RateLimited):
        await client.submit(body(token))
    assert accepted(server, token) == 0


@pytest.mark.parametrize(("key", "secret"), [("other", "secret"), ("app", "other")])
async def test_a_wrong_key_or_secret(
    server: RunningServer, key: str, secret: str, token: str
) -> None:
    async with GhostCutClient(server.url, key, secret) as client:
        with pytest.raises(CredentialsRefused):
            await client.submit(body(token))


async def test_a_refused_submit(client: GhostCutClient) -> None:
    with pytest.raises(ProviderRefused):
        await client.submit(b'{"urls":["http://127.0.0.1:9/x.mp4"]}')
