"""The listening socket, one thread per connection, and the life of the data folder."""

from __future__ import annotations

import fcntl
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from sandbox.s3.dispatch import Dispatcher, error_response
from sandbox.s3.errors import S3Error
from sandbox.s3.messages.request import parse_request
from sandbox.s3.messages.sending import send_response
from sandbox.s3.operations.lifecycle import sweep_forever
from sandbox.s3.service import Service
from sandbox.s3.storage.blobs import Blobs
from sandbox.s3.storage.catalog import Catalog
from sandbox.s3.storage.database import Database
from sandbox.s3.storage.uploads import Uploads
from sandbox.s3.verification.signature import Credentials
from sandbox.s3.wire import Body, Connection, ConnectionDropped, Head

IDLE_TIMEOUT_SECONDS = 60.0
HEAD_TIMEOUT_SECONDS = 20.0
MAX_CONNECTIONS = 256
# Connections beyond the limit that still get an answer (SlowDown) instead of waiting unseen.
MAX_REFUSED = 64
LINGER_SECONDS = 1.0
LINGER_BYTES = 64 * 1024 * 1024
CLOSE_SECONDS = 5.0
ACCEPT_POLL_SECONDS = 0.5


class DataDirInUse(RuntimeError):
    """Another server works on the same data folder."""


class S3Server:
    """A running server; `close` ends it and everything it started."""

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str,
        port: int,
        credentials: Credentials,
        region: str,
        now: Callable[[], float],
        idle_timeout: float,
        head_timeout: float,
        max_connections: int,
    ) -> None:
        self.region = region
        self._now = now
        self._idle_timeout = idle_timeout
        self._head_timeout = head_timeout
        self._max_connections = max_connections
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[Connection, threading.Thread] = {}
        data_dir.mkdir(parents=True, exist_ok=True)
        self._folder_lock = (data_dir / "lock").open("ab")
        try:
            fcntl.flock(self._folder_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._folder_lock.close()
            raise DataDirInUse(f"another S3 server uses the folder {data_dir}") from None
        try:
            self._listener = socket.create_server((host, port), backlog=128)
            self._listener.settimeout(ACCEPT_POLL_SECONDS)
        except OSError:
            self._folder_lock.close()
            raise
        self._database = Database(data_dir / "index.sqlite3")
        blobs = Blobs(data_dir)
        catalog = Catalog(self._database, blobs, now)
        blobs.sweep(catalog.wanted())
        service = Service(catalog, Uploads(catalog), blobs, credentials, region, now)
        self._dispatcher = Dispatcher(service, self._stopping)
        name: tuple[str, int] = self._listener.getsockname()[:2]
        self.host, self.port = name
        self._sweeper = threading.Thread(
            target=sweep_forever,
            args=(catalog, service.uploads, now, self._stopping),
            name="s3-lifecycle",
            daemon=True,
        )
        self._sweeper.start()
        self._acceptor = threading.Thread(target=self._accept, name="s3-accept", daemon=True)
        self._acceptor.start()

    @property
    def endpoint_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def close(self) -> None:
        """Stops accepting, cuts what is open, and waits for the threads; safe to repeat."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        # Wakes accept(2) on Linux; elsewhere the acceptor looks up by itself.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(CLOSE_SECONDS)
        self._sweeper.join(CLOSE_SECONDS)
        self._listener.close()
        with self._lock:
            open_now = list(self._connections.items())
        for connection, _ in open_now:
            connection.cut()
        deadline = time.monotonic() + CLOSE_SECONDS
        for _, thread in open_now:
            thread.join(max(deadline - time.monotonic(), 0))
        self._database.close()
        self._folder_lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, address = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                # Out of descriptors, or the peer was gone already, or the server stops.
                self._stopping.wait(0.05)
                continue
            with self._lock:
                number = len(self._connections)
                if number >= self._max_connections + MAX_REFUSED or self._stopping.is_set():
                    sock.close()
                    continue
                connection = Connection(
                    sock, idle_timeout=self._idle_timeout, head_timeout=self._head_timeout
                )
                thread = threading.Thread(
                    target=self._serve,
                    args=(connection, address[0], number >= self._max_connections),
                    name="s3-connection",
                    daemon=True,
                )
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: Connection, peer: str, refused: bool) -> None:
        try:
            while not self._stopping.is_set() and self._exchange(connection, peer, refused):
                pass
        except (ConnectionDropped, OSError):
            # The client went away or was too slow, or a fault wants the connection cut.
            pass
        finally:
            connection.close()
            with self._lock:
                del self._connections[connection]

    def _exchange(self, connection: Connection, peer: str, refused: bool) -> bool:
        """One request and its response; False when the connection has to end."""
        request_id = secrets.token_hex(8).upper()
        head: Head | None = None
        body: Body | None = None
        fault = None
        try:
            head = connection.read_head()
            if head is None:
                return False
            body = Body(connection, head)
            if refused:
                raise S3Error("SlowDown")
            request = parse_request(head, body, request_id)
            response, fault = self._dispatcher.answer(request, peer)
        except S3Error as error:
            response = error_response(error, "", request_id)
        try:
            keep_alive = (
                not refused and body is not None and head is not None and _reusable(head, body)
            )
            send_response(
                connection,
                response,
                head_only=head is not None and head.method == "HEAD",
                keep_alive=keep_alive,
                request_id=request_id,
                now=self._now(),
                fault=fault,
                pace=self._dispatcher.pace(fault) if fault and fault.kind == "slow" else None,
            )
        finally:
            response.release()
        if not keep_alive and not (body is not None and body.complete):
            connection.linger(LINGER_SECONDS, LINGER_BYTES)
        return keep_alive


def _reusable(head: Head, body: Body) -> bool:
    """Whether the next request can follow; an unread body ends the connection."""
    wanted = head.headers.get("connection", "").lower()
    return head.version == "HTTP/1.1" and "close" not in wanted and body.complete


def start_s3(
    data_dir: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    access_key: str,
    secret_key: str,
    region: str = "us-east-1",
    now: Callable[[], float] = time.time,
    idle_timeout: float = IDLE_TIMEOUT_SECONDS,
    head_timeout: float = HEAD_TIMEOUT_SECONDS,
    max_connections: int = MAX_CONNECTIONS,
) -> S3Server:
    """Starts a server on a thread of this process; port 0 takes a free one.

    Use it as a context manager or call `close()`. `now` is the clock for signatures, dates and
    lifecycle rules, in seconds since the epoch; the timeouts are in seconds. Raises DataDirInUse
    when another server has the folder, OSError when the address is taken.
    """
    return S3Server(
        Path(data_dir),
        host=host,
        port=port,
        credentials=Credentials(access_key, secret_key),
        region=region,
        now=now,
        idle_timeout=idle_timeout,
        head_timeout=head_timeout,
        max_connections=max_connections,
    )


def run(
    host: str, port: int, data_dir: Path | str, access_key: str, secret_key: str, region: str
) -> None:
    """Serves in the foreground until SIGTERM or SIGINT; to be called in the main thread."""
    stop = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with start_s3(
            data_dir,
            host=host,
            port=port,
            access_key=access_key,
            secret_key=secret_key,
            region=region,
        ):
            stop.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
