"""Callbacks of authentic senders, and of all others."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from prefect.settings import PREFECT_API_URL, temporary_settings
from starlette.responses import Response

from gateway.base.problems import ProblemError, problem_response
from gateway.base.refreshed_value import RefreshedValue
from gateway.base.services import Services
from gateway.base.settings import GatewaySettings
from gateway.callbacks import routes
from gateway.callbacks.routes import CallbackHandler
from gateway.callbacks.secrets import ProviderSecrets, Secrets
from gateway.prefect_client.api import PrefectApi
from gateway.prefect_client.loop import open_prefect_loop
from pro_video.providers.sync_so.signature import signature
from tests.gateway.asgi_server import serving
from tests.support.scripted import Asked, Reply, ScriptedServer

OLD, NEW = "whsec_old", "whsec_new"
APP_OLD, APP_NEW = "app-secret-old", "app-secret-new"
JOB = "6533643b-aceb-4c40-967e-d9ba9baac39e"


@dataclass
class FakePrefect:
    """A server in the place of Prefect's that takes events and can refuse them."""

    events: list[dict[str, Any]] = field(default_factory=list)
    status: int = 204

    def answer(self, asked: Asked) -> Reply:
        if (asked.method, asked.path) != ("POST", "/api/events"):
            return Reply(404)
        if self.status == 204:
            self.events += json.loads(asked.body)
        return Reply(self.status)

    @property
    def woken(self) -> list[str]:
        return [event["resource"]["prefect.resource.id"] for event in self.events]


