from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from pro_video.core.clock import VirtualClock
from pro_video.core.errors import (
    CredentialsRefused,
    JobFailed,
    OutcomeUnknown,
    ProVideoError,
    ProviderRefused,
    RateLimited,
    ServiceUnavailable,
)
from pro_video.core.retrying import Backoff
from pro_video.net.http_session import Timeouts
from pro_video.providers.ghostcut.client import GhostCutClient, signature
from pro_video.providers.ghostcut.models import SubmittedWork, planted
from tests.pro_video.providers.emulators import everything_shown
from tests.sandbox.ghostcut.api.test_signing import VECTORS
from tests.support.scripted import Asked, Reply, ScriptedServer

KEY = "c4n4ry-app-key"
SECRET = "c4n4ry-app-secret"
URL = "https://s3/in.mp4"
BODY = json.dumps({"urls": [URL], "names": ["测试"]}, ensure_ascii=False).encode()
HTML = Reply(502, b"<html>bad gateway</html>")


def client_of(url: str, clock: VirtualClock | None = None, **fields: Any) -> GhostCutClient:
    fields.setdefault("backoff", Backoff(first=1, factor=2, longest=16, jitter=0, tries=4))
    fields.setdefault("timeouts", Timeouts(connect=5, create=5, read=5))
    return GhostCutClient(url, KEY, SECRET, clock=clock or VirtualClock(), **fields)


@asynccontextmanager
async def scripted(
    *replies: Reply, answer: Callable[[Asked], Reply] | None = None, **fields: Any
) -> AsyncIterator[tuple[ScriptedServer, GhostCutClient]]:
    server = ScriptedServer(*replies, answer=answer)
    async with server, client_of(server.url, **fields) as client:
        yield server, client


def ok(body: Any) -> Reply:
    return Reply(200, {"msg": "success", "trace": "ab" * 16, "code": 1000, "body": body})


def no(code: Any, msg: str = "no", body: Any = None) -> Reply:
    return Reply(200, {"msg": msg, "trace": "cd" * 16, "code": code, "body": body})


def accepted(*rows: Any) -> Reply:
    return ok({"idProject": 249800001, "dataList": list(rows) or [{"url": URL, "id": 538170001}]})


def row(identifier: Any = 538170001, status: Any = 0, **more: Any) -> dict[str, Any]:
    return {"id": identifier, "idProject": 249800001, "processStatus": status, **more}


async def test_goes_on_with_the_keys_that_hold_now() -> None:
    pair = (KEY, "another-secret")

    async def renew() -> tuple[str, str]:
        return pair

    no_sign = no(2004, "sign invalid")
    async with scripted(no_sign, accepted(), no_sign, no_sign, renew=renew) as (server, client):
        assert (await client.submit(BODY)).work_id == "538170001"
        for call in (client.submit(BODY), client.work("538170001")):
            with pytest.raises(CredentialsRefused):
                await call
    signs = [asked.headers["appsign"][0] for asked in server.asked]
    assert signs[0] == signature(BODY, SECRET)
    assert signs[1] == signature(BODY, pair[1])
    assert all(
        sign == signature(asked.body, pair[1])
        for sign, asked in zip(signs[1:], server.asked[1:], strict=True)
    )


@pytest.mark.parametrize(("body", "sign"), VECTORS)
def test_the_vendors_signatures(body: str, sign: str) -> None:
    assert signature(body.encode(), "demo-secret") == sign


