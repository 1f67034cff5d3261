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
    AccountBlocked,
    CredentialsRefused,
    OutcomeUnknown,
    ProVideoError,
    ProviderRefused,
    RateLimited,
    RequestConflict,
    ServiceUnavailable,
    SlotUnavailable,
)
from pro_video.core.retrying import Backoff
from pro_video.core.stopping import Stopped, StopReason, StopSignal, use_stop
from pro_video.net.http_session import Timeouts
from pro_video.providers.sync_so.client import SyncSoClient
from pro_video.providers.sync_so.models import Generation, planted
from tests.pro_video.providers.emulators import everything_shown
from tests.support.scripted import Asked, Reply, ScriptedServer

KEY = "sk-c4n4ry-api-key"
BODY = '{"model":"lipsync-2","note":"ä"}'.encode()
PENDING = {"id": "gen-1", "status": "PENDING", "createdAt": "2026-01-01T00:00:00Z"}
CREATED = Reply(201, PENDING)
HTML = Reply(502, b"<html>bad gateway</html>", {"Content-Type": "text/html"})


def client_of(url: str, clock: VirtualClock | None = None, **fields: Any) -> SyncSoClient:
    fields.setdefault("backoff", Backoff(first=1, factor=2, longest=16, jitter=0, tries=4))
    fields.setdefault("timeouts", Timeouts(connect=5, create=5, read=5))
    return SyncSoClient(url, KEY, clock=clock or VirtualClock(), **fields)


@asynccontextmanager
async def scripted(
    *replies: Reply, answer: Callable[[Asked], Reply] | None = None, **fields: Any
) -> AsyncIterator[tuple[ScriptedServer, SyncSoClient]]:
    server = ScriptedServer(*replies, answer=answer)
    async with server, client_of(server.url, **fields) as client:
        yield server, client


def done(**more: Any) -> dict[str, Any]:
    return {**PENDING, "status": "COMPLETED", "outputUrl": "https://o/x?token=t", **more}


def refusal(status: int, code: str | None = None, message: Any = "no", **more: Any) -> Reply:
    body = {"statusCode": status, "message": message, **more}
    return Reply(status, body | ({"errorCode": code} if code else {}))