@dataclass
class Callbacks:
    """A gateway's callback routes, and the Prefect behind them."""

    client: httpx.AsyncClient
    prefect: FakePrefect
    address: tuple[str, int]

    async def sync_so(
        self,
        body: bytes,
        *,
        secret: str = NEW,
        when: float | None = None,
        header: str | None = None,
    ) -> httpx.Response:
        stamp = int(time.time() if when is None else when)
        signed = f"t={stamp},v1={signature(secret, stamp, body)}"
        return await self.client.post(
            "/doorbells/sync-so", content=body, headers={"Sync-Signature": header or signed}
        )

    async def begin(self, count: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connections that begin a callback and do not end it."""
        crowd = [await asyncio.open_connection(*self.address) for _ in range(count)]
        for _, writer in crowd:
            writer.write(
                b"POST /doorbells/sync-so HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n"
                b"Sync-Signature: t=1,v1=0\r\n\r\n{"
            )
            await writer.drain()
        return crowd

    async def ghostcut(self, body: bytes, *, secret: str = APP_NEW) -> httpx.Response:
        inner = hashlib.md5(body).hexdigest()
        sign = hashlib.md5((inner + secret).encode()).hexdigest()
        return await self.client.post(
            "/doorbells/ghostcut", content=body, headers={"Callback-Sign": sign}
        )


def secrets_from(
    read: Callable[[], Awaitable[tuple[str, ...]]], *, life: float = 60.0, pause: float = 2.0
) -> Secrets:
    return RefreshedValue(read, name="The secrets", life=life, timeout=10.0, pause=pause)


def fixed(*secrets: str) -> Secrets:
    async def read() -> tuple[str, ...]:
        return secrets

    return secrets_from(read)


@pytest.fixture
async def callbacks() -> AsyncIterator[Callbacks]:
    async with open_callbacks(ProviderSecrets(fixed(NEW, OLD), fixed(APP_NEW, APP_OLD))) as opened:
        yield opened


@contextlib.asynccontextmanager
async def open_callbacks(secrets: ProviderSecrets) -> AsyncIterator[Callbacks]:
    prefect = FakePrefect()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_prefect_loop() as loop:
            app.state.services = Services()
            settings = GatewaySettings(
                doorbell_max_bytes=4096, doorbell_seconds=0.5, doorbells_at_once=8
            )
            api = PrefectApi(loop, timeout=2)
            app.state.services.add(CallbackHandler(settings, api, secrets))
            yield

    async def on_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return problem_response(error, None)

    app = FastAPI(lifespan=lifespan)
    app.include_router(routes.router)
    app.add_exception_handler(ProblemError, on_problem)
    async with ScriptedServer(answer=prefect.answer) as server:
        with temporary_settings({PREFECT_API_URL: f"{server.url}/api"}):
            async with (
                serving(app) as url,
                httpx.AsyncClient(base_url=url, trust_env=False) as client,
            ):
                host, _, port = url.removeprefix("http://").partition(":")
                yield Callbacks(client, prefect, (host, int(port)))


def generation(status: str = "COMPLETED", job: str = JOB, **more: object) -> bytes:
    return json.dumps({"id": job, "status": status, **more}).encode()


def work(status: int = 1, job: int = 4711) -> bytes:
    return json.dumps({"id": job, "processStatus": status, "errorDetail": ""}).encode()


async def test_a_signed_callback_wakes_its_job_once(callbacks: Callbacks) -> None:
    answer = await callbacks.sync_so(generation(outputUrl="https://example.com/x?Signature=secret"))
    assert answer.status_code == 200
    assert callbacks.prefect.woken == [f"pro-video.provider-job.sync-so.{JOB}"]
    event = callbacks.prefect.events[0]
    assert event["event"] == "pro-video.doorbell"
    # Only the id is passed on.
    assert "example.com" not in json.dumps(event)


async def test_a_callback_is_answered_so_that_ghostcut_does_not_repeat_it(
    callbacks: Callbacks,
) -> None:
    answer = await callbacks.ghostcut(work())
    assert (answer.status_code, answer.content) == (200, b"ok")
    assert callbacks.prefect.woken == ["pro-video.provider-job.ghostcut.4711"]


async def test_both_secrets_count_while_one_is_changed(callbacks: Callbacks) -> None:
    assert (await callbacks.sync_so(generation(job="a"), secret=OLD)).status_code == 200
    assert (await callbacks.sync_so(generation(job="b"), secret=NEW)).status_code == 200
    assert (await callbacks.ghostcut(work(job=1), secret=APP_OLD)).status_code == 200
    assert (await callbacks.ghostcut(work(job=2), secret=APP_NEW)).status_code == 200
    assert len(callbacks.prefect.woken) == 4


async def test_forged_callbacks_are_refused_without_a_reason(callbacks: Callbacks) -> None:
    body = generation()
    stale = time.time() - 301
    answers = [
        await callbacks.sync_so(body, secret="whsec_guess"),
        await callbacks.sync_so(body, when=stale),
        await callbacks.sync_so(body, when=time.time() + 301),
        await callbacks.sync_so(body, header="t=1,v1=00"),
        await callbacks.sync_so(body, header="nonsense"),
        await callbacks.client.post("/doorbells/sync-so", content=body),
        await callbacks.ghostcut(work(), secret="guess"),
        await callbacks.client.post("/doorbells/ghostcut", content=work()),
        # The one provider's signature at the other's callbacks.
        await callbacks.client.post(
            "/doorbells/ghostcut",
            content=body,
            headers={"Sync-Signature": f"t={int(time.time())},v1={signature(NEW, 1, body)}"},
        ),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.content for answer in answers}) == 1
    assert callbacks.prefect.events == []


async def test_a_signature_covers_the_raw_bytes(callbacks: Callbacks) -> None:
    # The same JSON, written otherwise.
    spaced = b'{ "id": "x",  "status":"COMPLETED", "name": "\xc3\xa9" }'
    assert (await callbacks.sync_so(spaced)).status_code == 200
    when = int(time.time())
    header = f"t={when},v1={signature(NEW, when, spaced)}"
    compact = json.dumps(json.loads(spaced)).encode()
    assert (await callbacks.sync_so(compact, header=header)).status_code == 403


async def test_repeated_callbacks_wake_once(callbacks: Callbacks) -> None:
    body = generation()
    when = time.time()
    answers = await asyncio.gather(*(callbacks.sync_so(body, when=when) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(callbacks.prefect.events) == 1
    # Another delivery of the same news, signed anew.
    await callbacks.sync_so(generation(note="again"), when=when - 5)
    assert len(callbacks.prefect.events) == 1


async def test_reordered_callbacks_all_wake(callbacks: Callbacks) -> None:
    for status in ("COMPLETED", "PROCESSING", "FAILED", "COMPLETED"):
        assert (await callbacks.sync_so(generation(status))).status_code == 200
    assert len(callbacks.prefect.events) == 3
    assert len(set(callbacks.prefect.woken)) == 1


async def test_a_callback_that_prefect_did_not_take_may_be_repeated(callbacks: Callbacks) -> None:
    callbacks.prefect.status = 422
    answer = await callbacks.ghostcut(work())
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    callbacks.prefect.status = 204
    assert (await callbacks.ghostcut(work())).status_code == 200
    assert len(callbacks.prefect.events) == 1


NONSENSE = [
    b"",
    b"{",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    b"[" * 3000,
    b'{"status": "COMPLETED"}',
    b'{"id": null}',
    b'{"id": {}}',
    b'{"id": true}',
    b'{"id": ""}',
    b'{"id": 1.5}',
    b'{"id": "a\\nb"}',
    json.dumps({"id": "x" * 200}).encode(),
]


async def test_signed_nonsense_wakes_nothing(callbacks: Callbacks) -> None:
    answers = [await callbacks.sync_so(body) for body in NONSENSE]
    assert {answer.status_code for answer in answers} == {400}
    assert callbacks.prefect.events == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_oversize_body_is_refused_before_it_is_read(
    callbacks: Callbacks, chunked: bool
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield b"x" * 1024

    content: Any = endless() if chunked else b"x" * 5000
    with contextlib.suppress(httpx.WriteError, httpx.ReadError):
        answer = await callbacks.client.post("/doorbells/sync-so", content=content)
        assert answer.status_code == 413
    assert (await callbacks.sync_so(generation())).status_code == 200


async def test_slow_bodies_are_refused_and_delay_no_others(callbacks: Callbacks) -> None:
    slow = await callbacks.begin(7)
    # One place is left, and an honest caller gets it.
    assert (await callbacks.sync_so(generation())).status_code == 200
    for reader, writer in slow:
        async with asyncio.timeout(10):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_too_many_slow_bodies_are_turned_away_at_once(callbacks: Callbacks) -> None:
    crowd = await callbacks.begin(12)

    async def status(reader: asyncio.StreamReader) -> bytes:
        line = await reader.readline()
        return line.split()[1]

    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(status(reader) for reader, _ in crowd))
    for _, writer in crowd:
        writer.close()
    assert answers.count(b"408") == 8
    assert answers.count(b"503") == 4
    # All places are free again.
    assert (await callbacks.sync_so(generation())).status_code == 200


async def test_a_sender_that_disconnects_frees_its_place(callbacks: Callbacks) -> None:
    for _ in range(20):
        [(_, writer)] = await callbacks.begin(1)
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(5):
        # Places come back as the server notices each leaver.
        while (await callbacks.sync_so(generation())).status_code != 200:
            pass


async def test_without_known_secrets_nothing_is_accepted() -> None:
    async def unknown() -> tuple[str, ...]:
        raise ValueError

    nobody = secrets_from(unknown)
    async with open_callbacks(ProviderSecrets(nobody, fixed())) as callbacks:
        assert (await callbacks.sync_so(generation())).status_code == 503
        assert (await callbacks.ghostcut(work(), secret="")).status_code == 403
        assert callbacks.prefect.events == []


async def test_secrets_of_before_hold_while_new_ones_cannot_be_read() -> None:
    answers: list[tuple[str, ...] | None] = [("one",), None, ("two",)]

    async def read() -> tuple[str, ...]:
        answer = answers.pop(0)
        if answer is None:
            raise ValueError
        return answer

    cached = secrets_from(read, life=0.0, pause=0.0)
    assert await cached.get() == ("one",)
    assert await cached.get() == ("one",)
    assert await cached.get() == ("two",)


async def test_one_read_of_the_secrets_serves_all() -> None:
    reads = 0

    async def read() -> tuple[str, ...]:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0)
        return ("one",)

    cached = secrets_from(read)
    await asyncio.gather(*(cached.get() for _ in range(50)))
    assert reads == 1
