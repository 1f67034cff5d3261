"""Writes a response to a connection, whole or as an injected fault wants it."""

from __future__ import annotations

import http
from collections.abc import Callable, Iterator

from sandbox.s3.faults import Fault
from sandbox.s3.messages.request import Piece, Response
from sandbox.s3.operations.conditions import http_date
from sandbox.s3.wire import Connection, ConnectionDropped

SLICE_BYTES = 64 * 1024


def send_response(
    connection: Connection,
    response: Response,
    *,
    head_only: bool,
    keep_alive: bool,
    request_id: str,
    now: float,
    fault: Fault | None,
    pace: Callable[[int], None] | None,
) -> None:
    """Sends it; raises ConnectionDropped when a fault ends the connection on the way."""
    if fault is not None and fault.kind == "lost_answer":
        raise ConnectionDropped("an injected fault")
    headers = {
        "Server": "sandbox-s3",
        "Date": http_date(now),
        "x-amz-request-id": request_id,
        "x-amz-id-2": request_id,
        "Connection": "keep-alive" if keep_alive else "close",
        **response.headers,
    }
    if response.status not in (204, 304):
        headers["Content-Length"] = str(response.length)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {response.status} {_phrase(response.status)}\r\n{lines}\r\n"
    data = head.encode("latin-1", "replace")
    if head_only or response.status in (204, 304):
        connection.send(data)
        return
    if fault is None or fault.kind not in ("truncate", "corrupt", "slow"):
        connection.send(data + response.body)
        for piece in response.pieces:
            connection.send_file(*piece)
        return
    connection.send(data)
    _send_with_fault(connection, response, fault, pace)


def _send_with_fault(
    connection: Connection,
    response: Response,
    fault: Fault,
    pace: Callable[[int], None] | None,
) -> None:
    total = response.length
    limit = total
    flip = -1
    if fault.kind == "truncate":
        limit = min(int(fault.number("after_bytes", total // 2)), total)
    elif fault.kind == "corrupt":
        flip = min(int(fault.number("offset", total // 2)), total - 1)
    sent = 0
    size = SLICE_BYTES
    if pace is not None:
        # Small enough to flow instead of coming in one gulp a minute.
        size = max(min(SLICE_BYTES, int(fault.number("bytes_per_second", SLICE_BYTES)) // 10), 1)
    for source in _slices(response, size):
        data = bytearray(source[: limit - sent])
        if sent <= flip < sent + len(data):
            data[flip - sent] ^= 1
        if pace is not None:
            pace(len(data))
        connection.send(memoryview(data))
        sent += len(data)
        if sent >= limit:
            break
    if fault.kind == "truncate":
        raise ConnectionDropped("an injected fault")


def _slices(response: Response, size: int) -> Iterator[bytes]:
    if response.body:
        yield response.body
    for piece in response.pieces:
        yield from _file_slices(piece, size)


def _file_slices(piece: Piece, size: int) -> Iterator[bytes]:
    left = piece.length
    with piece.path.open("rb") as file:
        file.seek(piece.offset)
        while left > 0:
            data = file.read(min(left, size))
            if not data:
                raise ConnectionDropped("the stored file is shorter than its record")
            left -= len(data)
            yield data


def _phrase(status: int) -> str:
    return http.HTTPStatus(status).phrase