class TestCreate:
    async def test_sends_the_bytes_the_key_and_the_idempotency_key(self) -> None:
        async with scripted(CREATED) as (server, client):
            generation = await client.create(BODY, "lp1.job.1")
        assert generation.id == "gen-1"
        asked = server.asked[0]
        assert (asked.method, asked.path, asked.body) == ("POST", "/v2/generate", BODY)
        assert asked.headers["x-api-key"] == [KEY]
        assert asked.headers["idempotency-key"] == ["lp1.job.1"]
        assert asked.headers["content-type"] == ["application/json"]
        assert "authorization" not in asked.headers

    @pytest.mark.parametrize("status", [200, 201, 202])
    async def test_accepts_each_status_of_success(self, status: int) -> None:
        async with scripted(Reply(status, PENDING)) as (_, client):
            assert (await client.create(BODY, "k")).id == "gen-1"

    async def test_goes_on_with_the_key_that_holds_now(self) -> None:
        async def renew() -> str:
            return "sk-another"

        no = refusal(401)
        async with scripted(no, CREATED, no, Reply(200, PENDING), no, no, renew=renew) as (
            server,
            client,
        ):
            assert (await client.create(BODY, "lp1.job.1")).id == "gen-1"
            client._keys = KEY
            assert (await client.generation("gen-1")).id == "gen-1"
            for call in (client.create(BODY, "lp1.job.1"), client.generation("gen-1")):
                # The present key is refused too.
                with pytest.raises(CredentialsRefused):
                    await call
        keys = [asked.headers["x-api-key"][0] for asked in server.asked]
        assert keys == [KEY, "sk-another", KEY, *["sk-another"] * 3]
        first, second = server.asked[:2]
        assert (first.body, first.headers["idempotency-key"]) == (
            second.body,
            second.headers["idempotency-key"],
        )

    @pytest.mark.parametrize("key", ["", "a b", "ä", "a/b", "k" * 129, "a\n", "a,b"])
    async def test_checks_the_grammar_of_the_key_before_sending(self, key: str) -> None:
        async with scripted() as (server, client):
            with pytest.raises(ValueError, match="idempotency key"):
                await client.create(BODY, key)
        assert not server.asked

    @pytest.mark.parametrize(
        "lost",
        [
            Reply(fault="drop"),
            Reply(201, PENDING, fault="truncate"),
            Reply(201, b"not json"),
            Reply(201, {"no": "id"}),
            HTML,
            Reply(500),
            Reply(503, {"message": "maintenance"}),
            Reply(520, b""),
            Reply(408),
            refusal(429, "rate_limit_exceeded"),
            refusal(429),
            refusal(503, "IDEMPOTENCY_OUTCOME_UNKNOWN"),
            refusal(409, "IDEMPOTENCY_REQUEST_IN_PROGRESS"),
            refusal(400, "generation_media_probe_timeout"),
        ],
    )
    async def test_repeats_what_cannot_pay_twice(self, lost: Reply) -> None:
        clock = VirtualClock()
        async with scripted(lost, lost, CREATED, clock=clock) as (server, client):
            assert (await client.create(BODY, "lp1.job.1")).id == "gen-1"
        assert {asked.body for asked in server.asked} == {BODY}
        assert [asked.headers["idempotency-key"] for asked in server.asked] == [["lp1.job.1"]] * 3
        assert clock.slept == [1, 2]

    async def test_a_hanging_answer_is_a_lost_one(self) -> None:
        limits = Timeouts(connect=5, create=0.1, read=0.1)
        async with scripted(Reply(fault="hang"), CREATED, timeouts=limits) as (_, client):
            assert (await client.create(BODY, "k")).id == "gen-1"

    @pytest.mark.parametrize(
        "lost", [Reply(fault="drop"), HTML, refusal(503, "IDEMPOTENCY_OUTCOME_UNKNOWN")]
    )
    async def test_ends_as_unknown_after_its_tries(self, lost: Reply) -> None:
        async with scripted(*[lost] * 4) as (server, client):
            with pytest.raises(OutcomeUnknown) as caught:
                await client.create(BODY, "k")
        assert caught.value.job_id is None
        assert len(server.asked) == 4

    async def test_says_when_nothing_can_have_been_created(self) -> None:
        async with ScriptedServer() as server:
            url = server.url
        async with client_of(url) as client:
            with pytest.raises(ServiceUnavailable, match="did not answer"):
                await client.create(BODY, "k")

    async def test_follows_the_generation_that_an_unclear_answer_names(self) -> None:
        unclear = refusal(503, "IDEMPOTENCY_OUTCOME_UNKNOWN", generationId="gen-7")
        seven = {**PENDING, "id": "gen-7", "status": "PROCESSING"}
        async with scripted(unclear, HTML, Reply(200, seven)) as (server, client):
            assert (await client.create(BODY, "k")).id == "gen-7"
        assert [asked.path for asked in server.asked[1:]] == ["/v2/generate/gen-7"] * 2

    @pytest.mark.parametrize("reply", [HTML, Reply(404)])
    async def test_names_it_when_it_cannot_be_read(self, reply: Reply) -> None:
        unclear = refusal(503, "IDEMPOTENCY_OUTCOME_UNKNOWN", generationId="gen-7")

        def answer(asked: Asked) -> Reply:
            return unclear if asked.method == "POST" else reply

        async with scripted(answer=answer) as (_, client):
            with pytest.raises(OutcomeUnknown) as caught:
                await client.create(BODY, "k")
        assert caught.value.job_id == "gen-7"

    async def test_a_lack_of_slots_is_the_callers_to_wait_for(self) -> None:
        full = Reply(
            429,
            {
                "errorCode": "concurrency_limit_reached",
                "message": "Concurrency limit",
                "activeGenerations": 3,
                "concurrencyLimit": 3,
                "retryAfterSeconds": 12,
            },
            {"Retry-After": "99"},
        )
        async with scripted(full) as (_, client):
            with pytest.raises(SlotUnavailable, match="3 of 3") as caught:
                await client.create(BODY, "k")
        assert caught.value.retry_after == 12

    async def test_the_header_is_the_second_hint(self) -> None:
        slow = Reply(429, {"errorCode": "rate_limit_exceeded"}, {"Retry-After": "7"})
        clock = VirtualClock()
        async with scripted(*[slow] * 4, clock=clock) as (_, client):
            with pytest.raises(RateLimited) as caught:
                await client.create(BODY, "k")
        assert caught.value.retry_after == 7
        assert clock.slept == [7, 7, 7]

    async def test_a_full_account_after_a_lost_answer_may_be_our_own_job(self) -> None:
        full = refusal(429, "concurrency_limit_reached")
        async with scripted(HTML, full, CREATED) as (_, client):
            assert (await client.create(BODY, "k")).id == "gen-1"

    @pytest.mark.parametrize(
        "after", [refusal(402), refusal(409, "generation_conflict"), refusal(429)]
    )
    async def test_a_refusal_that_our_lost_create_explains_is_no_verdict(
        self, after: Reply
    ) -> None:
        async with scripted(HTML, *[after] * 3) as (_, client):
            with pytest.raises(OutcomeUnknown, match="may have been"):
                await client.create(BODY, "k")

    @pytest.mark.parametrize(
        ("reply", "kind", "text"),
        [
            (refusal(401, message="Unauthorized"), CredentialsRefused, "Unauthorized"),
            (refusal(402, "account_payment_required", "Pay"), AccountBlocked, "Pay"),
            (refusal(402, message="Pay"), AccountBlocked, "Pay"),
            (refusal(403, "batch_plan_required", "Plan"), AccountBlocked, "Plan"),
            (refusal(403, "asset_forbidden", "Not yours"), ProviderRefused, "Not yours"),
            (refusal(400, message=["a is bad", "b is bad"]), ProviderRefused, "a is bad; b is bad"),
            (refusal(400, "INVALID_IDEMPOTENCY_KEY", "Key"), ProviderRefused, "Key"),
            (refusal(422, message="unknown option", field="input[1]"), ProviderRefused, "input[1]"),
            (refusal(413, message="large"), ProviderRefused, "large"),
            (Reply(400, b"<html>"), ProviderRefused, "HTTP 400"),
            (refusal(409, "IDEMPOTENCY_CONFLICT", "Other"), RequestConflict, "idempotency key"),
            (refusal(422, "IDEMPOTENCY_MISMATCH", "Other"), RequestConflict, "idempotency key"),
            (refusal(409, message="Other inputs"), RequestConflict, "Other inputs"),
            (Reply(307, b"", {"Location": "https://evil.example/"}), ProviderRefused, "redirect"),
            (Reply(302, b"", {"Location": "/v2/generate"}), ProviderRefused, "redirect"),
        ],
    )
    async def test_refusals_end_it_at_once(
        self, reply: Reply, kind: type[ProVideoError], text: str
    ) -> None:
        async with scripted(reply) as (server, client):
            with pytest.raises(kind) as caught:
                await client.create(BODY, "k")
        assert text in str(caught.value)
        assert "new job" not in str(caught.value)
        assert caught.value.provider == "sync.so"
        assert len(server.asked) == 1

    @pytest.mark.parametrize("status", [400, 409, 422, 425, 503])
    @pytest.mark.parametrize(
        "code", ["IDEMPOTENCY_KEY_EXPIRED", "idempotency_replay_unavailable", "IDEMPOTENCY_X"]
    )
    async def test_an_odd_word_about_the_key_leaves_the_outcome_unknown(
        self, status: int, code: str
    ) -> None:
        odd = refusal(status, code, "Use a fresh key")
        async with scripted(odd, backoff=Backoff(tries=1)) as (server, client):
            with pytest.raises(OutcomeUnknown) as caught:
                await client.create(BODY, "k")
        assert caught.value.code == code
        assert len(server.asked) == 1

    async def test_the_request_id_is_kept_for_the_support(self) -> None:
        async with scripted(refusal(400, requestId="req-5")) as (_, client):
            with pytest.raises(ProviderRefused) as caught:
                await client.create(BODY, "k")
        assert caught.value.request_id == "req-5"

    async def test_a_stop_ends_the_pause_between_two_tries(self) -> None:
        stop = StopSignal()

        def answer(asked: Asked) -> Reply:
            stop.set(StopReason.HANDOVER)
            return HTML

        async with scripted(answer=answer) as (server, client):
            with use_stop(stop), pytest.raises(Stopped):
                await client.create(BODY, "k")
        assert len(server.asked) == 1


