"""A real HTTP server on loopback with scripted responses, which keeps the requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Reply:
    """One answer.

    ``body`` is bytes as they are or a value for JSON; ``fault`` is ``drop`` (close without an
    answer), ``truncate`` (half of the promised body), ``hang`` (no answer until the end) or
    ``drip`` (a body that does not end before).
    """

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    fault: str | None = None


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, list[str]]
    body: bytes


class ScriptedServer:
    """``async with ScriptedServer(Reply(...), ...) as server``; ``server.url``, ``server.asked``.

    The replies are given in order, to any request. A request beyond the script gets 599, which no
    test expects. ``answer`` instead of replies chooses one by the request.
    """

    def __init__(self, *replies: Reply, answer: Callable[[Asked], Reply] | None = None) -> None:
        self._replies = list(replies)
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._end = asyncio.Event()
        self.asked: list[Asked] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._end.set()
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()
        if error[0] is None:
            assert not self._replies, f"{len(self._replies)} scripted replies were not asked for"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            method, target, _ = first.split(" ")
            headers: dict[str, list[str]] = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers.setdefault(name.strip().lower(), []).append(value.strip())
            body = await reader.readexactly(int(headers.get("content-length", ["0"])[0]))
            parts = urlsplit(target)
            asked = Asked(method, parts.path, parse_qs(parts.query), headers, body)
            self.asked.append(asked)
            await self._reply(self._next(asked), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _next(self, asked: Asked) -> Reply:
        if self._answer is not None:
            return self._answer(asked)
        return self._replies.pop(0) if self._replies else Reply(599, b"beyond the script")

    async def _reply(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        if reply.fault == "drop":
            return
        if reply.fault == "hang":
            await self._end.wait()
            return
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        length = 10**9 if reply.fault == "drip" else len(body)
        headers = {"Content-Length": str(length), "Connection": "close", **reply.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if reply.fault == "truncate":
            body = body[: len(body) // 2]
        writer.write(f"HTTP/1.1 {reply.status} Scripted\r\n{lines}\r\n".encode() + body)
        await writer.drain()
        while reply.fault == "drip" and not self._end.is_set():
            writer.write(b"x" * 65536)
            await writer.drain()
            await asyncio.sleep(0.05)
