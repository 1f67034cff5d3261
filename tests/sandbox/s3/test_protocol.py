"""HTTP below the SDKs: early answers, bounds, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.sandbox.s3.raw import Raw, sign_headers


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


def test_a_body_needs_a_length_as_on_s3(raw: Raw, bucket: str) -> None:
    path = f"/{bucket}/k"
    headers = sign_headers("PUT", raw.host, path).headers | {"connection": "close"}
    with conversation(raw, head_of("PUT", path, headers)) as sock:
        answer = everything(sock)
    assert answer.startswith(b"HTTP/1.1 411")
    assert b"<Code>MissingContentLength</Code>" in answer
    chunks = {"Transfer-Encoding": "chunked"}
    unknown = raw.signed("PUT", path, b"4\r\ndata\r\n0\r\n\r\n", unsigned_headers=chunks)
    assert (unknown.status, unknown.code) == (501, "NotImplemented")


def test_too_large_is_refused_before_a_byte_is_read(raw: Raw, bucket: str) -> None:
    with conversation(raw, put_head(raw, f"/{bucket}/k", 5 * 1024**3 + 1)) as sock:
        answer = everything(sock)
    assert b"<Code>EntityTooLarge</Code>" in answer


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("nowhere", "InvalidURI"),
        ("/%ff", "InvalidURI"),
        ("/b?x=%ff", "InvalidURI"),
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