class TestGeneration:
    async def test_reads_it_with_the_vendors_hint(self) -> None:
        reply = Reply(200, PENDING, {"Retry-After": "2"})
        async with scripted(reply) as (server, client):
            assert (await client.generation("gen-1")).retry_after == 2
        assert not server.asked[0].query

    async def test_asks_for_progress(self) -> None:
        reply = Reply(200, {**PENDING, "status": "PROCESSING", "progress_percent": 40})
        async with scripted(reply) as (server, client):
            assert (await client.generation("gen-1", progress=True)).progress == 0.4
        assert server.asked[0].query == {"include": ["progress"]}

    async def test_tries_the_other_path_once(self) -> None:
        async with scripted(Reply(404), Reply(200, PENDING)) as (server, client):
            assert (await client.generation("gen-1")).id == "gen-1"
        assert [a.path for a in server.asked] == ["/v2/generate/gen-1", "/v2/generations/gen-1"]

    @pytest.mark.parametrize(
        "refused",
        [
            refusal(404, "generation_not_found", "No such generation"),
            Reply(404, b"<html>edge</html>"),
            Reply(403, b"<html>edge</html>"),
            refusal(400, message="include must be: progress"),
        ],
    )
    async def test_a_refused_look_ends_nothing_for_ten_minutes(self, refused: Reply) -> None:
        clock = VirtualClock()
        async with scripted(answer=lambda asked: refused, clock=clock) as (_, client):
            for _ in range(10):
                with pytest.raises(ServiceUnavailable, match="looked at again"):
                    await client.generation("gen-1", progress=True)
                clock.advance(59)
            clock.advance(11)
            with pytest.raises(ProviderRefused) as caught:
                await client.generation("gen-1", progress=True)
        assert type(caught.value) is ProviderRefused

    async def test_a_shown_generation_was_no_refused_one(self) -> None:
        clock = VirtualClock()
        replies = [Reply(403), Reply(200, PENDING), Reply(403)]
        async with scripted(*replies, clock=clock) as (_, client):
            with pytest.raises(ServiceUnavailable):
                await client.generation("gen-1")
            clock.advance(601)
            assert (await client.generation("gen-1")).id == "gen-1"
            with pytest.raises(ServiceUnavailable):
                await client.generation("gen-1")

    async def test_an_extra_that_is_refused_is_left_out(self) -> None:
        def answer(asked: Asked) -> Reply:
            return refusal(400, message="no progress") if asked.query else Reply(200, PENDING)

        async with scripted(answer=answer) as (server, client):
            for _ in range(2):
                assert (await client.generation("gen-1", progress=True)).progress is None
        assert [bool(asked.query) for asked in server.asked] == [True, False, False]

    @pytest.mark.parametrize(
        "bad",
        [
            HTML,
            Reply(fault="drop"),
            Reply(200, b"{"),
            Reply(200, [1]),
            Reply(200, b"[" * 100_000),
            refusal(429, "rate_limit_exceeded"),
            Reply(200, PENDING, fault="truncate"),
        ],
    )
    async def test_repeats_a_read(self, bad: Reply) -> None:
        clock = VirtualClock()
        async with scripted(bad, bad, Reply(200, PENDING), clock=clock) as (_, client):
            assert (await client.generation("gen-1")).id == "gen-1"
        assert clock.slept == [1, 2]
        async with scripted(*[bad] * 4) as (_, client):
            with pytest.raises((ServiceUnavailable, RateLimited)):
                await client.generation("gen-1")

    async def test_an_answer_without_an_end_is_not_kept_in_memory(self) -> None:
        large = Reply(200, b" " * (33 * 1024 * 1024))
        async with scripted(large, backoff=Backoff(tries=1)) as (_, client):
            with pytest.raises(ServiceUnavailable, match="too large"):
                await client.generation("gen-1")

    async def test_completed_without_a_link_is_read_again(self) -> None:
        bare = Reply(200, done(outputUrl=None))
        async with scripted(bare, bare, Reply(200, done())) as (_, client):
            assert (await client.generation("gen-1")).output_url == "https://o/x?token=t"
        async with scripted(*[bare] * 4) as (_, client):
            with pytest.raises(ServiceUnavailable) as caught:
                await client.generation("gen-1")
        assert caught.value.code == "output_missing"

    async def test_an_unknown_status_is_reported_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        odd = Reply(200, {**PENDING, "status": "DREAMING"})
        async with scripted(odd, odd) as (_, client):
            for _ in range(2):
                assert (await client.generation("gen-1")).status == "DREAMING"
        assert [r.getMessage() for r in caplog.records if "DREAMING" in r.getMessage()] != []
        assert (
            len([r for r in caplog.records if r.name == "pro_video.providers.sync_so.client"]) == 1
        )

    @pytest.mark.parametrize("identifier", ["a/b", "../x", "a?b=c", "ä"])
    async def test_an_id_is_one_segment_of_the_path(self, identifier: str) -> None:
        async with scripted(Reply(200, PENDING)) as (server, client):
            await client.generation(identifier)
        assert server.asked[0].path.startswith("/v2/generate/")
        assert server.asked[0].path.count("/") == 3
        assert not server.asked[0].query

    async def test_no_id_is_no_read(self) -> None:
        async with scripted() as (_, client):
            for identifier in ("", ".", ".."):
                with pytest.raises(ValueError, match="an id"):
                    await client.generation(identifier)


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def listed(count: int, *, planted_at: int | None = None, **more: Any) -> list[dict[str, Any]]:
    """Generations of every minute back from noon, newest first."""
    return [
        {
            "id": f"gen-{n}",
            "status": "PROCESSING",
            "createdAt": (NOW - timedelta(minutes=n)).isoformat(),
            "outputFileName": "lp1-job-0001-1" if n == planted_at else "other",
            **more,
        }
        for n in range(count)
    ]


