"""A small real HTTP server of files, with faults by request."""

from __future__ import annotations

import contextlib
import queue
import re
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


@dataclass
class SourceFile:
    """One path of the server.

    Each GET takes one of ``cuts`` and ``statuses``: a cut closes the connection after so many bytes
    of the body, a status is the response in place of the file (0: none).
    """

    data: bytes = b""
    etag: str | None = '"v1"'
    ranges: bool = True
    content_type: str = "video/mp4"
    framing: str = "length"
    headers: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    change_after: int | None = None
    changed: SourceFile | None = None
    location: str | None = None
    redirect_status: int = 302
    stall_after: int | None = None
    most_per_answer: int | None = None
    raw_head: bytes | None = None
    reset: bool = False
    put_errors: list[tuple[int, str]] = field(default_factory=list)


class SourceServer:
    """Serves :class:`SourceFile` by path; keeps the headers of requests and the bodies of POSTs."""

    def __init__(
        self, *, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.files: dict[str, SourceFile] = {}
        self.posted: queue.Queue[bytes] = queue.Queue()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.lock = threading.Lock()
        self.stalled = threading.Event()
        self.closing = threading.Event()
        self._http = _Server((address, port), _Handler)
        self._http.owner = self
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.scheme = "http" if tls is None else "https"
        self.port = self._http.server_address[1]
        self.address = address
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def add(self, path: str, file: SourceFile) -> str:
        """Serve a file; returns its URL."""
        self.files[path] = file
        return self.url(path)

    def url(self, path: str, host: str | None = None) -> str:
        """The address of a path, by number or under another name."""
        return f"{self.scheme}://{host or self.address}:{self.port}{path}"

    def ranges(self, path: str) -> list[str | None]:
        """The Range headers of the requests for a path, in order."""
        return [headers.get("range") for asked, headers in self.requests if asked == path]

    def close(self) -> None:
        """Stop, and end stalled answers."""
        self.closing.set()
        self._http.shutdown()
        self._thread.join(5)
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: SourceServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        owner = cast(_Server, self.server).owner
        path = self.path.partition("?")[0]
        with owner.lock:
            owner.requests.append((path, {k.lower(): v for k, v in self.headers.items()}))
            file = owner.files.get(path)
            if file is not None and file.change_after is not None and file.changed is not None:
                file.change_after -= 1
                if file.change_after < 0:
                    owner.files[path] = file = file.changed
            status = file.statuses.pop(0) if file is not None and file.statuses else 0
            cut = None
            if file is not None and not status and file.cuts:
                cut = file.cuts.pop(0)
        if file is None:
            self._plain(404)
        elif status:
            self._plain(status, file.headers)
        elif file.location is not None:
            self._plain(file.redirect_status, {"Location": file.location})
        elif file.raw_head is not None:
            self.wfile.write(file.raw_head)
            self.close_connection = True
        else:
            self._file(owner, file, cut)

    def do_PUT(self) -> None:
        """Answer as S3 does: the file's next error, or success."""
        owner = cast(_Server, self.server).owner
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with owner.lock:
            owner.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            errors = owner.files[self.path].put_errors
            status, code = errors.pop(0) if errors else (200, "")
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>" if code else ""
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        owner = cast(_Server, self.server).owner
        owner.posted.put(self.rfile.read(int(self.headers["Content-Length"])))
        self._plain(204)

    def _plain(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, owner: SourceServer, file: SourceFile, cut: int | None) -> None:
        wanted = self.headers.get("If-Match")
        if wanted is not None and wanted != file.etag:
            self._plain(412)
            return
        first, end, total = 0, len(file.data), len(file.data)
        match = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        partial = bool(match and file.ranges)
        if match and partial:
            first, end = int(match[1]), min(int(match[2]) + 1, total)
            if first >= total:
                self._plain(416, {"Content-Range": f"bytes */{total}"})
                return
            if file.most_per_answer is not None:
                end = min(end, first + file.most_per_answer)
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{total}")
        if file.etag is not None:
            self.send_header("ETag", file.etag)
        if file.content_type:
            self.send_header("Content-Type", file.content_type)
        for name, value in file.headers.items():
            self.send_header(name, value)
        if file.framing == "length":
            self.send_header("Content-Length", str(end - first))
        elif file.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self._body(owner, file, memoryview(file.data)[first:end], cut)

    def _body(
        self, owner: SourceServer, file: SourceFile, body: memoryview, cut: int | None
    ) -> None:
        sent = 0
        while sent < len(body):
            piece = body[sent : sent + 65536]
            if cut is not None:
                piece = piece[: cut - sent]
                if not piece:
                    self._drop(file.reset)
                    return
            if file.stall_after is not None and sent >= file.stall_after:
                owner.stalled.set()
                owner.closing.wait(60)
                self.close_connection = True
                return
            if file.framing == "chunked":
                self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
            else:
                self.wfile.write(piece)
            sent += len(piece)
        if file.framing == "chunked":
            self.wfile.write(b"0\r\n\r\n")

    def _drop(self, reset: bool) -> None:
        self.wfile.flush()
        self.close_connection = True
        if reset:
            # Linger 0 resets the connection, as a crashing server does; bytes under way are lost.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.contextmanager
def serving(**options: Any) -> Iterator[SourceServer]:
    """A server for the length of the block."""
    server = SourceServer(**options)
    try:
        yield server
    finally:
        server.close()
