"""The clients of the polling benchmark count right: answers, errors, and what they never asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from benchmarks.polling_client import Plan, Tally, Target, poll
from benchmarks.status_polling import figures, ratios

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Callable[[bytes], bytes], pause: float = 0.0) -> AsyncIterator[str]:
    """A server that answers each request by its path, in two pieces."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"\r\nx-test: 1\r\n" in head
                reply = answer(head.split()[1])
                if pause:
                    await asyncio.sleep(pause)
                writer.write(reply[:20])
                await writer.drain()
                writer.write(reply[20:])
                if not reply:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def reply(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def plan(url: str, paths: str, *, clients: int = 4, every: float | None = None) -> Plan:
    return Plan(
        url=url,
        headers={"x-test": "1"},
        targets=[Target(f"/{path}", path.encode()) for path in paths],
        numbers=range(clients),
        clients=clients,
        start=time.time() + 1.0,
        warm_up=0.11,  # not a moment at which a paced client asks
        seconds=0.4,
        every=every,
    )


async def run(planned: Plan) -> Tally:
    return await asyncio.to_thread(poll, planned)


async def test_answers_are_counted() -> None:
    asked: list[bytes] = []

    def answer(path: bytes) -> bytes:
        asked.append(path)
        return reply(path)

    async with serving(answer) as url:
        tally = await run(plan(url, "abc"))
    assert set(asked) == {b"/a", b"/b", b"/c"}
    assert 0 < len(tally.latencies) <= len(asked)
    assert not tally.errors
    assert tally.not_asked == 0


async def test_paced_clients_ask_at_their_times() -> None:
    async with serving(reply) as url:
        tally = await run(plan(url, "a", every=0.1))
    # 4 clients, 0.4 s, one request each 0.1 s.
    assert len(tally.latencies) + tally.not_asked == 16
    assert not tally.errors


async def test_what_a_slow_server_kept_clients_from_is_counted() -> None:
    async with serving(reply, pause=0.25) as url:
        tally = await run(plan(url, "a", every=0.1))
    assert len(tally.latencies) + tally.not_asked == 16
    assert tally.not_asked >= 8
    assert min(tally.latencies) >= 0.24


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(b"other"), "wrong body"),
        (reply(b"a", "429 Too Many Requests"), "429"),
        (b"HTTP/1.1 200 OK\r\n\r\na", "answer without a length"),
        (b"", "connection lost"),
    ],
)
async def test_errors_are_counted(answer: bytes, error: str) -> None:
    async with serving(lambda _path: answer) as url:
        tally = await run(plan(url, "a"))
    assert set(tally.errors) == {error}
    assert not tally.latencies


def test_figures_and_ratios() -> None:
    tally = Tally(latencies=[number / 1000 for number in range(1, 101)], late=1.0)
    found = figures(tally, 4.0)
    assert (found["requests_per_second"], found["p50_ms"], found["p99_ms"]) == (20.0, 51.0, 100.0)

    def one(through: str, asked: str, rate: float, p99: float) -> dict[str, Any]:
        return {
            "through": through,
            "asked": asked,
            "requests_per_second": rate,
            "p99_ms": p99,
        }

    rounds = [
        one("gateway", "every 2 s", 500, 20),
        one("gateway", "at once", 3000, 400),
        one("prefect", "every 2 s", 100, 9000),
        one("prefect", "at once", 100, 12000),
    ]
    assert ratios(rounds) == {
        "gateway_against_prefect": {
            "requests_per_second": 30.0,
            "p99_at_once": 30.0,
            "p99_paced": 450.0,
        }
    }