def pages(rows: list[dict[str, Any]]) -> Callable[[Asked], Reply]:
    def answer(asked: Asked) -> Reply:
        limit = int(asked.query["limit"][0])
        cursor = asked.query.get("cursor")
        ids = [row["id"] for row in rows]
        start = ids.index(cursor[0]) + 1 if cursor else 0
        return Reply(200, rows[start : start + limit])

    return answer


class TestFindGeneration:
    match = staticmethod(planted("lp1-job-0001-1"))

    @pytest.mark.parametrize("planted_at", [0, 99, 100, 250])
    async def test_finds_it_on_any_page(self, planted_at: int) -> None:
        rows = listed(300, planted_at=planted_at)
        async with scripted(answer=pages(rows)) as (server, client):
            found = await client.find_generation(self.match, since=NOW - timedelta(hours=5))
        assert found is not None
        assert found.id == f"gen-{planted_at}"
        assert server.asked[0].query == {"limit": ["100"]}

    async def test_stops_at_the_time_of_the_first_send(self) -> None:
        async with scripted(answer=pages(listed(5000))) as (server, client):
            since = NOW - timedelta(minutes=150)
            assert await client.find_generation(self.match, since=since) is None
        assert len(server.asked) == 2

    async def test_an_account_without_jobs(self) -> None:
        async with scripted(Reply(200, [])) as (_, client):
            assert await client.find_generation(self.match, since=NOW) is None

    async def test_not_there_is_only_said_after_the_whole_list(self) -> None:
        rows = listed(1000, createdAt=None)
        async with scripted(answer=pages(rows), max_pages=3) as (_, client):
            with pytest.raises(ServiceUnavailable) as caught:
                await client.find_generation(self.match, since=NOW)
        assert caught.value.code == "incomplete_list"

    async def test_a_server_that_does_not_page(self) -> None:
        few, many = listed(30), listed(100)
        since = NOW - timedelta(days=1)
        async with scripted(*[Reply(200, few)] * 2) as (_, client):
            assert await client.find_generation(self.match, since=since) is None
        async with scripted(*[Reply(200, many)] * 2) as (_, client):
            with pytest.raises(ServiceUnavailable):
                await client.find_generation(self.match, since=since)

    async def test_the_best_of_several(self) -> None:
        rows = [
            {**PENDING, "id": name, "status": status, "outputFileName": "lp1-job-0001-1"}
            for name, status in [("a", "FAILED"), ("b", "PROCESSING"), ("c", "COMPLETED")]
        ]
        async with scripted(answer=pages(rows)) as (_, client):
            found = await client.find_generation(self.match, since=NOW)
        assert found is not None
        assert found.id == "c"

    async def test_odd_rows_hide_nothing(self) -> None:
        rows = [None, {"id": 3}, *listed(1, planted_at=0)]
        async with scripted(Reply(200, rows), Reply(200, [])) as (_, client):
            assert await client.find_generation(self.match, since=NOW) is not None

    async def test_the_vendors_clock_says_how_far_back_to_look(self) -> None:
        """This machine's clock is three hours ahead: its send lies in the vendor's future."""
        rows = listed(200, planted_at=150)
        listing = pages(rows)
        date = {"Date": format_datetime(NOW, usegmt=True)}

        def answer(asked: Asked) -> Reply:
            return replace(listing(asked), headers=date)

        wrong = NOW + timedelta(hours=3)
        clock = VirtualClock(start=wrong.timestamp())
        async with scripted(answer=answer, clock=clock) as (_, client):
            since = wrong - timedelta(minutes=150)
            found = await client.find_generation(self.match, since=since)
        assert found is not None

    @pytest.mark.parametrize("reply", [HTML, Reply(403), Reply(200, {"items": []})])
    async def test_a_list_that_cannot_be_read_is_no_answer(self, reply: Reply) -> None:
        async with scripted(*[reply] * 4) as (_, client):
            with pytest.raises(ServiceUnavailable):
                await client.find_generation(self.match, since=NOW)

    async def test_since_has_a_time_zone(self) -> None:
        async with scripted() as (_, client):
            with pytest.raises(ValueError, match="time zone"):
                await client.find_generation(self.match, since=datetime(2026, 1, 1))


