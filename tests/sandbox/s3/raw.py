"""A second, independent Signature Version 4 signer, and requests below the level of an SDK."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

ACCESS_KEY = "sandbox-key"
SECRET_KEY = "sandbox-secret/with+signs"
REGION = "us-east-1"
EMPTY_SHA256 = hashlib.sha256().hexdigest()


def sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


@dataclass
class Signed:
    """Headers of a signed request, and what chunk signatures need to go on from there."""

    headers: dict[str, str]
    key: bytes
    stamp: str
    scope: str
    signature: str


def sign_headers(
    method: str,
    host: str,
    path: str,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    payload_hash: str = "UNSIGNED-PAYLOAD",
    at: float | None = None,
    region: str = REGION,
    access_key: str = ACCESS_KEY,
    secret_key: str = SECRET_KEY,
) -> Signed:
    """Signs `path` (not yet percent-encoded) with every given header."""
    moment = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    stamp = moment.strftime("%Y%m%dT%H%M%SZ")
    signed = {name.lower(): value for name, value in (headers or {}).items()}
    signed |= {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": payload_hash}
    names = ";".join(sorted(signed))
    pairs = sorted((quote(k, safe="~"), quote(v, safe="~")) for k, v in (query or {}).items())
    canonical = "\n".join(
        [
            method,
            quote(path, safe="/~"),
            "&".join(f"{k}={v}" for k, v in pairs),
            *[f"{name}:{signed[name]}" for name in sorted(signed)],
            "",
            names,
            payload_hash,
        ]
    )
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = sign(key, part)
    signature = sign(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}").hex()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return Signed(signed, key, stamp, scope, signature)


def chunked(signed: Signed, chunks: list[bytes], trailer: str | None = None) -> bytes:
    """aws-chunked framing with chunk signatures, and a signed trailer line if given."""
    previous = signed.signature
    out = b""
    for chunk in [*chunks, b""]:
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{signed.stamp}\n{signed.scope}\n{previous}\n"
        text += f"{EMPTY_SHA256}\n{hashlib.sha256(chunk).hexdigest()}"
        previous = sign(signed.key, text).hex()
        out += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + chunk
        out += b"\r\n" if chunk or trailer is None else b""
    if trailer is not None:
        digest = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256-TRAILER\n{signed.stamp}\n{signed.scope}\n{previous}\n{digest}"
        out += (
            f"{trailer}\r\nx-amz-trailer-signature:{sign(signed.key, text).hex()}\r\n\r\n".encode()
        )
    return out


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """S3's error code; empty on success."""
        return self.element("Code") if self.status >= 400 else ""

    def element(self, name: str) -> str:
        found = ElementTree.fromstring(self.body).find(name)
        return "" if found is None else found.text or ""


class Raw:
    """Requests to one server, signed by `sign_headers`."""

    def __init__(self, endpoint_url: str) -> None:
        parts = urlsplit(endpoint_url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address = (parts.hostname, parts.port)
        self.host = parts.netloc

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=20)

    def socket(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)

    def unsigned(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends the target as it is."""
        connection = self.connect()
        try:
            connection.request(method, target, body, dict(headers or {}))
            response = connection.getresponse()
            data = response.read()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, data)
        finally:
            connection.close()

    def signed(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        payload_hash: str = "UNSIGNED-PAYLOAD",
        at: float | None = None,
        unsigned_headers: Mapping[str, str] | None = None,
        region: str = REGION,
    ) -> Answer:
        signed = sign_headers(
            method, self.host, path, query, headers, payload_hash=payload_hash, at=at, region=region
        )
        target = quote(path, safe="/~")
        if query:
            target += "?" + "&".join(f"{quote(k)}={quote(v, safe='')}" for k, v in query.items())
        return self.unsigned(method, target, body, signed.headers | dict(unsigned_headers or {}))
