"""HTTP below the SDKs: keep-alive, early answers, bounds, slow and hostile clients."""

from __future__ import annotations

import base64
import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from sandbox.common.server import RunningServer
from tests.sandbox.s3.raw import Raw, sign_headers

BOUND_SECONDS = 10.0


def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition, within a bound."""
    deadline = time.monotonic() + BOUND_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


@contextmanager
def conversation(raw: Raw, data: bytes) -> Iterator[socket.socket]:
    """A socket on which `data` was sent."""
    with raw.socket() as sock:
        sock.sendall(data)
        yield sock


def everything(sock: socket.socket) -> bytes:
    received = b""
    while data := sock.recv(65536):
        received += data
    return received


def head_of(method: str, target: str, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode()


def put_head(raw: Raw, path: str, length: int, extra: dict[str, str] | None = None) -> bytes:
    signed = sign_headers("PUT", raw.host, path)
    return head_of("PUT", path, signed.headers | {"content-length": str(length)} | (extra or {}))


def test_one_connection_serves_many_requests(raw: Raw, bucket: str) -> None:
    connection = raw.connect()
    for number in range(5):
        path = f"/{bucket}/{number % 2}"
        body = b"x" * number
        connection.request("PUT", path, body, sign_headers("PUT", raw.host, path).headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        sock = connection.sock
        connection.request("GET", path, headers=sign_headers("GET", raw.host, path).headers)
        assert connection.getresponse().read() == body
        assert connection.sock is sock
    connection.close()


def test_pipelined_requests_are_answered_in_order(raw: Raw, bucket: str) -> None:
    path = f"/{bucket}/k"
    get = head_of(
        "GET", path, sign_headers("GET", raw.host, path).headers | {"connection": "close"}
    )
    with conversation(raw, put_head(raw, path, 5) + b"hello" + get) as sock:
        answers = everything(sock)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.endswith(b"hello")


def test_the_body_is_asked_for_only_when_it_is_wanted(raw: Raw, bucket: str) -> None:
    expect = {"expect": "100-continue"}
    with conversation(raw, put_head(raw, f"/{bucket}/k", 5, expect)) as sock:
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    with conversation(raw, put_head(raw, "/no-such-bucket/k", 5, expect)) as sock:
        answer = everything(sock)
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"connection: close" in answer


def test_a_refusal_reaches_a_client_that_is_still_sending(raw: Raw) -> None:
    with conversation(raw, put_head(raw, "/no-such-bucket/k", 20_000_000)) as sock:
        sock.sendall(bytes(8_000_000))
        assert sock.recv(100).startswith(b"HTTP/1.1 404")


def test_too_large_is_refused_before_a_byte_is_read(raw: Raw, bucket: str) -> None:
    with conversation(raw, put_head(raw, f"/{bucket}/k", 5 * 1024**3 + 1)) as sock:
        answer = everything(sock)
    assert b"<Code>EntityTooLarge</Code>" in answer


@pytest.mark.parametrize(
    "data",
    [
        b"rubbish\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nx: " + b"y" * 100_000,
    ],
    ids=lambda data: data[:24].decode("latin-1"),
)
def test_what_is_no_http_is_refused(raw: Raw, data: bytes) -> None:
    with conversation(raw, data) as sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("nowhere", "InvalidURI"),
        ("/%ff", "InvalidURI"),
        ("/b?x=%ff", "InvalidURI"),
        ("/b/" + "k" * 1025, "KeyTooLongError"),
    ],
)
def test_targets_that_are_none(raw: Raw, target: str, code: str) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    with conversation(raw, request.encode()) as sock:
        assert f"<Code>{code}</Code>".encode() in everything(sock)


def test_methods_and_subresources_that_do_not_exist_here(raw: Raw, bucket: str) -> None:
    for method, path, query, code in (
        ("PATCH", f"/{bucket}/k", None, "MethodNotAllowed"),
        ("POST", f"/{bucket}/k", None, "MethodNotAllowed"),
        ("DELETE", "/", None, "MethodNotAllowed"),
        ("PUT", f"/{bucket}/k", {"acl": ""}, "NotImplemented"),
        ("GET", f"/{bucket}", {"policy": ""}, "NotImplemented"),
        ("GET", f"/{bucket}/k", {"versionId": "abc"}, "NotImplemented"),
        ("GET", f"/{bucket}/k", {"uploads": "", "tagging": ""}, "InvalidArgument"),
        ("GET", f"/{bucket}", {}, "NotImplemented"),
        ("GET", f"/{bucket}/k", {"tagging": ""}, "NotImplemented"),
        ("GET", f"/{bucket}", {"list-type": "3"}, "InvalidArgument"),
        ("GET", f"/{bucket}", {"list-type": "2", "max-keys": "-1"}, "InvalidArgument"),
        ("GET", f"/{bucket}", {"list-type": "2", "max-keys": "many"}, "InvalidArgument"),
        ("GET", f"/{bucket}", {"list-type": "2", "continuation-token": "?"}, "InvalidArgument"),
        ("GET", f"/{bucket}", {"list-type": "2", "encoding-type": "rot13"}, "InvalidArgument"),
        ("PUT", f"/{bucket}/k", {"uploadId": "x", "partNumber": "0"}, "InvalidArgument"),
        ("PUT", f"/{bucket}/k", {"uploadId": "x", "partNumber": "10001"}, "InvalidArgument"),
        ("PUT", f"/{bucket}/k", {"uploadId": "x", "partNumber": "1"}, "NoSuchUpload"),
    ):
        body = b"" if method in ("PUT", "POST", "PATCH") else None
        assert raw.signed(method, path, body, query=query).code == code, (method, path, query)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("x-amz-acl", "public-read", "AccessControlListNotSupported"),
        ("x-amz-grant-read", "id=1", "NotImplemented"),
        ("x-amz-server-side-encryption", "aws:kms", "NotImplemented"),
        ("x-amz-server-side-encryption-customer-key", "k", "NotImplemented"),
        ("x-amz-object-lock-mode", "GOVERNANCE", "NotImplemented"),
        ("x-amz-storage-class", "GLACIER", "InvalidStorageClass"),
        ("x-amz-expected-bucket-owner", "123456789012", "AccessDenied"),
        ("x-amz-tagging", "k=v", "NotImplemented"),
        ("x-amz-meta-x", "v" * 2048, "MetadataTooLarge"),
        ("if-none-match", '"etag"', "NotImplemented"),
    ],
)
def test_headers_that_ask_for_more_than_there_is(
    raw: Raw, bucket: str, name: str, value: str, code: str
) -> None:
    assert raw.signed("PUT", f"/{bucket}/k", b"x", headers={name: value}).code == code
    assert raw.signed("HEAD", f"/{bucket}/k").status == 404


def test_documents_are_parsed_with_suspicion(raw: Raw, bucket: str) -> None:
    bomb = b'<!DOCTYPE d [<!ENTITY a "aaaa">]><Delete><Object><Key>&a;</Key></Object></Delete>'
    for body, code in (
        (bomb, "MalformedXML"),
        (b"<Delete>", "MalformedXML"),
        (b"<Other/>", "MalformedXML"),
        (b"<Delete></Delete>", "MalformedXML"),
        (b"<Delete><Object/></Delete>", "MalformedXML"),
        (b"", "MissingRequestBodyError"),
    ):
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        answer = raw.signed(
            "POST", f"/{bucket}", body, query={"delete": ""}, headers={"content-md5": md5}
        )
        assert answer.code == code
    unprotected = raw.signed("POST", f"/{bucket}", b"<Delete/>", query={"delete": ""})
    assert unprotected.code == "InvalidRequest"


def test_closing_ends_what_is_open_and_keeps_nothing_of_it(
    serve: Callable[..., RunningServer],
) -> None:
    server = serve()
    raw = Raw(server.url)
    raw.signed("PUT", "/bucket", b"")
    with conversation(raw, put_head(raw, "/bucket/k", 10) + b"12345") as sock:
        server.close()
        with suppress(ConnectionResetError):
            everything(sock)
    again = Raw(serve().url)
    assert again.signed("HEAD", "/bucket/k").status == 404