QUERY = "X-Amz-Signature=c4n4rysignature"


@pytest.mark.parametrize(
    "reply",
    [
        refusal(400, message=f"bad {KEY} for https://s3/v.mp4?{QUERY}"),
        refusal(400, f"code-{KEY}", requestId=f"r-https://x/?{QUERY}"),
        refusal(401, message=f"{KEY} is wrong"),
        refusal(402, message=f"https://u:{KEY}@pay/?{QUERY}"),
        refusal(409, "IDEMPOTENCY_CONFLICT", f"https://s3/v.mp4?{QUERY}"),
        refusal(429, "concurrency_limit_reached", f"{KEY} https://up/?{QUERY}"),
        refusal(503, message=f"{KEY} https://s3/v.mp4?{QUERY}"),
        Reply(302, b"", {"Location": f"https://evil/?{QUERY}"}),
        Reply(fault="drop"),
        Reply(201, f"{KEY} {QUERY}".encode()),
    ],
)
async def test_no_secret_leaves_the_client(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    body = json.dumps({"input": [{"url": f"https://s3/v.mp4?{QUERY}"}]}).encode()
    with caplog.at_level(logging.DEBUG):
        async with scripted(answer=lambda asked: reply, backoff=Backoff(tries=2)) as (
            _server,
            client,
        ):
            with pytest.raises(ProVideoError) as caught:
                await client.create(body, "k")
            shown = everything_shown(client, caught.value, caplog.text)
    assert "c4n4ry" not in shown


async def test_the_key_stays_at_its_origin() -> None:
    async with ScriptedServer() as other:
        reply = Reply(307, b"", {"Location": f"{other.url}/v2/generate/gen-1"})
        async with scripted(reply) as (_, client):
            with pytest.raises(ServiceUnavailable, match="redirect"):
                await client.generation("gen-1")
    assert not other.asked


@pytest.mark.parametrize("key", ["", "a b\n", "sk-c4n4ry\r\nX: y", "sk-c4n4ry-ä", " sk-c4n4ry"])
def test_a_key_that_no_header_takes_is_refused_unquoted(key: str) -> None:
    with pytest.raises(CredentialsRefused) as caught:
        SyncSoClient("https://api.sync.so", key)
    assert "c4n4ry" not in repr(vars(caught.value))


@pytest.mark.parametrize(
    "url", ["", "api.sync.so", "ftp://h", "https://", "https://u:c4n4ry@h", "https://h?k=c4n4ry"]
)
def test_a_base_url_is_a_plain_one(url: str) -> None:
    with pytest.raises(ValueError, match="base URL") as caught:
        SyncSoClient(url, KEY)
    assert "c4n4ry" not in str(caught.value)


async def test_a_base_url_may_have_a_path() -> None:
    async with (
        ScriptedServer(Reply(200, PENDING)) as server,
        client_of(f"{server.url}/sync/") as client,
    ):
        assert isinstance(await client.generation("gen-1"), Generation)
    assert server.asked[0].path == "/sync/v2/generate/gen-1"
