"""Reading a request's payload while proving it: aws-chunked framing, digests, lengths.

All claims of the client about its payload (signed SHA-256, chunk signatures, Content-MD5, a
checksum in a header or a trailer, the decoded length) are checked by the time `receive` returns.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.s3.errors import S3Error
from sandbox.s3.messages.request import Request
from sandbox.s3.verification import checksums
from sandbox.s3.verification.signature import (
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    UNSIGNED,
    Authorization,
    ChunkSigner,
)
from sandbox.s3.wire import BUFFER_BYTES, MAX_CHUNK_LINE_BYTES, Body, parse_chunk_size

MAX_OBJECT_BYTES = 5 * 1024**3
MIN_CHUNK_BYTES = 8192
_MAX_TRAILER_LINES = 8
_CHECKSUM_PREFIX = "x-amz-checksum-"
# Headers under the prefix that describe a checksum instead of holding one.
_NOT_A_VALUE = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"})


@dataclass(frozen=True, slots=True)
class Received:
    """A payload that was read: size in bytes, MD5, and the digest of its checksum if any."""

    size: int
    md5: bytes
    algorithm: str | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """A checksum that the client gave or announced; `digest` is None for a trailer."""

    algorithm: str
    digest: bytes | None


class Payload:
    """The decoded payload of one request; create it before any byte of the body is read."""

    def __init__(
        self,
        request: Request,
        authorization: Authorization,
        *,
        empty_allowed: bool = False,
        body_checksum: bool = True,
    ) -> None:
        """`empty_allowed`: no Content-Length means no body instead of an error.

        `body_checksum`: whether x-amz-checksum-* speaks of this body; on CompleteMultipartUpload
        it speaks of the object.
        """
        headers = request.headers
        self._body = request.body
        self._hash = authorization.payload_hash
        self._trailer_name = headers.get("x-amz-trailer", "").strip().lower()
        self._md5 = _content_md5(headers.get("content-md5"))
        streaming = self._hash.startswith("STREAMING-")
        trailer = self._trailer_name if streaming else ""
        self.claim = _claim(headers, trailer) if body_checksum or trailer else None
        self._empty_allowed = empty_allowed
        self.length = self._declared_length(request, streaming)
        self._chunks: _AwsChunked | None = None
        if streaming:
            signed = self._hash in (STREAMING_SIGNED, STREAMING_SIGNED_TRAILER)
            self._chunks = _AwsChunked(
                request.body, authorization.chunks if signed else None, self._trailer_name
            )

    @property
    def protected(self) -> bool:
        """Whether the client sent a Content-MD5 or a checksum."""
        return self._md5 is not None or self.claim is not None

    def _declared_length(self, request: Request, streaming: bool) -> int:
        if streaming:
            text = request.headers.get("x-amz-decoded-content-length", "")
            if not (text.isascii() and text.isdigit() and len(text) < 16):
                raise S3Error("MissingContentLength")
            length = int(text)
        elif request.body.chunked:
            raise S3Error("NotImplemented", details={"Header": "Transfer-Encoding"})
        elif request.body.declared_length is None:
            if self._empty_allowed:
                return 0
            raise S3Error("MissingContentLength")
        else:
            length = request.body.declared_length
        if length > MAX_OBJECT_BYTES:
            raise S3Error(
                "EntityTooLarge",
                details={
                    "ProposedSize": str(length),
                    "MaxSizeAllowed": str(MAX_OBJECT_BYTES),
                },
            )
        return length

    def receive(
        self, write: Callable[[memoryview], None], *, algorithm: str | None = None
    ) -> Received:
        """Streams the payload to `write` and checks every claim.

        `algorithm` is computed when the client claims none.
        """
        wanted = self.claim.algorithm if self.claim else algorithm
        source = self._chunks.read_into if self._chunks else self._body.read_into
        md5 = hashlib.md5(usedforsecurity=False)
        sha256 = None if self._chunks or self._hash == UNSIGNED else hashlib.sha256()
        checksum = checksums.new_hasher(wanted) if wanted else None
        view = memoryview(bytearray(min(BUFFER_BYTES, max(self.length, 1))))
        size = 0
        while count := source(view):
            size += count
            if size > self.length:
                raise S3Error("IncompleteBody")
            data = view[:count]
            md5.update(data)
            if sha256 is not None:
                sha256.update(data)
            if checksum is not None:
                checksum.update(data)
            write(data)
        if size != self.length:
            raise S3Error("IncompleteBody")
        if sha256 is not None and sha256.hexdigest() != self._hash:
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                details={
                    "ClientComputedContentSHA256": self._hash,
                    "S3ComputedContentSHA256": sha256.hexdigest(),
                },
            )
        if self._md5 is not None and self._md5 != md5.digest():
            raise S3Error("BadDigest")
        digest = checksum.digest() if checksum else b""
        self._check_claim(digest)
        return Received(size, md5.digest(), wanted, digest)

    def read(self, limit: int) -> bytes:
        """A small payload as a whole, checked; `limit` in bytes."""
        if self.length > limit:
            raise S3Error("MalformedXML")
        parts: list[bytes] = []
        self.receive(lambda view: parts.append(bytes(view)))
        return b"".join(parts)

    def _check_claim(self, digest: bytes) -> None:
        if self.claim is None:
            return
        expected = self.claim.digest
        if expected is None:
            value = self._chunks.trailers.get(self._trailer_name) if self._chunks else None
            if value is None:
                raise S3Error("MalformedTrailerError")
            expected = _checksum_value(self.claim.algorithm, value)
        if expected != digest:
            raise S3Error(
                "BadDigest",
                f"The {self.claim.algorithm} you specified did not match the calculated checksum.",
            )


def _content_md5(value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise S3Error("InvalidDigest", details={"Content-MD5": value[:100]})
    return digest


def _claim(headers: dict[str, str], trailer: str) -> Claim | None:
    given = [name for name in headers if name.startswith(_CHECKSUM_PREFIX)]
    given = [name for name in given if name not in _NOT_A_VALUE]
    if trailer:
        given.append(trailer)
    if len(given) > 1:
        raise S3Error(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    announced = headers.get("x-amz-sdk-checksum-algorithm", "").upper()
    if not given:
        if announced:
            raise S3Error(
                "InvalidRequest",
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* "
                "or x-amz-trailer headers were found.",
            )
        return None
    algorithm = given[0].removeprefix(_CHECKSUM_PREFIX).upper()
    if algorithm not in checksums.DIGEST_BYTES or not given[0].startswith(_CHECKSUM_PREFIX):
        raise S3Error(
            "InvalidRequest", "The value specified in the x-amz-trailer header is not supported"
        )
    if announced and announced != algorithm:
        raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
    if trailer:
        return Claim(algorithm, None)
    return Claim(algorithm, _checksum_value(algorithm, headers[given[0]]))


def _checksum_value(algorithm: str, value: str) -> bytes:
    digest = checksums.decode_digest(algorithm, value)
    if digest is None:
        raise S3Error(
            "InvalidRequest",
            f"Value for {_CHECKSUM_PREFIX}{algorithm.lower()} header is invalid.",
        )
    return digest


class _AwsChunked:
    """Decoder of the aws-chunked content encoding, with or without chunk signatures."""

    def __init__(self, body: Body, signer: ChunkSigner | None, trailer: str) -> None:
        self._body = body
        self._signer = signer
        self._trailer = trailer
        self._buffer = b""
        self._remaining = 0
        self._signature = ""
        self._sha256 = hashlib.sha256()
        self._started = False
        self._short_chunk = False
        self._done = False
        self._scratch = memoryview(bytearray(16 * 1024))
        self.trailers: dict[str, str] = {}

    def read_into(self, view: memoryview) -> int:
        if self._remaining == 0 and not self._done:
            self._next_chunk()
        if self._done:
            return 0
        want = min(len(view), self._remaining)
        if self._buffer:
            count = min(want, len(self._buffer))
            view[:count] = self._buffer[:count]
            self._buffer = self._buffer[count:]
        else:
            count = self._body.read_into(view[:want])
            if count == 0:
                raise S3Error("IncompleteBody")
        self._remaining -= count
        if self._signer is not None:
            self._sha256.update(view[:count])
        return count

    def _next_chunk(self) -> None:
        if self._started:
            self._check_chunk()
            if self._line() != b"":
                raise S3Error("IncompleteBody")
        self._started = True
        size_field, _, extension = self._line().partition(b";")
        size = parse_chunk_size(size_field.strip())
        if self._short_chunk and size:
            raise S3Error("InvalidChunkSizeError")
        self._short_chunk = size < MIN_CHUNK_BYTES
        name, _, value = extension.decode("latin-1").partition("=")
        self._signature = value.strip() if name.strip() == "chunk-signature" else ""
        self._remaining = size
        if size == 0:
            self._check_chunk()
            self._read_trailers()
            self._done = True

    def _check_chunk(self) -> None:
        if self._signer is not None:
            self._signer.check_chunk(self._sha256.hexdigest(), self._signature)
            self._sha256 = hashlib.sha256()

    def _read_trailers(self) -> None:
        canonical = ""
        signature = ""
        for _ in range(_MAX_TRAILER_LINES):
            line = self._line(at_end=True)
            if not line:
                break
            name, colon, value = line.decode("latin-1").partition(":")
            name, value = name.strip().lower(), value.strip()
            if not colon:
                raise S3Error("MalformedTrailerError")
            if name == "x-amz-trailer-signature":
                signature = value
                continue
            if name != self._trailer:
                raise S3Error("MalformedTrailerError")
            self.trailers[name] = value
            canonical += f"{name}:{value}\n"
        if self._signer is not None and self._trailer:
            self._signer.check_trailer(
                hashlib.sha256(canonical.encode("latin-1")).hexdigest(), signature
            )
        # Bytes after the trailer inside the HTTP body are no part of the framing.
        if self._buffer or self._body.read_into(self._scratch):
            raise S3Error("IncompleteBody")

    def _line(self, *, at_end: bool = False) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > MAX_CHUNK_LINE_BYTES:
                raise S3Error("IncompleteBody")
            count = self._body.read_into(self._scratch)
            if count == 0:
                if at_end:
                    rest, self._buffer = self._buffer.rstrip(b"\n"), b""
                    return rest
                raise S3Error("IncompleteBody")
            self._buffer += bytes(self._scratch[:count])
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line
