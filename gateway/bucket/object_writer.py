"""Writes an object while its bytes arrive, in parts out of two buffers that are used again."""

from __future__ import annotations

import asyncio
import hashlib

from gateway.base.problems import ProblemError
from gateway.bucket.objects import in_thread
from pro_video.s3.errors import translated
from pro_video.s3.objects import Target
from pro_video.s3.transfers.multipart import MultipartUpload, Part
from pro_video.s3.transfers.small_objects import put_object

PART_SIZE = 5 * 1024 * 1024
"""S3's smallest part. A writer holds one part while it fills and one that is being sent."""

_CLOSE_SECONDS = 60.0


class _PartBuffer:
    """Memory for one part. It is used again: fresh memory would cost more than filling it."""

    def __init__(self) -> None:
        self.filled = 0
        self._room = bytearray(PART_SIZE)

    @property
    def is_full(self) -> bool:
        return self.filled == PART_SIZE

    def take(self, data: memoryview) -> int:
        """Copy the beginning of ``data`` as far as there is room; returns its length."""
        taken = min(len(data), PART_SIZE - self.filled)
        with memoryview(self._room) as room:
            room[self.filled : self.filled + taken] = data[:taken]
        self.filled += taken
        return taken

    def content(self) -> bytearray:
        """The bytes, without a copy. A buffer that was not full takes no more afterwards."""
        del self._room[self.filled :]
        return self._room


class ObjectWriter:
    """Writes one object part by part. It appears under its key with :meth:`finish`.

    Memory is bounded by two parts. A write waits while S3 is slower than the client, so that the
    client is slowed down too.

    Args:
        target: the object.
        max_bytes: its largest size.
        name: names the file in problems.
    """

    def __init__(self, target: Target, *, max_bytes: int, name: str) -> None:
        self.target = target
        self.size = 0
        self._max_bytes = max_bytes
        self._name = name
        self._digest = hashlib.sha256()
        self._buffer = _PartBuffer()
        self._spare: _PartBuffer | None = None
        self._multipart: MultipartUpload | None = None
        self._sent = 0
        self._pending: asyncio.Future[None] | None = None

    @property
    def sha256(self) -> str:
        """Digest of the bytes so far, hexadecimal."""
        return self._digest.hexdigest()

    async def write(self, data: bytes) -> None:
        """Write the next bytes.

        Raises:
            ProblemError: 413, when the object becomes too large.
            ProVideoError: S3 refuses a part or does not answer.
        """
        self.size += len(data)
        if self.size > self._max_bytes:
            raise ProblemError(
                413,
                "file_too_large",
                f"{self._name} has more than {self._max_bytes} bytes. Nothing of the form "
                "was kept.",
            )
        self._digest.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._buffer.take(rest) :]
            if self._buffer.is_full:
                await self._send()

    async def finish(self) -> None:
        """Complete the object, which must have at least one byte."""
        if self._multipart is None and self._pending is None:
            await in_thread(self._put_whole)
        else:
            if self._buffer.filled:
                await self._send()
            await self._settled()
            await in_thread(self._complete)

    async def close(self) -> None:
        """Abort an unfinished multipart upload; the request removes its prefix itself."""
        pending, self._pending = self._pending, None
        if pending is not None:
            await asyncio.wait({pending}, timeout=_CLOSE_SECONDS)
            if pending.done() and not pending.cancelled():
                pending.exception()
        multipart, self._multipart = self._multipart, None
        if multipart is not None:
            await in_thread(lambda: multipart.__exit__(None, None, None))

    async def _send(self) -> None:
        """Send the full buffer while the other one fills."""
        await self._settled()
        self._sent += 1
        part = Part(self._sent, self._buffer.content())
        self._pending = asyncio.ensure_future(in_thread(lambda: self._put(part)))
        self._buffer, self._spare = self._spare or _PartBuffer(), self._buffer
        self._buffer.filled = 0

    async def _settled(self) -> None:
        if self._pending is not None:
            await asyncio.shield(self._pending)
            self._pending = None

    def _put(self, part: Part) -> None:
        if self._multipart is None:
            self._multipart = MultipartUpload(self.target).__enter__()
        self._multipart.put(part)

    def _put_whole(self) -> None:
        with translated(f"storing {self.target.key}"):
            put_object(self.target, self._buffer.content())

    def _complete(self) -> None:
        assert self._multipart is not None
        self._multipart.complete()
        self._multipart = None
