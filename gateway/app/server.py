"""The HTTP server, with bounds on connections and on the time of a request's headers."""

from __future__ import annotations

import asyncio
import resource

import h11
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.base.draining_response import DrainingResponse
from gateway.base.problems import ProblemError, problem_response
from gateway.base.settings import GatewaySettings

_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_EXCESS_SECONDS = 2.0
_TOO_MANY = ProblemError(
    503,
    "too_many_connections",
    "The gateway has as many connections as it may have. Nothing was changed; try again later.",
    retry_after=5.0,
)
_TWO_LENGTHS = ProblemError(
    400,
    "two_lengths",
    "The request has both Content-Length and Transfer-Encoding, or the latter in HTTP/1.0. It was "
    "not handled; send one of them.",
)


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, with a timeout for headers and a limit of connections.

    The time of the headers counts from the connection, or from the end of the last response. A
    connection above the limit gets a problem document.
    """

    header_seconds = 10.0
    max_connections = 4000
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            # It gets one response, and little time for its request.
            self.app = _refuse_connection
            self.header_seconds = min(self.header_seconds, _EXCESS_SECONDS)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._start_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.trailing_data[0]:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        """Start the timer, or let it run, unless a request is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.header_seconds, self._time_out)

    def _stop_timer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_out(self) -> None:
        if not self.transport.is_closing():
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self.transport.write(_TIMEOUT)
            self.transport.close()


def allow_files(settings: GatewaySettings) -> None:
    """Raise the limit of open files to the limit of connections, where the system allows it.

    Many systems begin with 1024. Prefect, S3 and forms need some files besides.
    """
    needed = settings.max_connections + 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def _refuse_connection(scope: Scope, receive: Receive, send: Send) -> None:
    await DrainingResponse(problem_response(_TOO_MANY, None))(scope, receive, send)


class OneLength:
    """ASGI middleware: refuses a request that states its length in two ways.

    A proxy in front may go by the other length (request smuggling; RFC 9112, section 6.3), so the
    connection is closed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            names = {name for name, _ in scope["headers"]}
            # HTTP/1.0 has no transfer encoding: a proxy may pass it on unread.
            other = b"content-length" in names or scope["http_version"] == "1.0"
            if b"transfer-encoding" in names and other:
                app = DrainingResponse(problem_response(_TWO_LENGTHS, None))
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
        # The peer's address tells local clients, so no header may change it.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=30,
        h11_max_incomplete_event_size=32 * 1024,
    )
