"""The client against scripted servers: errors, repetitions, uploads, events, downloads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pro_video.client import (
    AccessDenied,
    AsyncClient,
    ClientError,
    Conflict,
    JobRequest,
    NoResult,
    NotFound,
    Problem,
    Refused,
    Segment,
    TooMany,
    Unavailable,
    Unreachable,
    UploadFailed,
)
from pro_video.client.transport import Transport
from tests.pro_video.client.answers import CREATED, JOB, PATH, event, job, problem, upload
from tests.support.scripted import Asked, Reply, ScriptedServer

REQUEST = JobRequest("upload:v", [Segment(0, 1, "upload:a")])


class Pauses(list[float]):
    """Virtual sleeps, which are kept."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


def client_of(server: ScriptedServer, pauses: Pauses) -> AsyncClient:
    return AsyncClient("", transport=Transport(server.url, "a-token", sleep=pauses))


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, AccessDenied),
        (404, NotFound),
        (409, Conflict),
        (410, NotFound),
        (413, Refused),
        (422, Refused),
        (429, TooMany),
        (503, Unavailable),
    ],
)
async def test_a_problem_is_a_type_with_the_document(
    pauses: Pauses, status: int, kind: type[Problem]
) -> None:
    wrong = {"field": "video", "code": "missing", "message": "is missing"}
    reply = Reply(status, problem(status, "a_code", errors=[wrong]), {"Retry-After": "60"})
    async with ScriptedServer(reply) as server, client_of(server, pauses) as client:
        with pytest.raises(kind) as raised:
            await client.get(JOB)
    found = raised.value
    assert (found.status, found.code, found.request_id) == (status, "a_code", "r-1")
    assert [each.model_dump() for each in found.errors] == [wrong]
    assert found.retry_after == 60
    assert pauses == []


async def test_the_answer_of_another_server_is_called_so(pauses: Pauses) -> None:
    async with (
        ScriptedServer(Reply(404, b"<html>")) as server,
        client_of(server, pauses) as client,
    ):
        with pytest.raises(NotFound, match=r"404 of 127.0.0.1 is none of the API"):
            await client.get(JOB)


async def test_a_creation_is_repeated_under_one_key(pauses: Pauses) -> None:
    busy = Reply(503, problem(503, "upstream_unavailable"), {"Retry-After": "3"})
    replies = (busy, Reply(fault="drop"), Reply(201, CREATED))
    async with ScriptedServer(*replies) as server, client_of(server, pauses) as client:
        assert (await client.create(REQUEST)).job_id == JOB
        assert len({each.headers["idempotency-key"][0] for each in server.asked}) == 1
        assert {each.headers["authorization"][0] for each in server.asked} == {"Bearer a-token"}
    assert pauses == [3.0, 1.0]


async def test_a_retry_whose_answer_is_lost_is_not_repeated(pauses: Pauses) -> None:
    async with (
        ScriptedServer(Reply(fault="drop")) as server,
        client_of(server, pauses) as client,
    ):
        with pytest.raises(Unreachable):
            await client.retry(JOB)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"0123456789")
    return path


def uploads(server: list[ScriptedServer], first: Callable[[], Reply]) -> Callable[[Asked], Reply]:
    """Answers for an upload whose second part arrives at the second try."""
    refused: list[str] = []

    def answer(asked: Asked) -> Reply:
        if asked.method == "PUT":
            if asked.path.endswith("2") and not refused:
                refused.append(asked.path)
                return Reply(500)
            return Reply()
        if asked.path == "/api/v1/uploads":
            return first()
        return Reply(body=upload(server[0].url, *(() if asked.method == "POST" else (2,))))

    return answer


async def test_an_upload_goes_on_with_the_missing_parts(pauses: Pauses, clip: Path) -> None:
    servers: list[ScriptedServer] = []
    shown: list[tuple[int, int]] = []
    answer = uploads(servers, lambda: Reply(201, upload(servers[0].url, 1, 2, 3)))
    async with ScriptedServer(answer=answer) as server, client_of(server, pauses) as client:
        servers.append(server)
        found = await client.upload(clip, lambda arrived, size: shown.append((arrived, size)))
        sent = [each for each in server.asked if each.method == "PUT"]
    assert found.source == "upload:u1"
    assert sorted((each.path, each.body) for each in sent) == [
        ("/part/1", b"0123"),
        ("/part/2", b"4567"),
        ("/part/2", b"4567"),
        ("/part/3", b"89"),
    ]
    # The links are signed; the token is for the API alone.
    assert all("authorization" not in each.headers for each in sent)
    assert (shown[0], shown[-1]) == ((0, 10), (10, 10))
    assert pauses == [0.5]