class TestSubmit:
    async def test_signs_and_sends_the_same_bytes(self) -> None:
        async with scripted(accepted()) as (server, client):
            assert await client.submit(BODY) == SubmittedWork("249800001", "538170001")
        asked = server.asked[0]
        assert (asked.method, asked.path) == ("POST", "/v-w-c/gateway/ve/work/free")
        assert asked.body == BODY
        assert asked.headers["appkey"] == [KEY]
        assert asked.headers["appsign"] == [signature(BODY, SECRET)]
        assert asked.headers["content-type"] == ["application/json"]
        assert SECRET not in str(asked)

    async def test_the_path_is_configurable(self) -> None:
        path = "/v-w-c/gateway/ve/work/fast"
        async with scripted(accepted(), submit_path=path) as (server, client):
            await client.submit(BODY)
        assert server.asked[0].path == path

    async def test_the_work_is_matched_by_its_link(self) -> None:
        rows = [{"url": "https://other", "id": 1}, None, {"url": URL, "id": "2"}]
        async with scripted(accepted(*rows)) as (_, client):
            assert (await client.submit(BODY)).work_id == "2"

    @pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"urls":[]}', b'{"urls":["a","b"]}'])
    async def test_a_body_that_is_no_submit_is_not_sent(self, body: bytes) -> None:
        async with scripted() as (server, client):
            with pytest.raises(ValueError, match=r"."):
                await client.submit(body)
        assert not server.asked

    @pytest.mark.parametrize(
        "lost",
        [
            Reply(fault="drop"),
            Reply(200, {"code": 1000, "body": {}}, fault="truncate"),
            HTML,
            Reply(500),
            Reply(504, b""),
            Reply(408),
            Reply(200, b"not json"),
            Reply(200, []),
            Reply(200, {"msg": "no code"}),
            no(9999, "System error"),
            no(3001),
            no(500),
            no("surprise"),
            ok(None),
            ok({"idProject": 1, "dataList": []}),
            ok({"idProject": 1, "dataList": [{"url": URL}]}),
        ],
    )
    async def test_an_unclear_answer_is_never_followed_by_a_second_submit(
        self, lost: Reply
    ) -> None:
        async with scripted(lost) as (server, client):
            with pytest.raises(OutcomeUnknown):
                await client.submit(BODY)
        assert len(server.asked) == 1

    async def test_a_hanging_answer_is_unclear(self) -> None:
        limits = Timeouts(connect=5, create=0.1, read=0.1)
        async with scripted(Reply(fault="hang"), timeouts=limits) as (server, client):
            with pytest.raises(OutcomeUnknown, match="no answer in time"):
                await client.submit(BODY)
        assert len(server.asked) == 1

    async def test_what_did_not_leave_is_sent_again(self) -> None:
        async with ScriptedServer() as server:
            url = server.url
        clock = VirtualClock()
        async with client_of(url, clock) as client:
            with pytest.raises(ServiceUnavailable, match="did not answer"):
                await client.submit(BODY)
        assert clock.slept == [1, 2, 4]

    @pytest.mark.parametrize(
        ("reply", "kind", "text"),
        [
            (no(3006, "Data process Limit"), RateLimited, "Limit"),
            (Reply(429, b"", {"Retry-After": "9"}), RateLimited, "429"),
            (no(2001), CredentialsRefused, "key"),
            (no(2003, "AppKey is invalid"), CredentialsRefused, "AppKey is invalid"),
            (no("2004", "AppSign is invalid"), CredentialsRefused, "AppSign"),
            (no(3008, "urls is required", {"idProject": 1}), ProviderRefused, "urls is required"),
            (no(4001, "select a feature"), ProviderRefused, "select a feature"),
            (no(4123), ProviderRefused, "no"),
            (Reply(404, b"<html>"), ProviderRefused, "HTTP 404"),
            (Reply(307, b"", {"Location": "https://evil"}), ProviderRefused, "redirect"),
        ],
    )
    async def test_refusals(self, reply: Reply, kind: type[ProVideoError], text: str) -> None:
        async with scripted(reply) as (server, client):
            with pytest.raises(kind) as caught:
                await client.submit(BODY)
        assert text in str(caught.value)
        assert len(server.asked) == 1

    async def test_the_trace_is_kept_for_the_support(self) -> None:
        async with scripted(no(4001)) as (_, client):
            with pytest.raises(ProviderRefused) as caught:
                await client.submit(BODY)
        assert (caught.value.request_id, caught.value.code) == ("cd" * 16, "4001")


