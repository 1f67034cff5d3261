"""HTTP/1.1 on one accepted socket: request heads, request bodies and raw sends.

Everything read has a bound (head size, line length, declared length) and a timeout, so that a
slow or hostile client holds one thread for a limited time and no memory to speak of.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.s3.errors import S3Error

MAX_HEAD_BYTES = 32 * 1024
MAX_CHUNK_LINE_BYTES = 4096
MAX_TRAILER_BYTES = 8 * 1024
BUFFER_BYTES = 256 * 1024

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class ConnectionDropped(Exception):
    """The peer went away, or an injected fault cut the connection."""


@dataclass(frozen=True, slots=True)
class Head:
    """Request line and headers; names are lower case, repeated fields are joined by a comma."""

    method: str
    target: str
    version: str
    headers: dict[str, str]


class Connection:
    """A buffered socket with timeouts, in seconds.

    `idle_timeout` bounds each wait for bytes, `head_timeout` the arrival of one whole head once
    its first byte is here.
    """

    def __init__(self, sock: socket.socket, *, idle_timeout: float, head_timeout: float) -> None:
        self.socket = sock
        self._idle_timeout = idle_timeout
        self._head_timeout = head_timeout
        self._buffer = b""
        sock.settimeout(idle_timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_head(self) -> Head | None:
        """The next request head, or None when the peer closed or idled between requests."""
        data = self._buffer
        self._buffer = b""
        deadline = time.monotonic() + self._head_timeout
        while True:
            data = data.lstrip(b"\r\n") if data[:1] in (b"\r", b"\n") else data
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                break
            if len(data) > MAX_HEAD_BYTES:
                raise S3Error("RequestHeaderSectionTooLarge")
            remaining = deadline - time.monotonic() if data else self._idle_timeout
            try:
                if remaining <= 0:
                    raise TimeoutError
                self.socket.settimeout(min(remaining, self._idle_timeout))
                received = self.socket.recv(64 * 1024)
            except TimeoutError:
                if data:
                    raise S3Error("RequestTimeout") from None
                return None
            finally:
                self.socket.settimeout(self._idle_timeout)
            if not received:
                return None
            if not data:
                deadline = time.monotonic() + self._head_timeout
            data += received
        if end > MAX_HEAD_BYTES:
            raise S3Error("RequestHeaderSectionTooLarge")
        self._buffer = data[end + 4 :]
        return parse_head(data[:end])

    def read_into(self, view: memoryview) -> int:
        """Reads at least one byte into `view`; 0 means that the peer closed."""
        if self._buffer:
            count = min(len(view), len(self._buffer))
            view[:count] = self._buffer[:count]
            self._buffer = self._buffer[count:]
            return count
        return self.socket.recv_into(view)

    def read_line(self, limit: int) -> bytes:
        """A line without its CRLF."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > limit:
                raise S3Error("BadRequest", "A line of the chunked body is too long.")
            received = self.socket.recv(16 * 1024)
            if not received:
                raise ConnectionDropped("peer closed inside a chunked body")
            self._buffer += received
        if end > limit:
            raise S3Error("BadRequest", "A line of the chunked body is too long.")
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def send(self, data: bytes | memoryview) -> None:
        self.socket.sendall(data)

    def send_file(self, path: Path, offset: int, count: int) -> None:
        """Sends a range of a file with sendfile(2), without copying it through this process."""
        with path.open("rb") as file:
            if count and self.socket.sendfile(file, offset, count) != count:
                raise ConnectionDropped("the stored file is shorter than its record")

    def linger(self, seconds: float, limit: int) -> None:
        """Reads and drops what the peer still sends, so that it gets to see the last answer.

        Closing with unread bytes makes the kernel reset the connection, which can destroy an
        answer that the peer has not read yet.
        """
        deadline = time.monotonic() + seconds
        scratch = memoryview(bytearray(64 * 1024))
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            while limit > 0 and (remaining := deadline - time.monotonic()) > 0:
                self.socket.settimeout(remaining)
                received = self.socket.recv_into(scratch)
                if not received:
                    return
                limit -= received

    def cut(self) -> None:
        """Wakes the thread that works on the connection; its reads and writes fail from now on."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.socket.close()


def parse_head(data: bytes) -> Head:
    """Parses a head without its final empty line; strict, since leniency hides client errors."""
    lines = data.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not set(words[0]) <= _TOKEN:
        raise S3Error("BadRequest")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if (
            not colon
            or not name
            or not set(name) <= _TOKEN
            or any(char in value for char in "\r\n\0")
        ):
            raise S3Error("BadRequest")
        name = name.lower()
        value = value.strip(" \t")
        if name in headers:
            if name in ("content-length", "host", "authorization", "transfer-encoding"):
                raise S3Error("BadRequest", f"The header {name} is repeated.")
            value = f"{headers[name]},{value}"
        headers[name] = value
    return Head(method=words[0], target=words[1], version=words[2], headers=headers)


class Body:
    """The message body as HTTP frames it: Content-Length, chunked, or none."""

    def __init__(self, connection: Connection, head: Head) -> None:
        self._connection = connection
        self._expect_continue = head.headers.get("expect", "").lower() == "100-continue"
        encoding = head.headers.get("transfer-encoding")
        declared = head.headers.get("content-length")
        if encoding is not None and declared is not None:
            raise S3Error("BadRequest", "Both Content-Length and Transfer-Encoding are present.")
        if encoding is not None and encoding.lower() != "chunked":
            raise S3Error("NotImplemented", details={"Header": "Transfer-Encoding"})
        if declared is not None and not (
            declared.isascii() and declared.isdigit() and len(declared) < 20
        ):
            raise S3Error("BadRequest", "Content-Length is not a number.")
        self.chunked = encoding is not None
        self.declared_length = int(declared) if declared is not None else None
        self._remaining = self.declared_length or 0
        self._in_chunk = False
        self.complete = not self.chunked and self._remaining == 0
        self.pace: Callable[[int], None] | None = None

    def read_into(self, view: memoryview) -> int:
        """Reads at least one byte; 0 at the end of the body."""
        if self._expect_continue and not self.complete:
            self._expect_continue = False
            self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.chunked and self._remaining == 0 and not self.complete:
            self._next_chunk()
        if self.complete:
            return 0
        try:
            count = self._connection.read_into(view[: min(len(view), self._remaining)])
        except TimeoutError:
            raise S3Error("RequestTimeout") from None
        if count == 0:
            raise ConnectionDropped("peer closed inside a body")
        self._remaining -= count
        if not self.chunked:
            self.complete = self._remaining == 0
        if self.pace is not None:
            self.pace(count)
        return count

    def _next_chunk(self) -> None:
        try:
            if self._in_chunk and self._connection.read_line(2) != b"":
                raise S3Error("BadRequest", "A chunk does not end where it should.")
            size_field = self._connection.read_line(MAX_CHUNK_LINE_BYTES).split(b";")[0].strip()
            self._remaining = parse_chunk_size(size_field)
            self._in_chunk = True
            if self._remaining == 0:
                room = MAX_TRAILER_BYTES
                while line := self._connection.read_line(MAX_CHUNK_LINE_BYTES):
                    room -= len(line)
                    if room < 0:
                        raise S3Error("BadRequest", "The trailer is too long.")
                self.complete = True
        except TimeoutError:
            raise S3Error("RequestTimeout") from None


def parse_chunk_size(field: bytes) -> int:
    """The size of a chunk in bytes from its hexadecimal field."""
    if not field or len(field) > 16 or not set(field) <= set(b"0123456789abcdefABCDEF"):
        raise S3Error("BadRequest", "The size of a chunk is not a hexadecimal number.")
    return int(field, 16)
