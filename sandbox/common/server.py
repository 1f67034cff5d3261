"""Run an ASGI application on a socket: in a thread for tests, in the foreground for a command.

The HTTP protocol class also hands the connection to the application, under the scope extension
`sandbox.connection`, so that a fault can cut it.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTION = "sandbox.connection"

_START_TIMEOUT = 30.0
_GRACE = 1
_TICK = 0.1


class PortTakenError(OSError):
    """The address is in use by another program."""


class _Protocol(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_connection(scope: Any, receive: Any, send: Any) -> None:
            extensions = {**(scope.get("extensions") or {}), CONNECTION: transport}
            await app({**scope, "extensions": extensions}, receive, send)

        self.app = with_connection


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, port 0 for any free one; PortTakenError when the address is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, because asyncio sends small answers at once only on sockets that say they are TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(512)
    except OSError as error:
        sock.close()
        raise PortTakenError(
            error.errno, f"cannot listen on {host}:{port}: {error.strerror}"
        ) from error
    return sock


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    def __init__(self, app: Any, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                loop="asyncio",
                lifespan="on",
                access_log=False,
                log_config=None,
                log_level=logging.WARNING,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        self._ready = ready
        self._woken: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def stop(self) -> None:
        """Ask the server to end, from any thread; it does not wait for its next tick."""
        self.should_exit = True
        if self._woken is not None:
            loop, event = self._woken
            # The loop may have ended in the meantime, with nothing left to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    async def main_loop(self) -> None:
        event = asyncio.Event()
        self._woken = (asyncio.get_running_loop(), event)
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864_000
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), _TICK)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


class RunningServer:
    """A server in a thread of its own; a context manager that closes it."""

    def __init__(self, app: Any, sock: socket.socket) -> None:
        self.url = _url(sock)
        """Base address without a slash at the end."""
        self._sock = sock
        decided = threading.Event()
        self._server = _Server(app, decided.set)

        def run() -> None:
            try:
                self._server.run(sockets=[sock])
            except SystemExit:
                """The application's start-up failed; the caller reports it."""
            finally:
                decided.set()

        self._thread = threading.Thread(target=run, name=f"sandbox {self.url}", daemon=True)
        self._thread.start()
        decided.wait(_START_TIMEOUT)
        if not self._server.started:
            self.close()
            raise RuntimeError(f"the server at {self.url} did not start")

    def close(self) -> None:
        """Stop serving, run the application's shutdown, free the port; safe to repeat."""
        self._server.stop()
        self._thread.join(timeout=_START_TIMEOUT)
        self._sock.close()

    def __enter__(self) -> "RunningServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_app(app: Any, host: str = "127.0.0.1", port: int = 0) -> RunningServer:
    """Serve the application from a thread and return once it answers.

    Raises PortTakenError when the address is in use, RuntimeError when the application's own
    start-up fails.
    """
    return RunningServer(app, bind(host, port))


def serve_forever(
    app: Any, host: str, port: int, *, ready: Callable[[str], None] | None = None
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; `ready` gets the address once it answers.

    Raises PortTakenError when the address is in use. Call it from the main thread.
    """
    sock = bind(host, port)
    url = _url(sock)
    server = _Server(app, (lambda: ready(url)) if ready else (lambda: None))

    # The server takes the signals while it runs and raises them again at its end; by then the
    # shutdown is complete and nothing is left to do for them.
    before = [(number, signal.signal(number, _ignore)) for number in _SIGNALS]
    try:
        server.run(sockets=[sock])
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        sock.close()


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _ignore(number: int, frame: object) -> None:
    """Swallow a signal that the server has already acted on."""
