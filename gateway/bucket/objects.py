"""Operations of the gateway in the bucket beyond :class:`pro_video.s3.storage.Storage`: streamed
parts, listings, and removal."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from gateway.base.problems import ProblemError
from pro_video.core.errors import ProVideoError
from pro_video.s3.errors import translated
from pro_video.s3.storage import Storage
from pro_video.s3.transfers.multipart import MultipartUpload, Part, Target, put_object

logger = logging.getLogger("pro_video.gateway.bucket")

# S3's smallest part. A writer holds one part while it fills and one that is being sent.
PART_SIZE = 5 * 1024 * 1024
_CLEAN_UP_SECONDS = 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class Listed:
    """One object of a listing."""

    key: str
    size: int
    modified_at: datetime


def target_of(storage: Storage, key: str, content_type: str) -> Target:
    """The target of an object, for the writing functions of `pro_video.s3.transfers.multipart`."""
    return storage._target(key, content_type)


def list_objects(storage: Storage, prefix: str) -> Iterator[Listed]:
    """All objects below a prefix; blocking, page by page."""
    client = target_of(storage, prefix, "").client
    with translated(f"listing {prefix}"):
        for page in client.get_paginator("list_objects_v2").paginate(
            Bucket=storage.bucket, Prefix=prefix
        ):
            for entry in page.get("Contents", []):
                yield Listed(entry["Key"], entry["Size"], entry["LastModified"])


def list_unfinished(storage: Storage, prefix: str) -> Iterator[Listed]:
    """The unfinished multipart uploads below a prefix, with the time of their last part; blocking,
    page by page."""
    client = target_of(storage, prefix, "").client
    with translated(f"listing unfinished uploads of {prefix}"):
        for page in client.get_paginator("list_multipart_uploads").paginate(
            Bucket=storage.bucket, Prefix=prefix
        ):
            for entry in page.get("Uploads", []):
                parts = [
                    part
                    for parts in client.get_paginator("list_parts").paginate(
                        Bucket=storage.bucket, Key=entry["Key"], UploadId=entry["UploadId"]
                    )
                    for part in parts.get("Parts", [])
                ]
                last = max((part["LastModified"] for part in parts), default=entry["Initiated"])
                yield Listed(entry["Key"], sum(part["Size"] for part in parts), last)


def abort_uploads(storage: Storage, prefix: str, *, before: datetime | None = None) -> int:
    """Abort unfinished multipart uploads below a prefix, begun before a time; blocking."""
    client = target_of(storage, prefix, "").client
    aborted = 0
    with translated(f"aborting unfinished uploads of {prefix}"):
        for page in client.get_paginator("list_multipart_uploads").paginate(
            Bucket=storage.bucket, Prefix=prefix
        ):
            for entry in page.get("Uploads", []):
                if before is None or entry["Initiated"] < before:
                    client.abort_multipart_upload(
                        Bucket=storage.bucket, Key=entry["Key"], UploadId=entry["UploadId"]
                    )
                    aborted += 1
    return aborted


def remove_all(storage: Storage, prefix: str) -> None:
    """Abort the unfinished uploads and delete the objects below a prefix; blocking."""
    abort_uploads(storage, prefix)
    client = target_of(storage, prefix, "").client
    for found in list(list_objects(storage, prefix)):
        with translated(f"removing {found.key}"):
            client.delete_object(Bucket=storage.bucket, Key=found.key)


async def in_thread(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """Run blocking work in the gateway's own threads."""
    return await asyncio.get_running_loop().run_in_executor(threads, work)


async def discard(
    threads: ThreadPoolExecutor,
    storage: Storage,
    prefix: str,
    *,
    seconds: float = _CLEAN_UP_SECONDS,
) -> bool:
    """Remove all below a prefix, and say whether that is done after ``seconds``; a caller that is
    cancelled does not stop it."""
    work = asyncio.ensure_future(in_thread(threads, lambda: remove_all(storage, prefix)))
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(work)
    except (ProVideoError, TimeoutError) as error:
        logger.warning("Could not tidy %s yet: %s", prefix, type(error).__name__)
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        return False
    return True


class _PartBuffer:
    """Room for one part, used again and again: fresh memory for each part would cost more than
    filling it."""

    def __init__(self) -> None:
        self.filled = 0
        self._room = bytearray(PART_SIZE)

    @property
    def is_full(self) -> bool:
        return self.filled == PART_SIZE

    def take(self, data: memoryview) -> int:
        """Take the beginning of some data; returns how many bytes found room."""
        taken = min(len(data), PART_SIZE - self.filled)
        with memoryview(self._room) as room:
            room[self.filled : self.filled + taken] = data[:taken]
        self.filled += taken
        return taken

    def content(self) -> bytearray:
        """The bytes taken, without a copy; a buffer that was not full takes nothing after that."""
        del self._room[self.filled :]
        return self._room


class ObjectWriter:
    """Writes bytes that arrive bit by bit into an object, a part at a time.

    Memory is bounded by two parts, and a write waits while S3 is slower than the client, which
    slows the client down. Until :meth:`finish` the key shows nothing.

    Args:
        target: where to.
        threads: for the blocking requests.
        max_bytes: largest object.
        name: names the file in problems.
    """

    def __init__(
        self, target: Target, threads: ThreadPoolExecutor, *, max_bytes: int, name: str
    ) -> None:
        self.target = target
        self.size = 0
        self._threads = threads
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
        """Take some bytes.

        Raises:
            ProblemError: 413, when they are more than allowed.
            ProVideoError: S3 does not take them.
        """
        self.size += len(data)
        if self.size > self._max_bytes:
            raise ProblemError(
                413, "file_too_large", f"{self._name} may have {self._max_bytes} bytes at most."
            )
        self._digest.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._buffer.take(rest) :]
            if self._buffer.is_full:
                await self._send()

    async def finish(self) -> None:
        """Make the object appear; there must be at least one byte."""
        if self._multipart is None and self._pending is None:
            await in_thread(self._threads, self._put_whole)
        else:
            if self._buffer.filled:
                await self._send()
            await self._settled()
            await in_thread(self._threads, self._complete)

    async def close(self) -> None:
        """Abort what was not finished. The prefix of the request is removed separately."""
        pending, self._pending = self._pending, None
        if pending is not None:
            await asyncio.wait({pending}, timeout=_CLEAN_UP_SECONDS)
            if pending.done() and not pending.cancelled():
                pending.exception()
        multipart, self._multipart = self._multipart, None
        if multipart is not None:
            await in_thread(self._threads, lambda: multipart.__exit__(None, None, None))

    async def _send(self) -> None:
        """Send what has gathered while the next part gathers in the other buffer."""
        await self._settled()
        self._sent += 1
        part = Part(self._sent, self._buffer.content())
        self._pending = asyncio.ensure_future(in_thread(self._threads, lambda: self._put(part)))
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
