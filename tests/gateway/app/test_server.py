"""Clients that send no request, or never end one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.gateway.gateways import JOBS, Gateway

PATIENCE = 0.4
HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
def connection(start_gateway: Callable[..., Gateway]) -> Iterator[socket.socket]:
    gateway = start_gateway(header_seconds=PATIENCE)
    with socket.create_connection(gateway.address, timeout=10) as connection:
        yield connection


def answer_of(connection: socket.socket) -> bytes:
    """A whole answer, which has a JSON object as its body."""
    answer = b""
    while not answer.endswith(b"}"):
        answer += connection.recv(65536)
    return answer


def drip(connection: socket.socket, data: bytes = b"X-Slow: 1\r\n") -> bytes:
    """Send bits of headers without an end; returns the answer when the server has hung up."""
    connection.settimeout(PATIENCE / 8)
    answer = b""
    until = time.monotonic() + 20 * PATIENCE
    while time.monotonic() < until:
        try:
            got = connection.recv(65536)
        except TimeoutError:
            connection.sendall(data)
            continue
        except ConnectionError:
            return answer
        if not got:
            return answer
        answer += got
    raise AssertionError("the server has waited for ever")


def test_headers_without_an_end(connection: socket.socket) -> None:
    connection.sendall(HEAD)
    assert drip(connection).startswith(b"HTTP/1.1 408 ")


def test_a_connection_without_a_request(connection: socket.socket) -> None:
    assert connection.recv(100) == b""


def test_later_headers_without_an_end(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"\r\n")
    assert answer_of(connection).startswith(b"HTTP/1.1 200 ")
    connection.sendall(HEAD)
    assert drip(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_for_a_route_without_one(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
    assert drip(connection, b"x").startswith(b"HTTP/1.1 200 ")


def test_a_request_in_pieces_and_a_pause_after_it(connection: socket.socket) -> None:
    """A client that is slow within bounds is served, and idle connections stay."""
    for _ in range(2):
        for piece in (HEAD[:20], HEAD[20:], b"\r\n"):
            connection.sendall(piece)
            time.sleep(PATIENCE / 8)
        assert answer_of(connection).startswith(b"HTTP/1.1 200 ")
        time.sleep(PATIENCE * 1.5)
    # The time of a body has bounds of its own.
    body = b'{"video": 1}'
    head = f"POST {JOBS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    connection.sendall(head.encode() + b"Content-Length: 12\r\n\r\n" + body[:3])
    time.sleep(PATIENCE * 1.5)
    connection.sendall(body[3:])
    assert answer_of(connection).startswith(b"HTTP/1.1 422 ")


def test_more_connections_than_there_may_be(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(max_connections=2)

    def ask(connection: socket.socket) -> bytes:
        connection.sendall(HEAD + b"\r\n")
        return answer_of(connection)

    def connect() -> socket.socket:
        return socket.create_connection(gateway.address, timeout=10)

    with connect() as first, connect() as second:
        for connection in (first, second):
            assert ask(connection).startswith(b"HTTP/1.1 200 ")
        with connect() as third:
            refused = ask(third)
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"application/problem+json" in refused
            assert b"too_many_connections" in refused
            assert b"retry-after: 5" in refused.lower()
            assert third.recv(100) == b""
        with connect() as silent:
            assert silent.recv(100) == b""
        assert ask(first).startswith(b"HTTP/1.1 200 ")
        second.close()
        until = time.monotonic() + 10
        answer = b""
        while b" 200 " not in answer and time.monotonic() < until:
            with connect() as later:
                answer = ask(later)
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_endless_json(start_gateway: Callable[..., Gateway]) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"video": "'
        for _ in range(1000):
            yield b"v" * 1024

    with start_gateway().client() as client:
        for content in (endless(), b" " * 200_000):
            answer = client.post(
                JOBS, content=content, headers={"Content-Type": "application/json"}
            )
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        for content, kind, code in (
            (b"", "application/json", "not_json_object"),
            (b"[]", "application/json", "not_json_object"),
            (b"{}", "text/plain", "not_json"),
        ):
            answer = client.post(JOBS, content=content, headers={"Content-Type": kind})
            assert answer.json()["code"] == code


@pytest.mark.parametrize(
    ("version", "headers"),
    [
        (b"1.1", b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        (b"1.1", b"transfer-encoding: chunked\r\ncontent-length: 48\r\n"),
        (b"1.0", b"Transfer-Encoding: chunked\r\n"),
    ],
)
def test_a_length_in_two_ways(connection: socket.socket, version: bytes, headers: bytes) -> None:
    """A body for one server is a request for the next one (request smuggling)."""
    hidden = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    connection.sendall(HEAD.replace(b"1.1", version, 1) + headers + b"\r\n" + hidden)
    answer = b""
    while got := connection.recv(65536):
        answer += got
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b'"two_lengths"' in answer
    assert b"connection: close" in answer.lower()
    # The connection is over, and nothing else was answered on it.
    assert answer.count(b"HTTP/1.1 ") == 1