class TestWork:
    async def test_is_read_by_its_id_not_its_place(self) -> None:
        reply = ok({"content": [row(1, 1), row("538170001", -1)], "count": 2})
        async with scripted(reply) as (server, client):
            work = await client.work("538170001")
        assert work is not None
        assert (work.id, work.status) == ("538170001", -1)
        assert server.asked[0].path == "/v-w-c/gateway/ve/work/status"
        assert server.asked[0].body == b'{"idWorks":[538170001]}'
        assert server.asked[0].headers["appsign"] == [signature(server.asked[0].body, SECRET)]

    @pytest.mark.parametrize("body", [{"content": []}, {"content": None}])
    async def test_an_unknown_id_is_none(self, body: dict[str, Any]) -> None:
        async with scripted(ok(body)) as (_, client):
            assert await client.work("5") is None

    @pytest.mark.parametrize("identifier", ["", "  "])
    async def test_no_id_would_list_the_account(self, identifier: str) -> None:
        async with scripted() as (_, client):
            with pytest.raises(ValueError, match="an id"):
                await client.work(identifier)

    @pytest.mark.parametrize(
        "bad",
        [
            HTML,
            Reply(fault="drop"),
            Reply(404),
            Reply(200, b"{"),
            no(9999),
            no(3006),
            no(7777),
            ok(None),
            ok({"content": "x"}),
            ok({}),
        ],
    )
    async def test_a_read_is_repeated(self, bad: Reply) -> None:
        clock = VirtualClock()
        good = ok({"content": [row()]})
        async with scripted(bad, bad, good, clock=clock) as (_, client):
            assert await client.work("538170001") is not None
        assert clock.slept == [1, 2]
        async with scripted(*[bad] * 4) as (_, client):
            with pytest.raises((ServiceUnavailable, RateLimited)):
                await client.work("538170001")

    @pytest.mark.parametrize("reply", [no(2004), no(3003), no(4002)])
    async def test_a_refused_read_is_not(self, reply: Reply) -> None:
        async with scripted(reply) as (_, client):
            with pytest.raises((CredentialsRefused, ProviderRefused)):
                await client.work("538170001")

    async def test_a_success_without_a_link_is_read_again_then_failed(self) -> None:
        bare = ok({"content": [row(status=1, videoUrl="")]})
        good = ok({"content": [row(status=1, videoUrl="https://cdn/o.mp4")]})
        async with scripted(bare, bare, good) as (_, client):
            work = await client.work("538170001")
        assert work is not None
        assert work.video_url == "https://cdn/o.mp4"
        async with scripted(*[bare] * 4) as (_, client):
            with pytest.raises(JobFailed) as caught:
                await client.work("538170001")
        assert caught.value.code == "result_missing"

    async def test_an_unknown_status_is_reported_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        odd = ok({"content": [row(status=777)]})
        async with scripted(odd, odd) as (_, client):
            for _ in range(2):
                await client.work("538170001")
        lines = [r.getMessage() for r in caplog.records if r.name.startswith("pro_video")]
        assert lines == ["Work 538170001 has the unknown status 777, taken as failed"]


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def listed(count: int, *, planted_at: int | None = None) -> list[dict[str, Any]]:
    """Works of every minute back from noon, newest first."""
    return [
        row(
            n + 1,
            createTime=int((NOW - timedelta(minutes=n)).timestamp() * 1000),
            name="gc1-job-0001-1" if n == planted_at else "other",
        )
        for n in range(count)
    ]


def paged(rows: list[dict[str, Any]], *, window: bool = True) -> Callable[[Asked], Reply]:
    def answer(asked: Asked) -> Reply:
        query = json.loads(asked.body)
        low, high = query["createTimeGreaterThanOrEqualTo"], query["createTimeLessThan"]
        inside = [r for r in rows if low <= r["createTime"] < high] if window else rows
        start = query["page"] * query["pageSize"]
        page = inside[start : start + query["pageSize"]]
        # The meaning of "count" is not documented: here the page's, which must not end the search.
        return ok({"content": page, "count": len(page)})

    return answer


