"""The aws-chunked content encoding: chunks with or without signatures, and a trailer.

Source: "Signature calculations for the authorization header: transferring payload in multiple
chunks" of the Amazon S3 API reference.
"""

from __future__ import annotations

import hashlib

from sandbox.s3.errors import S3Error
from sandbox.s3.messages.body import Body
from sandbox.s3.verification.signature import ChunkSigner

MIN_CHUNK_BYTES = 8192
_MAX_LINE_BYTES = 4096
_MAX_TRAILER_LINES = 8


class AwsChunked:
    """Decodes a body; `signer` is None for chunks without signatures."""

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
        self.trailers: dict[str, str] = {}

    async def read(self) -> bytes:
        """The next decoded bytes; empty at the end, when the trailer has been checked too."""
        if self._remaining == 0 and not self._done:
            await self._next_chunk()
        if self._done:
            return b""
        received = self._buffer or await self._body.read()
        if not received:
            raise S3Error("IncompleteBody")
        data, self._buffer = received[: self._remaining], received[self._remaining :]
        self._remaining -= len(data)
        if self._signer is not None:
            self._sha256.update(data)
        return data

    async def _next_chunk(self) -> None:
        if self._started:
            self._check_chunk()
            if await self._line() != b"":
                raise S3Error("IncompleteBody")
        self._started = True
        size_field, _, extension = (await self._line()).partition(b";")
        size = _chunk_size(size_field.strip())
        if self._short_chunk and size:
            raise S3Error("InvalidChunkSizeError")
        self._short_chunk = size < MIN_CHUNK_BYTES
        name, _, value = extension.decode("latin-1").partition("=")
        self._signature = value.strip() if name.strip() == "chunk-signature" else ""
        self._remaining = size
        if size == 0:
            self._check_chunk()
            await self._read_trailers()
            self._done = True

    def _check_chunk(self) -> None:
        if self._signer is not None:
            self._signer.check_chunk(self._sha256.hexdigest(), self._signature)
            self._sha256 = hashlib.sha256()

    async def _read_trailers(self) -> None:
        canonical = ""
        signature = ""
        for _ in range(_MAX_TRAILER_LINES):
            line = await self._line(at_end=True)
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
        if self._buffer or await self._body.read():
            raise S3Error("IncompleteBody")

    async def _line(self, *, at_end: bool = False) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                raise S3Error("IncompleteBody")
            received = await self._body.read()
            if not received:
                if at_end:
                    rest, self._buffer = self._buffer.rstrip(b"\n"), b""
                    return rest
                raise S3Error("IncompleteBody")
            self._buffer += received
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line


def _chunk_size(field: bytes) -> int:
    if not field or len(field) > 16 or not set(field) <= set(b"0123456789abcdefABCDEF"):
        raise S3Error("BadRequest", "The size of a chunk is not a hexadecimal number.")
    return int(field, 16)
