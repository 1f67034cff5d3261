"""Many HTTP clients in one process, each with a connection of its own, that poll and keep books.

As lean as it can be: one prepared request per path, and no more of an answer is understood than
its status, its length and whether the expected text is in it. An ordinary client library would
spend more on a request than the server that is measured.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from urllib.parse import urlsplit

_CONNECT_AT_ONCE = 50
_CONNECT_SECONDS = 30.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_HEAD_END = b"\r\n\r\n"
# The longest wait for the answers that are still missing at the end of a round, in seconds.
_LAST_ANSWERS_SECONDS = 60.0


@dataclass(frozen=True)
class Target:
    """The request of a client.

    Attributes:
        path: of the GET request, with the server's own prefix.
        expected: bytes that a right answer has in its body.
    """

    path: str
    expected: bytes


@dataclass(frozen=True)
class Plan:
    """One round of one process.

    Attributes:
        url: address of the server, ``http://host:port``.
        headers: of each request.
        targets: what the clients ask for, each in turn from a place of its own.
        numbers: the clients of this process, out of ``clients``.
        clients: how many there are in all processes.
        start: wall time of the first requests, in seconds since the epoch.
        warm_up: seconds at the start that are not counted.
        seconds: that are counted.
        every: seconds from one request of a client to its next, from the moment at which the
            request is due; while it waits for an answer a client leaves out requests, which
            are counted. None asks again at once.
    """

    url: str
    headers: dict[str, str]
    targets: Sequence[Target]
    numbers: range
    clients: int
    start: float
    warm_up: float
    seconds: float
    every: float | None


@dataclass
class Tally:
    """Measurements of the clients, without the warm-up.

    Attributes:
        latencies: seconds of each right answer.
        errors: how often what else happened.
        not_asked: requests that were due, but whose client still waited for an earlier answer.
        late: seconds by which the last right answer came after the end of the round.
    """

    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    not_asked: int = 0
    late: float = 0.0

    def add(self, other: Tally) -> None:
        """Take in the books of another process."""
        self.latencies += other.latencies
        self.errors += other.errors
        self.not_asked += other.not_asked
        self.late = max(self.late, other.late)


@dataclass(frozen=True)
class _Round:
    """The times of a round on the clock of the event loop."""

    counted_from: float
    until: float
    tally: Tally


class _Client(asyncio.Protocol):
    """One client on one connection."""

    def __init__(self, requests: Iterator[tuple[bytes, bytes]], every: float | None) -> None:
        self._requests = requests
        self._every = every
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._round: _Round | None = None
        self._due = 0.0
        self._expected = b""
        self._received = bytearray()
        self.done = self._loop.create_future()

    def begin(self, at: float, round_: _Round) -> None:
        self._round = round_
        self._due = at
        self._loop.call_at(at, self._ask)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._end("connection lost")

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(_HEAD_END)
        if head_end < 0:
            return
        found = _LENGTH.search(self._received, 0, head_end + 2)
        if found is None:
            self._end("answer without a length")
            return
        body = head_end + len(_HEAD_END)
        if len(self._received) >= body + int(found[1]):
            self._answered(bytes(self._received[9:12]), self._expected in self._received[body:])

    def _ask(self) -> None:
        assert self._round is not None
        if self._due >= self._round.until:
            self._end(None)
        elif not self.done.done() and self._transport is not None:
            request, self._expected = next(self._requests)
            self._received.clear()
            self._transport.write(request)

    def _answered(self, status: bytes, is_right: bool) -> None:
        assert self._round is not None
        now = self._loop.time()
        if self._due >= self._round.counted_from:
            tally = self._round.tally
            if status == b"200" and is_right:
                tally.latencies.append(now - self._due)
                tally.late = max(tally.late, now - self._round.until)
            else:
                tally.errors["wrong body" if status == b"200" else status.decode()] += 1
        if self._every is None:
            self._due = now
            self._ask()
            return
        self._due += self._every
        while self._due <= now:
            if self._round.counted_from <= self._due < self._round.until:
                self._round.tally.not_asked += 1
            self._due += self._every
        if self._due < self._round.until:
            self._loop.call_at(self._due, self._ask)
        else:
            self._end(None)

    def _end(self, error: str | None) -> None:
        if not self.done.done():
            if error is not None and self._round is not None:
                self._round.tally.errors[error] += 1
            self.done.set_result(None)
        if self._transport is not None:
            self._transport.close()

    def give_up(self) -> None:
        """End it; an answer that is still missing is an error."""
        self._end("unanswered")


async def _connect(plan: Plan, number: int, room: asyncio.Semaphore) -> _Client:
    host = urlsplit(plan.url).netloc
    lines = [f"host: {host}", *(f"{name}: {value}" for name, value in plan.headers.items())]
    requests = [
        ("\r\n".join([f"GET {target.path} HTTP/1.1", *lines, "", ""]).encode(), target.expected)
        for target in plan.targets
    ]
    own = islice(cycle(requests), number % len(requests), None)
    name, _, port = host.partition(":")
    async with room, asyncio.timeout(_CONNECT_SECONDS):
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: _Client(own, plan.every), name, int(port)
        )
    return client


async def _poll(plan: Plan) -> Tally:
    room = asyncio.Semaphore(_CONNECT_AT_ONCE)
    clients = await asyncio.gather(*(_connect(plan, number, room) for number in plan.numbers))
    loop = asyncio.get_running_loop()
    start = loop.time() + plan.start - time.time()
    if start < loop.time():
        raise RuntimeError("the clients were not connected in time; start the round later")
    counted_from = start + plan.warm_up
    round_ = _Round(counted_from, counted_from + plan.seconds, Tally())
    for number, client in zip(plan.numbers, clients, strict=True):
        client.begin(start + (plan.every or 0.0) * number / plan.clients, round_)
    ended = [client.done for client in clients]
    await asyncio.wait(ended, timeout=round_.until + _LAST_ANSWERS_SECONDS - loop.time())
    for client in clients:
        client.give_up()
    return round_.tally


def poll(plan: Plan) -> Tally:
    """Let the clients of one process poll; blocks until the round is over."""
    return asyncio.run(_poll(plan))