class TestLists:
    match = staticmethod(planted("gc1-job-0001-1"))

    @pytest.mark.parametrize("planted_at", [0, 199, 200, 450])
    async def test_finds_it_on_any_page(self, planted_at: int) -> None:
        rows = listed(500, planted_at=planted_at)
        async with scripted(answer=paged(rows)) as (server, client):
            since = NOW - timedelta(minutes=planted_at)
            found = await client.find_work(self.match, since=since, until=NOW)
        assert found is not None
        assert found.id == str(planted_at + 1)
        queries = [json.loads(asked.body) for asked in server.asked]
        assert [query["page"] for query in queries] == list(range(len(queries)))
        assert all(0 < query["pageSize"] <= 2000 for query in queries)
        assert not any("idWorks" in query for query in queries)

    async def test_the_vendors_clock_may_differ(self) -> None:
        rows = listed(20, planted_at=9)
        async with scripted(answer=paged(rows)) as (_, client):
            found = await client.find_work(self.match, since=NOW, until=NOW)
        assert found is not None

    @pytest.mark.parametrize("hours", [-30, -3, 3, 30])
    async def test_a_wrong_clock_of_this_machine_hides_no_work(self, hours: int) -> None:
        rows = listed(20, planted_at=9)
        listing = paged(rows)

        def answer(asked: Asked) -> Reply:
            return replace(listing(asked), headers={"Date": format_datetime(NOW, usegmt=True)})

        wrong = NOW + timedelta(hours=hours)
        clock = VirtualClock(start=wrong.timestamp())
        async with scripted(answer=answer, clock=clock) as (_, client):
            since = wrong - timedelta(minutes=9)
            found = await client.find_work(self.match, since=since, until=wrong)
            assert found is not None
            # The time of the send may as well come from a machine whose clock is right.
            since = NOW - timedelta(minutes=9)
            assert await client.find_work(self.match, since=since, until=wrong) is not None

    async def test_a_date_that_is_none_changes_nothing(self) -> None:
        dates = ("soon", "", "Thu, 99 Jan 2026 12:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT")
        for date in dates:
            reply = replace(ok({"content": []}), headers={"Date": date})
            async with scripted(reply) as (server, client):
                assert await client.find_work(self.match, since=NOW, until=NOW) is None
            low = json.loads(server.asked[0].body)["createTimeGreaterThanOrEqualTo"]
            assert low == (NOW - timedelta(minutes=10)).timestamp() * 1000

    async def test_a_server_that_ignores_the_window_ends_too(self) -> None:
        async with scripted(answer=paged(listed(5000), window=False)) as (server, client):
            since = NOW - timedelta(minutes=100)
            assert await client.find_work(self.match, since=since, until=NOW) is None
        assert len(server.asked) == 1

    async def test_not_there_is_only_said_after_the_whole_window(self) -> None:
        async with scripted(answer=paged(listed(1000)), max_pages=2) as (_, client):
            with pytest.raises(ServiceUnavailable) as caught:
                await client.find_work(self.match, since=NOW - timedelta(days=1), until=NOW)
        assert caught.value.code == "incomplete_list"

    async def test_a_server_that_does_not_page(self) -> None:
        since = NOW - timedelta(days=1)
        for count, whole in ((30, True), (200, False), (300, True)):
            reply = ok({"content": listed(count)})
            async with scripted(reply, reply) as (_, client):
                if whole:
                    assert await client.find_work(self.match, since=since, until=NOW) is None
                else:
                    with pytest.raises(ServiceUnavailable):
                        await client.find_work(self.match, since=since, until=NOW)

    async def test_the_best_of_several(self) -> None:
        rows = [row(n, s, name="gc1-job-0001-1") for n, s in [(1, 20), (2, 0), (3, 1)]]
        replies = (ok({"content": [None, {"id": None}, *rows]}), ok({"content": []}))
        async with scripted(*replies) as (_, client):
            found = await client.find_work(self.match, since=NOW, until=NOW)
        assert found is not None
        assert found.id == "3"

    async def test_a_list_that_cannot_be_read_is_no_answer(self) -> None:
        async with scripted(*[HTML] * 4) as (_, client):
            with pytest.raises(ServiceUnavailable):
                await client.find_work(self.match, since=NOW, until=NOW)

    async def test_times_have_a_time_zone(self) -> None:
        naive = NOW.replace(tzinfo=None)
        async with scripted() as (_, client):
            with pytest.raises(ValueError, match="time zone"):
                await client.find_work(self.match, since=naive, until=NOW)


QUERY = "X-Amz-Signature=c4n4rysignature"


@pytest.mark.parametrize(
    "reply",
    [
        no(4001, f"{KEY} {SECRET} https://s3/v.mp4?{QUERY}"),
        no(2003, f"{KEY} is wrong"),
        no(3006, f"https://u:{SECRET}@h/?{QUERY}"),
        no(9999, f"https://s3/v.mp4?{QUERY}"),
        Reply(200, {"code": 4001, "msg": "x", "trace": f"{KEY} https://h/?{QUERY}"}),
        Reply(302, b"", {"Location": f"https://evil/?{QUERY}"}),
        Reply(fault="drop"),
        Reply(200, f"{SECRET} {QUERY}".encode()),
    ],
)
async def test_no_secret_leaves_the_client(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    body = json.dumps({"urls": [f"https://s3/v.mp4?{QUERY}"]}).encode()
    with caplog.at_level(logging.DEBUG):
        async with scripted(reply) as (_, client):
            with pytest.raises(ProVideoError) as caught:
                await client.submit(body)
            shown = everything_shown(client, caught.value, caplog.text)
    assert "c4n4ry" not in shown


@pytest.mark.parametrize(("key", "secret"), [("", "s"), ("k", ""), ("k\r\nX: c4n4ry", "s")])
def test_keys_that_no_header_takes_are_refused_unquoted(key: str, secret: str) -> None:
    with pytest.raises(CredentialsRefused) as caught:
        GhostCutClient("https://api.zhaoli.com", key, secret)
    assert "c4n4ry" not in repr(vars(caught.value))
