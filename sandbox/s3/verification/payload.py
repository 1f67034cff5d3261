"""Reading a request's payload while checking it: digests and lengths.

All claims of the client about its payload (signed SHA-256, chunk signatures, Content-MD5, a
checksum in a header or a trailer, the decoded length) are checked by the time `receive` returns.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.s3.errors import S3Error
from sandbox.s3.messages.body import Body
from sandbox.s3.messages.request import Request
from sandbox.s3.verification.aws_chunked import AwsChunked
from sandbox.s3.verification.checksums import DIGEST_BYTES, Checksum, Digests, is_digest
from sandbox.s3.verification.signature import (
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    UNSIGNED,
    Authorization,
)

MAX_OBJECT_BYTES = 5 * 1024**3
BATCH_BYTES = 1024 * 1024
_CHECKSUM_PREFIX = "x-amz-checksum-"
# Headers under the prefix that describe a checksum instead of holding one.
_NOT_A_VALUE = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"})


@dataclass(frozen=True, slots=True)
class Received:
    """A payload that was read: size in bytes, MD5 in hexadecimal, its checksum if any."""

    size: int
    etag: str
    checksum: Checksum | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A checksum that the client gave or announced; `value` is None for a trailer."""

    algorithm: str
    value: str | None


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
        self._chunks: AwsChunked | None = None
        if streaming:
            signed = self._hash in (STREAMING_SIGNED, STREAMING_SIGNED_TRAILER)
            self._chunks = AwsChunked(
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
            raise S3Error("NotImplemented", Header="Transfer-Encoding")
        elif request.body.declared_length is None:
            if self._empty_allowed:
                return 0
            raise S3Error("MissingContentLength")
        else:
            length = request.body.declared_length
        if length > MAX_OBJECT_BYTES:
            raise S3Error(
                "EntityTooLarge", ProposedSize=str(length), MaxSizeAllowed=str(MAX_OBJECT_BYTES)
            )
        return length

    async def receive(
        self, write: Callable[[bytes], None], *, default: str | None = None
    ) -> Received:
        """Streams the payload to `write`, in a thread, and checks every claim.

        `default` is the checksum's algorithm when the client claims none.
        """
        source = self._chunks or self._body
        digests = Digests(self.claim.algorithm if self.claim else default)
        sha256 = None if self._chunks or self._hash == UNSIGNED else hashlib.sha256()

        def take(pieces: list[bytes]) -> None:
            for data in pieces:
                digests.update(data)
                if sha256 is not None:
                    sha256.update(data)
                write(data)

        size = 0
        taking: asyncio.Future[None] | None = None
        try:
            # The next batch arrives while the thread is at work on one.
            while batch := await _batch(source):
                size += sum(map(len, batch))
                if size > self.length:
                    raise S3Error("IncompleteBody")
                if taking is not None:
                    await taking
                taking = asyncio.ensure_future(asyncio.to_thread(take, batch))
        finally:
            if taking is not None:
                await taking
        if size != self.length:
            raise S3Error("IncompleteBody")
        if sha256 is not None and sha256.hexdigest() != self._hash:
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                ClientComputedContentSHA256=self._hash,
                S3ComputedContentSHA256=sha256.hexdigest(),
            )
        if self._md5 is not None and self._md5 != digests.md5.digest():
            raise S3Error("BadDigest")
        self._check_claim(digests.checksum)
        return Received(size, digests.md5.hexdigest(), digests.checksum)

    async def read(self, limit: int) -> bytes:
        """A small payload as a whole, checked; `limit` in bytes."""
        if self.length > limit:
            raise S3Error("MalformedXML")
        parts: list[bytes] = []
        await self.receive(parts.append)
        return b"".join(parts)

    def _check_claim(self, found: Checksum | None) -> None:
        if self.claim is None:
            return
        expected = self.claim.value
        if expected is None:
            value = self._chunks.trailers.get(self._trailer_name) if self._chunks else None
            if value is None:
                raise S3Error("MalformedTrailerError")
            expected = _checksum_value(self.claim.algorithm, value)
        if found is None or found.value != expected:
            raise S3Error(
                "BadDigest",
                f"The {self.claim.algorithm} you specified did not match the calculated checksum.",
            )


async def _batch(source: AwsChunked | Body) -> list[bytes]:
    """Pieces enough to be worth a thread's while; fewer at the end only."""
    pieces: list[bytes] = []
    left = BATCH_BYTES
    while left > 0 and (data := await source.read()):
        pieces.append(data)
        left -= len(data)
    return pieces


def _content_md5(value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise S3Error("InvalidDigest", Content_MD5=value[:100])
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
    if algorithm not in DIGEST_BYTES or not given[0].startswith(_CHECKSUM_PREFIX):
        raise S3Error(
            "InvalidRequest", "The value specified in the x-amz-trailer header is not supported"
        )
    if announced and announced != algorithm:
        raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
    if trailer:
        return Claim(algorithm, None)
    return Claim(algorithm, _checksum_value(algorithm, headers[given[0]]))


def _checksum_value(algorithm: str, value: str) -> str:
    if not is_digest(algorithm, value):
        raise S3Error(
            "InvalidRequest", f"Value for {_CHECKSUM_PREFIX}{algorithm.lower()} header is invalid."
        )
    return value
