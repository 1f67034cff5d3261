"""The HTTP server in front of the application, with bounds for clients that are too many or never
come to a request."""

from __future__ import annotations

import asyncio
import resource

import h11
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.base.draining_response import Lingering
from gateway.base.problems import ProblemError, problem_response
from gateway.base.settings import GatewaySettings

_REFUSAL = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


_EXCESS_SECONDS = 2.0
_CROWDED = ProblemError(
    503,
    "too_many_connections",
    "The gateway has as many connections as it may. Try again later; nothing was changed.",
    retry_after=5.0,
)
_TWO_LENGTHS = ProblemError(
    400,
    "two_lengths",
    "The request has both Content-Length and Transfer-Encoding, or the latter in HTTP/1.0. Send "
    "one of them.",
)


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol with a time limit for a request's headers, counted from the connection or
    the end of the last response, and with a problem document for a connection over the limit."""

    header_seconds = 10.0
    max_connections = 4000
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            # It gets one response, and little time for its request; earlier connections go on.
            self.app = _turn_away
            self.header_seconds = min(self.header_seconds, _EXCESS_SECONDS)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.trailing_data[0]:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Let the time run, or go on running, while no request is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._rest()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.header_seconds, self._refuse)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self) -> None:
        if not self.transport.is_closing():
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self.transport.write(_REFUSAL)
            self.transport.close()


def allow_files(settings: GatewaySettings) -> None:
    """Raise the limit of open files to the need of the connections, where the system allows it.

    Many systems begin with 1024, and Prefect, S3 and the parts of forms need some of them.
    """
    needed = settings.max_connections + 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def _turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    await Lingering(problem_response(_CROWDED, None))(scope, receive, send)


class OneLength:
    """ASGI middleware: refuses a request that states its length in two ways and closes its
    connection, because a proxy in front may go by the other one (RFC 9112, section 6.3)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            names = {name for name, _ in scope["headers"]}
            # Older than 1.1, HTTP knows no transfer encoding: a proxy may pass it on unread.
            other = b"content-length" in names or scope["http_version"] == "1.0"
            if b"transfer-encoding" in names and other:
                app = Lingering(problem_response(_TWO_LENGTHS, None))
        await app(scope, receive, send)


def server_config(
    app: FastAPI, settings: GatewaySettings, *, host: str, port: int
) -> uvicorn.Config:
    """The server's configuration."""
    bounds = {
        "header_seconds": settings.header_seconds,
        "max_connections": settings.max_connections,
    }
    return uvicorn.Config(
        OneLength(app),
        host=host,
        port=port,
        http=type("Protocol", (BoundedProtocol,), bounds),
        ws="none",
        # The peer's address decides whether a client is local: no header may change it.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=30,
        h11_max_incomplete_event_size=32 * 1024,
    )