async def test_a_file_that_is_there_is_not_sent_again(pauses: Pauses, clip: Path) -> None:
    expired = Reply(410, problem(410, "upload_expired"))
    complete = Reply(200, upload(""))
    async with (
        ScriptedServer(complete, expired, complete) as server,
        client_of(server, pauses) as client,
    ):
        await client.upload(clip)
        await client.upload(clip)
        keys = [each.headers["idempotency-key"][0] for each in server.asked]
    assert keys[0] == keys[1] != keys[2]


async def test_a_file_that_changes_meanwhile_is_refused(pauses: Pauses, clip: Path) -> None:
    servers: list[ScriptedServer] = []

    def begun() -> Reply:
        clip.write_bytes(b"0123456789, and more")
        return Reply(201, upload(servers[0].url, 1, 2, 3))

    answer = uploads(servers, begun)
    async with ScriptedServer(answer=answer) as server, client_of(server, pauses) as client:
        servers.append(server)
        with pytest.raises(UploadFailed, match=r"clip.mp4 was changed"):
            await client.upload(clip)


async def test_events_go_on_after_the_last_one(pauses: Pauses) -> None:
    broken = event("1") + event("2", progress=30) + event("lost")[:40]
    replies = (
        Reply(body=broken, headers={"Content-Length": "9999"}),
        Reply(body=job(progress=30)),
        Reply(body=event("3", "completed", 100)),
    )
    async with ScriptedServer(*replies) as server, client_of(server, pauses) as client:
        seen = [(each.status, each.progress) async for each in client.watch(JOB)]
        assert server.asked[2].headers["last-event-id"] == ["2"]
    assert seen == [("processing", 20), ("processing", 30), ("completed", 100)]


async def test_without_streams_the_status_is_polled(pauses: Pauses) -> None:
    jobs = [job(), job(), job(progress=40), job("failed")]

    def answer(asked: Asked) -> Reply:
        if asked.path == f"{PATH}/events":
            return Reply(429, problem(429, "too_many_streams"), {"Retry-After": "30"})
        return Reply(body=jobs.pop(0))

    async with ScriptedServer(answer=answer) as server, client_of(server, pauses) as client:
        seen = [(each.status, each.progress) async for each in client.watch(JOB)]
    assert seen == [("processing", 20), ("processing", 40), ("failed", 20)]
    assert pauses == [2.0] * 3


async def test_a_watch_outlives_an_outage_of_minutes_and_not_more(pauses: Pauses) -> None:
    async with (
        ScriptedServer(answer=lambda _: Reply(fault="drop")) as server,
        client_of(server, pauses) as client,
    ):
        with pytest.raises(ClientError, match="The job goes on"):
            await client.wait(JOB)
    assert 120 < sum(pauses) < 600


async def test_a_download_appears_when_it_is_whole(pauses: Pauses, tmp_path: Path) -> None:
    out, links = tmp_path / "r.mp4", [Reply(body=b"12345678", fault="truncate")]
    out.write_bytes(b"earlier")
    servers: list[ScriptedServer] = []
    meanwhile: list[bytes] = []

    def answer(asked: Asked) -> Reply:
        if asked.path == PATH:
            return Reply(body=job("completed", output_url=f"{servers[0].url}/r?sig=secret"))
        meanwhile.append(out.read_bytes())
        return links.pop() if links else Reply(body=b"12345678")

    async with ScriptedServer(answer=answer) as server, client_of(server, pauses) as client:
        servers.append(server)
        await client.download(JOB, out)
        assert meanwhile == [b"earlier"] * 2
        assert out.read_bytes() == b"12345678"
        links += [Reply(403)] * 5
        with pytest.raises(ClientError) as raised:
            await client.download(JOB, tmp_path / "other.mp4")
        assert "secret" not in repr(raised.value)
        with pytest.raises(NoResult):
            await client.download(JOB, tmp_path / "other.mp4", kind="rejected")
    assert names_in(tmp_path) == ["r.mp4"]
